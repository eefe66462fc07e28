"""A dataset as blocks of rows: how long they are, who gives them, and rows gathered from them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gradloom.worker.data.container import Array

Rows = NDArray[np.int64]

# What a block is to take: large enough that a read of it pays, small enough that many fit a window.
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Blocking:
    """Rows cut into blocks of one length; the last may be shorter."""

    rows: int
    block_rows: int

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return -(-self.rows // self.block_rows)

    def bounds(self, number: int) -> tuple[int, int]:
        """The first row of a block, and its end."""
        return number * self.block_rows, min((number + 1) * self.block_rows, self.rows)

    def runs(self, rows: Rows) -> Iterator[tuple[int, Rows]]:
        """The blocks in which rows lie, rising, and the places among the rows of those in each."""
        numbers = rows // self.block_rows
        places = np.argsort(numbers, kind="stable")
        found, begins = np.unique(numbers[places], return_index=True)
        for number, (begin, end) in zip(found, pairwise((*begins, len(rows))), strict=True):
            yield int(number), places[begin:end]


class BlockSource(Protocol):
    """Blocks of raw arrays by their number. Several threads may read at once."""

    @property
    def blocking(self) -> Blocking:
        """How the rows are cut."""

    def read(self, number: int) -> tuple[Array, ...]:
        """One array for each name, of a block's rows, checked to be what they were.

        Raises OSError where it cannot be read now, DataChanged where it is other than it was.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Blocked:
    """An array whose rows lie in blocks; shape and dtype are those of the whole."""

    blocking: Blocking
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    block: Callable[[int], Array]

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: Rows, out: Array) -> None:
        """Write the rows of these numbers to out, of the same type."""
        for number, places in self.blocking.runs(rows):
            begin, _ = self.blocking.bounds(number)
            out[places] = self.block(number)[rows[places] - begin]


# Rows of one kind: in one piece, or in blocks.
Column = Array | Blocked


def take(column: Column, rows: Rows, out: Array) -> None:
    """Write rows of a column to out, of its type. Rows must be there."""
    if isinstance(column, Blocked):
        column.take(rows, out)
    else:
        # mode="clip" is the only one that writes to out without a copy.
        np.take(column, rows, axis=0, out=out, mode="clip")


def taken(column: Column, rows: Rows) -> Array:
    """Rows of a column, a copy."""
    out = np.empty((len(rows), *column.shape[1:]), column.dtype)
    take(column, rows, out)
    return out


def whole(column: Column) -> Array:
    """A column in one piece, a copy where it is not."""
    return taken(column, np.arange(len(column))) if isinstance(column, Blocked) else column


def pieces(column: Column) -> Iterator[tuple[int, Array]]:
    """The blocks of a column in order, each with the number of its first row."""
    if not isinstance(column, Blocked):
        yield 0, column
        return
    for number in range(column.blocking.count):
        yield column.blocking.bounds(number)[0], column.block(number)


def cut(array: Array, blocking: Blocking) -> tuple[Array, ...]:
    """Views of the blocks of an array."""
    bounds = map(blocking.bounds, range(blocking.count))
    return tuple(array[begin:end] for begin, end in bounds)


def blocked(pieces: Sequence[Array], blocking: Blocking) -> Column:
    """An array from its blocks, without a copy."""
    if len(pieces) == 1:
        return pieces[0]
    shape = (blocking.rows, *pieces[0].shape[1:])
    return Blocked(blocking, shape, pieces[0].dtype, pieces.__getitem__)


def row_bytes(column: Column) -> int:
    """What one row takes."""
    return prod(column.shape[1:]) * column.dtype.itemsize


def rows_of(number_of_bytes: int, bytes_a_row: int) -> int:
    """How many rows so many bytes hold, at least one."""
    return max(1, number_of_bytes // max(1, bytes_a_row))
