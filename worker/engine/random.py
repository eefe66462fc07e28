"""Random numbers as pure functions of a key: raw Philox words, everything else our own.

NumPy promises the raw stream of Philox for ever, its distributions for one release.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gradloom.worker.engine.arrays import Array, Words
from gradloom.worker.engine.normal import Floats, inverse_normal

# What numbers are drawn for. A purpose keeps its number for ever: it is part of the key.
INITIALIZE: Final = 1
DROPOUT: Final = 2
ORDER: Final = 3
SPLIT: Final = 4
CHECK: Final = 5

_BLOCK = 4096
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Key:
    """Names one stream of random words; every part is a whole number from 0 to 2⁶⁴ - 1."""

    seed: int
    purpose: int
    step: int = 0
    shard: int = 0
    layer: int = 0

    def of(self, purpose: int, layer: int) -> "Key":
        """The same moment's key for another purpose and layer."""
        return replace(self, purpose=purpose, layer=layer)


def words(key: Key, count: int) -> Words:
    """The first count 64-bit words of a key's stream."""
    return _words(_stream(key), count)


def uniform(key: Key, count: int) -> Floats:
    """Numbers strictly between 0 and 1, each of 2⁵² equally likely values."""
    whole = (words(key, count) >> np.uint64(12)).astype(np.float64)
    return (whole + 0.5) * 2.0**-52


def normal(key: Key, count: int) -> Floats:
    """Numbers of the standard normal distribution, one word each."""
    return inverse_normal(uniform(key, count))


def permutation(key: Key, count: int) -> npt.NDArray[np.int64]:
    """The numbers 0 to count - 1 in random order, for count up to 2³².

    Sorts random words whose low bits hold the number itself: all differ, so that the order is
    the same whatever way a sort deals with ties.
    """
    low = np.uint64((1 << max(count - 1, 1).bit_length()) - 1)
    shuffled = (words(key, count) & ~low) | np.arange(count, dtype=np.uint64)
    shuffled.sort()
    return (shuffled & low).astype(np.int64)


def fill_kept(key: Key, rate: float, out: Array) -> None:
    """Write 1 where an element is kept and 0 where it is dropped, 32 random bits each.

    Works in blocks, so that the memory it takes does not grow with out, a contiguous array.
    """
    stream, flat = _stream(key), out.reshape(-1)
    threshold = np.uint32(round(rate * 2.0**32))
    for start in range(0, flat.size, 2 * _BLOCK):
        part = flat[start : start + 2 * _BLOCK]
        bits = _words(stream, -(-part.size // 2)).view(np.uint32)[: part.size]
        np.greater_equal(bits, threshold, out=part)


def _stream(key: Key) -> np.random.Philox:
    return np.random.Philox(
        key=_uint64(key.seed, key.purpose),
        counter=_uint64(0, key.layer, key.shard, key.step),
    )


def _uint64(*numbers: int) -> Words:
    return np.array([number & _WORD for number in numbers], np.uint64)


def _words(stream: np.random.Philox, count: int) -> Words:
    # Any: NumPy's stubs know random_raw's result as int or array.
    drawn: Any = stream.random_raw(count)
    return np.asarray(drawn, np.uint64)
