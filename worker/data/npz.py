"""The .npz format: a zip archive of .npy files, its directory checked before it is unpacked."""

import io
import zipfile
import zlib
from collections import Counter

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import FileError
from gradloom.worker.data.limits import over_limit, unpacked_limit
from gradloom.worker.data.npy import parse_npy
from gradloom.worker.data.wording import quoted, size

MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
DIRECTORY_ENTRY = b"PK\x01\x02"
SUFFIX = ".npy"
MOST_MEMBERS = 100
# Packed numbers may look like entries now and then; so many entries are a trap for the reader.
MOST_ENTRIES = 10 * MOST_MEMBERS
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    OSError,
    RuntimeError,
    ValueError,
)


class Archive:
    """The arrays of an .npz file; names are in the order of its directory."""

    noun = "array"

    def __init__(self, data: bytes) -> None:
        """Check the directory; raises FileError."""
        self._file = _open(data)
        self._members = members(self._file)

    @property
    def names(self) -> tuple[str, ...]:
        """Every array's name, without ".npy"."""
        return tuple(self._members)

    def read(self, name: str) -> Array:
        """Unpack and parse one array; raises FileError, ArrayError."""
        try:
            return parse_npy(self._unpack(self._members[name]))
        except FileError as error:
            raise FileError(f"Array {quoted(name)}: {error}") from None

    def _unpack(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._file.open(info) as member:
                data = member.read()
        except BROKEN:
            raise FileError("The archive is damaged here: save it anew.") from None
        if len(data) != info.file_size:
            raise FileError(
                f"The file is cut: {size(info.file_size)} expected, {len(data):,} found."
            )
        return data


def _open(data: bytes) -> zipfile.ZipFile:
    if not data.startswith(MAGICS):
        raise FileError("This is not a .npz file: it does not begin as a zip archive.")
    if data.count(DIRECTORY_ENTRY) > MOST_ENTRIES:
        raise FileError(f"The archive holds more than {MOST_MEMBERS} arrays, the limit.")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except BROKEN:
        raise FileError("The archive is cut or damaged: download it or save it anew.") from None


def members(file: zipfile.ZipFile, *, is_bounded: bool = True) -> dict[str, zipfile.ZipInfo]:
    """The members by their arrays' names, every one of them fit to be read.

    They are not too large to be unpacked, unless there is no bound. Raises FileError.
    """
    infos = file.infolist()
    if len(infos) > MOST_MEMBERS:
        raise FileError(f"The archive holds {len(infos):,} arrays, the limit is {MOST_MEMBERS}.")
    names = Counter(info.filename for info in infos)
    if twice := [name for name, count in names.items() if count > 1]:
        raise FileError(f"The archive holds {quoted(twice[0].removesuffix(SUFFIX))} twice.")
    for info in infos:
        _check_member(info)
    if is_bounded:
        _check_sizes(infos)
    return {info.filename.removesuffix(SUFFIX): info for info in infos}


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if not name.endswith(SUFFIX) or any(mark in name for mark in "/\\\0"):
        raise FileError(
            f"The archive holds {quoted(name)}: only arrays as numpy.savez writes them."
        )
    if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
        raise FileError(
            f"Array {quoted(name)} is encrypted or packed in a way numpy.savez has not."
        )


def _check_sizes(infos: list[zipfile.ZipInfo]) -> None:
    packed = sum(info.compress_size for info in infos)
    unpacked = sum(info.file_size for info in infos)
    if unpacked > unpacked_limit(packed):
        raise FileError(over_limit("archive", size(unpacked), packed))
