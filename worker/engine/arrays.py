"""The words for arrays that the whole engine shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Any: a plan's dtype, float32 or float64, is chosen when it is made.
Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Shape = tuple[int, ...]

# Elements of a flat vector that are updated at a time, so that all arrays of a block stay in the L2
# cache, and whose squares are summed together. Workers' slices begin at multiples of it.
BLOCK = 8192

# An axis whose length follows from a faulty layer; it fits everything, so one fault is told once.
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array an operation asks the plan for; the shape leaves out the row axis.

    With per_row False the shape is the whole array, whatever the number of rows.
    """

    shape: Shape
    dtype: type[np.generic] | None = None  # None stands for the plan's dtype.
    per_row: bool = True


def size(shape: Shape) -> int:
    """The number of elements; UNKNOWN where an axis is."""
    product = 1
    for axis in shape:
        product *= axis
    return UNKNOWN if UNKNOWN in shape else product


def fits(left: Shape, right: Shape) -> bool:
    """Whether two shapes are equal as far as they are known."""
    return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))


def _same(left: int, right: int) -> bool:
    return left == right or UNKNOWN in (left, right)


def divisors_near(number: int, whole: int) -> str:
    """The divisors of a whole on both sides of a number, in words: 4 or 8."""
    divisors = [divisor for divisor in range(1, whole + 1) if whole % divisor == 0]
    below = [divisor for divisor in divisors if divisor <= number][-1:]
    above = [divisor for divisor in divisors if divisor >= number][:1]
    return " or ".join(map(str, dict.fromkeys((*below, *above))))


def text(shape: Iterable[int]) -> str:
    """A shape as people write it: (28, 28), (64), () for a single number."""
    return f"({', '.join('?' if axis == UNKNOWN else str(axis) for axis in shape)})"


_PAGE = 4096
_STAGGER = 17 * 64


def side_by_side(count: int, length: int, dtype: npt.DTypeLike) -> tuple[Array, ...]:
    """So many vectors of zeros to be walked together: no two begin at the same place of a page.

    Where they did, a processor would take a load for one of the bytes just stored 4096 bytes away.
    """
    nbytes = length * np.dtype(dtype).itemsize
    step = -(-nbytes // _PAGE) * _PAGE + _STAGGER
    memory = np.zeros(count * step + _PAGE, np.uint8)
    first = -memory.ctypes.data % _PAGE
    starts = range(first, first + count * step, step)
    return tuple(memory[start : start + nbytes].view(dtype) for start in starts)
