"""The .npy format, read without NumPy's loader: sizes are compared before anything is allocated.

Format: NEP 1 of NumPy. Magic, version, length of the header, header as a Python literal, numbers.
"""

import ast
import math
import re
from dataclasses import dataclass

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import ArrayError, FileError
from gradloom.worker.data.limits import LIMIT_BYTES
from gradloom.worker.data.wording import plain, size

NPY_MAGIC = b"\x93NUMPY"
# Bytes of the header's length, by major version.
LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
VERSION_END = 8
LONGEST_HEADER = 10_000
MOST_AXES = 32
NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
# What a type that is no number holds, by its letter.
OTHER_TYPES = {
    "O": "Python objects; they are never loaded",
    "c": "complex numbers",
    "M": "dates",
    "m": "spans of time",
    "U": "text",
    "S": "text",
    "a": "text",
    "f": "long doubles, which differ from machine to machine",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What an .npy file says of itself; numbers_at is where its numbers begin."""

    dtype: str
    column_major: bool
    shape: tuple[int, ...]
    numbers_at: int


def parse_npy(data: bytes) -> Array:
    """The array, over the very bytes where they can be used as they are.

    Raises FileError where the file is broken, ArrayError where it holds no numbers.
    """
    header = read_header(data)
    dtype = dtype_of(header.dtype)
    count = math.prod(header.shape)
    _check_size(header, count, dtype.itemsize, len(data))
    flat = np.frombuffer(data, dtype, count, header.numbers_at) if count else np.empty(0, dtype)
    array = flat.reshape(header.shape, order="F" if header.column_major else "C")
    return np.asarray(array, dtype.newbyteorder("="), order="C")


def read_header(data: bytes) -> Header:
    """What stands before the numbers; raises FileError."""
    if not data.startswith(NPY_MAGIC):
        raise FileError("This is not a .npy file: it does not begin as one.")
    width = LENGTH_BYTES.get(data[6] if len(data) > 6 else 0)
    if width is None:
        raise FileError("The .npy file is of an unknown version: save it anew with numpy.save.")
    begin = VERSION_END + width
    length = int.from_bytes(data[VERSION_END:begin], "little")
    if length > LONGEST_HEADER:
        raise FileError(f"The .npy header has {size(length)}, the limit is {size(LONGEST_HEADER)}.")
    if len(data) < begin + length:
        raise FileError(f"The file is cut: {size(begin + length)} expected, {len(data):,} found.")
    return _header(data[begin : begin + length], begin + length)


def _header(text: bytes, numbers_at: int) -> Header:
    fields = _literal(text)
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise FileError("The .npy header is not what numpy.save writes: save the array anew.")
    dtype, column_major, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if isinstance(dtype, list):
        raise ArrayError("holds records of several fields: save one array a field.")
    if not isinstance(dtype, str) or not isinstance(column_major, bool):
        raise FileError("The .npy header is not what numpy.save writes: save the array anew.")
    return Header(dtype, column_major, _shape(shape), numbers_at)


def _literal(text: bytes) -> object:
    try:
        return ast.literal_eval(text.decode("latin-1").strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise FileError("The .npy header is broken: save the array anew.") from None


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or any(type(length) is not int for length in shape):
        raise FileError("The .npy header has a shape that is not whole numbers.")
    if any(length < 0 for length in shape):
        raise FileError(f"The .npy header has a negative shape, {plain(str(shape))}.")
    if len(shape) > MOST_AXES:
        raise FileError(f"The array has {len(shape)} axes, the limit is {MOST_AXES}.")
    return shape


def dtype_of(name: str) -> np.dtype[np.generic]:
    """The type of a file's numbers, in the file's byte order; raises ArrayError."""
    if NUMBERS.fullmatch(name):
        # A file's boolean may be any byte; NumPy's own may not.
        return np.dtype(name.replace("b1", "u1"))
    letter = name.lstrip("<>=|")[:1]
    what = OTHER_TYPES.get(letter, f"values of type {plain(name)}")
    raise ArrayError(f"holds {what}: save it as numbers.")


def _check_size(header: Header, count: int, item_bytes: int, file_bytes: int) -> None:
    # Axes of length 0 promise no bytes, but the others must still be within reason.
    reach = math.prod(max(length, 1) for length in header.shape) * item_bytes
    promised = count * item_bytes
    found = file_bytes - header.numbers_at
    if promised > LIMIT_BYTES or reach > LIMIT_BYTES:
        raise FileError(f"The header promises {size(reach)}, the file has {size(file_bytes)}.")
    if promised > found:
        raise FileError(f"The file is cut: {size(promised)} expected, {found:,} found.")
    if promised < found:
        raise FileError(f"After the array stand {size(found - promised)} that do not belong to it.")
