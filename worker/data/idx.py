"""The IDX format of MNIST: a magic number, the length of each axis, big-endian numbers.

Format: the description at the end of the MNIST database's page by LeCun, Cortes and Burges.
"""

import math

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import FileError
from gradloom.worker.data.wording import size

IDX_MAGIC = b"\0\0"
MAGIC_BYTES = 4
AXIS_BYTES = 4
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 32


def parse_idx(data: bytes) -> Array:
    """The array in native byte order; raises FileError."""
    dtype, axes = _magic(data)
    begin = MAGIC_BYTES + AXIS_BYTES * axes
    if len(data) < begin:
        raise FileError(f"The file is cut: {size(begin)} expected, {len(data):,} found.")
    shape = tuple(np.frombuffer(data, ">u4", axes, MAGIC_BYTES).tolist())
    expected = begin + math.prod(shape) * dtype.itemsize
    if expected != len(data):
        raise FileError(_wrong_length(shape, expected, len(data)))
    numbers = np.frombuffer(data[begin:], dtype).reshape(shape)
    return np.asarray(numbers, dtype.newbyteorder("="))


def _magic(data: bytes) -> tuple[np.dtype[np.generic], int]:
    """The type of the numbers and the count of axes."""
    name = DTYPES.get(data[2]) if len(data) >= MAGIC_BYTES else None
    if not data.startswith(IDX_MAGIC) or name is None:
        raise FileError(f"This is not an IDX file: it begins with {data[:MAGIC_BYTES].hex(' ')}.")
    if not 1 <= data[3] <= MOST_AXES:
        raise FileError(f"The IDX file has {data[3]} axes: 1 to {MOST_AXES} are allowed.")
    return np.dtype(name), data[3]


def _wrong_length(shape: tuple[int, ...], expected: int, found: int) -> str:
    lengths = " × ".join(f"{length:,}" for length in shape)
    if found < expected:
        return f"The file is cut: {lengths} numbers need {size(expected)}, {size(found)} are there."
    return f"After the {lengths} numbers stand {size(found - expected)} that do not belong to them."
