"""Where in a file an array's numbers lie, so that rows can be read without the rest of it."""

import math
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import BinaryIO

import numpy as np

from gradloom.worker.data.errors import ArrayError, DataError, FileError
from gradloom.worker.data.files import Roots, locate
from gradloom.worker.data.npy import LONGEST_HEADER, VERSION_END, dtype_of, read_header
from gradloom.worker.data.npz import BROKEN, MAGICS, members
from gradloom.worker.data.reading import READS
from gradloom.worker.data.sources import file_field
from gradloom.worker.data.spec import DataSource
from gradloom.worker.data.wording import plain, quoted, size
from gradloom.worker.engine.spec import Fault

# No file of a stream is held in memory, so there is no limit but the format's.
STREAM_LIMIT_BYTES = 1 << 62
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_LONGEST_START = VERSION_END + 4 + LONGEST_HEADER
# What zipfile may read of an archive at once: its directory, of a hundred members at most.
_LONGEST_DIRECTORY = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """An array in a file: the file's path as the user wrote it, its first byte, type and shape."""

    path: str
    begin: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """What a row takes in the file."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


# What is known of an array by its name: where it is, or why it cannot be streamed.
Extents = Mapping[str, Extent | ArrayError | FileError]


def find_extents(source: DataSource, roots: Roots, field: str) -> Extents:
    """The arrays of a source, none of whose numbers are read. Raises DataError."""
    if bool(source.path) == bool(source.files):
        raise DataError((Fault(field, "Give path or files, one of them."),))
    if not source.path:
        return {name: _array_file(path, roots) for name, path in sorted(source.files)}
    if PurePath(source.path).suffix.lower() != ".npz":
        raise DataError((Fault(file_field(source, "", field), _not_streamed(source.path)),))
    try:
        with READS.of(source.path), locate(roots, source.path, STREAM_LIMIT_BYTES) as file:
            return _archive(file, source.path)
    except FileError as error:
        raise DataError((Fault(file_field(source, "", field), str(error)),)) from None


def _array_file(path: str, roots: Roots) -> Extent | ArrayError | FileError:
    try:
        with READS.of(path), locate(roots, path, STREAM_LIMIT_BYTES) as file:
            return _extent(file, path, 0, os.fstat(file.fileno()).st_size)
    except (ArrayError, FileError) as error:
        return error


def _archive(file: BinaryIO, path: str) -> Extents:
    if not os.pread(file.fileno(), 4, 0).startswith(MAGICS):
        raise FileError("This is not a .npz file: it does not begin as a zip archive.")
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            infos = members(archive, is_bounded=False)
    except BROKEN:
        raise FileError("The archive is cut or damaged: download it or save it anew.") from None
    return {name: _outcome(partial(_member, file, path, info)) for name, info in infos.items()}


class _Bounded:
    """A file of which nobody may read much at once: a directory can promise any length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        if count > _LONGEST_DIRECTORY:
            raise FileError("The archive's directory is larger than that of 100 arrays.")
        return self._file.read(count if count >= 0 else _LONGEST_DIRECTORY)


def _outcome(find: Callable[[], Extent]) -> Extent | ArrayError | FileError:
    try:
        return find()
    except (ArrayError, FileError) as error:
        return error


def _member(file: BinaryIO, path: str, info: zipfile.ZipInfo) -> Extent:
    name = quoted(info.filename)
    if info.compress_type != zipfile.ZIP_STORED:
        raise FileError(f"Array {name} is compressed: a stream needs a file of numpy.savez.")
    header = os.pread(file.fileno(), _LOCAL_HEADER.size, info.header_offset)
    if len(header) < _LOCAL_HEADER.size:
        raise FileError("The archive is cut: download it or save it anew.")
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    if magic != _LOCAL_MAGIC:
        raise FileError(f"Array {name} is not where the archive says: save it anew.")
    begin = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    return _extent(file, path, begin, begin + info.file_size)


def _extent(file: BinaryIO, path: str, begin: int, end: int) -> Extent:
    """The array whose .npy file stands from begin to end."""
    header = read_header(os.pread(file.fileno(), min(_LONGEST_START, end - begin), begin))
    dtype = dtype_of(header.dtype)
    if header.column_major and len(header.shape) > 1:
        raise FileError("The array is in column order: save it with numpy.ascontiguousarray.")
    expected = begin + header.numbers_at + math.prod(header.shape) * dtype.itemsize
    if expected != end or os.fstat(file.fileno()).st_size < end:
        raise FileError(f"The file is cut: its header promises {size(expected - begin)}.")
    return Extent(path, begin + header.numbers_at, dtype, header.shape)


def _not_streamed(path: str) -> str:
    return (
        f"{quoted(plain(path))} cannot be streamed: save it as .npz with numpy.savez, or each "
        "array as .npy in data.files."
    )
