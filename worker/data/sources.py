"""From a data source to its arrays: which file is opened, in which format, and its hash."""

import hashlib
from collections.abc import Callable
from pathlib import PurePath

from gradloom.worker.data.container import Array, Container
from gradloom.worker.data.errors import ArrayError, DataError, FileError
from gradloom.worker.data.files import Roots, read_file
from gradloom.worker.data.gunzip import GZIP_MAGIC, gunzip
from gradloom.worker.data.idx import IDX_MAGIC, parse_idx
from gradloom.worker.data.npy import NPY_MAGIC, parse_npy
from gradloom.worker.data.npz import Archive
from gradloom.worker.data.spec import DataSource
from gradloom.worker.data.tabular import Table
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault

CONTAINERS: dict[str, Callable[[bytes], Container]] = {".npz": Archive, ".csv": Table}
ARRAYS: dict[bytes, Callable[[bytes], Array]] = {NPY_MAGIC: parse_npy, IDX_MAGIC: parse_idx}


class ArrayFiles:
    """One file an array, in the order of the arrays' names."""

    noun = "array"

    def __init__(self, arrays: dict[str, Array | ArrayError]) -> None:
        self._arrays = arrays

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays' names, sorted: a map on the wire has no order."""
        return tuple(sorted(self._arrays))

    def read(self, name: str) -> Array:
        """The array, parsed when it was opened; raises ArrayError."""
        array = self._arrays[name]
        if isinstance(array, ArrayError):
            raise array
        return array


def open_source(source: DataSource, roots: Roots, field: str) -> tuple[Container, str]:
    """The arrays of a source, and the SHA-256 of its file.

    Of several files it is the SHA-256 of theirs, in the order of the arrays' names, one a line.
    Raises DataError with faults below this field.
    """
    if bool(source.path) == bool(source.files):
        raise DataError((Fault(field, "Give path or files, one of them."),))
    if source.path:
        return _open_container(source.path, roots, f"{field}.path")
    return _open_files(source.files, roots, f"{field}.files")


def file_field(source: DataSource, name: str, field: str) -> str:
    """The field that names the file in which an array stands."""
    return f"{field}.files[{quoted(name)}]" if source.files else f"{field}.path"


def _open_container(path: str, roots: Roots, field: str) -> tuple[Container, str]:
    parse = CONTAINERS.get(PurePath(path).suffix.lower())
    if parse is None:
        raise DataError((Fault(field, _unknown_container(path)),))
    try:
        data = read_file(roots, path)
        return parse(data), hashlib.sha256(data).hexdigest()
    except FileError as error:
        raise DataError((Fault(field, str(error)),)) from None


def _unknown_container(path: str) -> str:
    return f"{quoted(path)} is not a .npz or .csv file: give a file of one array in data.files."


def _open_files(
    files: tuple[tuple[str, str], ...], roots: Roots, field: str
) -> tuple[Container, str]:
    arrays: dict[str, Array | ArrayError] = {}
    hashes: list[str] = []
    faults: list[Fault] = []
    for name, path in sorted(files):
        try:
            data = read_file(roots, path)
            arrays[name] = _parse_array(data)
            hashes.append(hashlib.sha256(data).hexdigest())
        except FileError as error:
            faults.append(Fault(f"{field}[{quoted(name)}]", str(error)))
    if faults:
        raise DataError(tuple(faults))
    return ArrayFiles(arrays), _joint_hash(hashes)


def _parse_array(data: bytes) -> Array | ArrayError:
    """An array that holds no numbers is a fault only where it is asked for."""
    numbers = gunzip(data) if data.startswith(GZIP_MAGIC) else data
    parse = next((ARRAYS[magic] for magic in ARRAYS if numbers.startswith(magic)), None)
    if parse is None:
        raise FileError("This is neither a .npy nor an IDX file, nor one of them in gzip.")
    try:
        return parse(numbers)
    except ArrayError as error:
        return error


def _joint_hash(hashes: list[str]) -> str:
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()
