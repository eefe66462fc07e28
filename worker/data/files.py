"""Opens files below the data roots, and nothing else, whatever a path says.

A path is opened without side effects (O_PATH), the descriptor is asked what it is and where it
lies, and only that descriptor is read: a file swapped for a link meanwhile changes nothing.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.limits import LIMIT_BYTES
from gradloom.worker.data.reading import READS
from gradloom.worker.data.wording import nearest, plain, quoted, size
from gradloom.worker.faults import Point, reached

LEAVES = "The path leaves the data roots: use a path below one of them."
NOT_REGULAR = (
    "This is not a regular file: a .npz, .npy, .csv, IDX or safetensors file belongs here."
)
# File systems whose regular files are windows into the kernel.
KERNEL_FILE_SYSTEMS = (Path("/proc"), Path("/sys"))
MOST_NEIGHBOURS = 10_000
ABSENT = (errno.ENOENT, errno.ENOTDIR)
# A slow disk gives so much well within the time after which a read counts as stalled.
PART_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders below which data files may lie; "/" means any file."""

    roots: tuple[Path, ...]


def read_file(roots: Roots, path: str) -> bytes:
    """The whole file; raises FileError."""
    with READS.of(path):
        file = locate(roots, path)
    with file:
        left, content = min(os.fstat(file.fileno()).st_size, LIMIT_BYTES), BytesIO()
        while left and (part := _part(file, path, min(left, PART_BYTES))):
            left -= content.write(part)
        return content.getvalue()


def _part(file: BinaryIO, path: str, count: int) -> bytes:
    with READS.of(path):
        reached(Point.DATA_READ, path=path)
        return file.read(count)


def locate(roots: Roots, path: str, limit: int = LIMIT_BYTES) -> BinaryIO:
    """Open the first regular file of this path below a root, in the order of the roots.

    An absolute path must lie below a root itself. Raises FileError, also where the file has more
    bytes than the limit.
    """
    if "\0" in path:
        raise FileError(LEAVES)
    candidates = [(root, place) for root in roots.roots if (place := _below(root, path))]
    if not candidates:
        raise FileError(LEAVES)
    for root, place in candidates:
        if file := _open(root, place, path, limit):
            return file
    raise FileError(_missing(candidates, path))


def size_of(roots: Roots, path: str) -> int:
    """The bytes of a file however large, 0 where it cannot be opened."""
    try:
        with locate(roots, path, sys.maxsize) as file:
            return os.fstat(file.fileno()).st_size
    except FileError:
        return 0


def _below(root: Path, path: str) -> Path | None:
    """Where the path leads by its spelling alone, unless that is outside the root."""
    # abspath drops ".." without looking at the disk, so the answer says nothing about it.
    place = Path(os.path.abspath(root / path))  # noqa: PTH100
    homes = (os.path.abspath(root), os.path.realpath(root))  # noqa: PTH100
    return place if any(place.is_relative_to(home) for home in homes) else None


def _open(root: Path, place: Path, path: str, limit: int) -> BinaryIO | None:
    """The file at this place, or None where there is none."""
    try:
        with _handle(place) as handle:
            _check(handle, root, path, limit)
            return _reopen(handle)
    except OSError as error:
        if not _inside(root, os.path.realpath(place)):
            raise FileError(LEAVES) from None
        if error.errno in ABSENT:
            return None
        raise FileError(_unopened(path, error)) from None


@contextmanager
def _handle(place: Path) -> Iterator[int]:
    handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _check(handle: int, root: Path, path: str, limit: int) -> None:
    status = os.fstat(handle)
    if not _inside(root, _descriptor(handle).readlink()):
        raise FileError(LEAVES)
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{quoted(path)} is a directory: name a file in it.")
    if not stat.S_ISREG(status.st_mode) or status.st_dev in _kernel_devices():
        raise FileError(NOT_REGULAR)
    if status.st_size > limit:
        raise FileError(f"The file has {size(status.st_size)}, the limit is {size(limit)}.")


def _reopen(handle: int) -> BinaryIO:
    """Open for reading the very file that was checked."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(_descriptor(handle), flags), "rb")


def _descriptor(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}")


def _inside(root: Path, real_place: str | Path) -> bool:
    return Path(real_place).is_relative_to(os.path.realpath(root))


def _kernel_devices() -> set[int]:
    return {place.stat().st_dev for place in KERNEL_FILE_SYSTEMS if place.exists()}


def _unopened(path: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"The service may not read {quoted(path)}: give it the right to."
    return f"{quoted(path)} cannot be opened: {os.strerror(error.errno or 0)}."


def _missing(candidates: list[tuple[Path, Path]], path: str) -> str:
    neighbours = [name for root, place in candidates for name in _neighbours(root, place)]
    guess = nearest(Path(path).name, neighbours)
    hint = f" Nearest: {plain(str(Path(path).with_name(guess)))}." if guess else ""
    return f"There is no file {quoted(path)} under the data roots.{hint}"


def _neighbours(root: Path, place: Path) -> list[str]:
    """Names in the folder the file should be in, sorted."""
    folder = os.path.realpath(place.parent)
    if not _inside(root, folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_NEIGHBOURS))
    except OSError:
        return []
