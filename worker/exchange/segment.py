"""Memory that processes of a node share: files that have a name only while they are made.

A file's pages are allocated when it is made, so that a folder that is too small says so there and
not as a bus error later. Its name, which begins with the run's prefix, is taken away at once; it
is passed on as a descriptor and gone with the last process that maps it, however that ends. What
a process that died while it made one has left, sweep removes.
"""

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from glob import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.exchange.exchange import NoRoom, Vector

# Numbers of 8 bytes, each written and read at once.
Words = memoryview
_WORD = 8

_PAGE = mmap.PAGESIZE
# Vectors that are walked together begin at different places of a page: see side_by_side.
_STAGGER = 17 * 64
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}


class Memory:
    """Words and so many vectors of one length, this process's own or shared with others."""

    def __init__(
        self, vectors: tuple[Vector, ...], words: Words, descriptor: int | None = None
    ) -> None:
        """Owns the descriptor, which others may map the memory by."""
        self.vectors = vectors
        self.words = words
        self.descriptor = descriptor

    @property
    def is_shared(self) -> bool:
        """Whether others can map it."""
        return self.descriptor is not None

    def is_at(self, descriptor: int) -> bool:
        """Whether it is what a descriptor stands for."""
        return self.descriptor is not None and os.path.sameopenfile(self.descriptor, descriptor)

    def __del__(self) -> None:
        """The vectors keep what they need mapped."""
        if self.descriptor is not None:
            os.close(self.descriptor)


def private(count: int, length: int, words: int = 0) -> Memory:
    """Words and vectors of zeros that this process alone sees."""
    vectors = side_by_side(count, length, np.float32) if count else ()
    return Memory(vectors, memoryview(bytearray(_WORD * words)).cast("Q"))


def shared(prefix: str, count: int, length: int, words: int = 0) -> Memory:
    """Words and vectors of zeros that others can map. Raises NoRoom."""
    descriptor = _made(prefix, _room(count, length, words))
    return _mapped(descriptor, count, length, words)


def attached(descriptor: int, count: int, length: int, words: int = 0) -> Memory:
    """What another process has made; the descriptor is the memory's from now on.

    Raises ValueError where it is something else.
    """
    found = os.fstat(descriptor).st_size
    if found < _room(count, length, words):
        os.close(descriptor)
        raise ValueError(f"{found} bytes of shared memory for {count} vectors of {length}")
    return _mapped(descriptor, count, length, words)


def sweep(prefix: str) -> None:
    """Removes what processes that died have left of those made with this prefix."""
    at = Path(prefix)
    for path in at.parent.glob(f"{escape(at.name)}-*"):
        path.unlink(missing_ok=True)


def free_bytes(prefix: str) -> int:
    """How much fits where files with this prefix are made."""
    status = os.statvfs(Path(prefix).parent)
    return status.f_bavail * status.f_frsize


def _made(prefix: str, size: int) -> int:
    """A file of so many bytes whose name is gone."""
    folder, name = os.path.split(prefix)
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
    except OSError as error:
        raise _no_room(folder, size) if error.errno in _FULL else error from error
    try:
        os.posix_fallocate(descriptor, 0, max(size, 1))
    except OSError as error:
        os.close(descriptor)
        raise _no_room(folder, size) if error.errno in _FULL else error from error
    finally:
        Path(path).unlink(missing_ok=True)
    return descriptor


def _no_room(folder: str, size: int) -> NoRoom:
    status = os.statvfs(folder)
    free, whole = (count * status.f_frsize for count in (status.f_bavail, status.f_blocks))
    return NoRoom(
        f"needs {_megabytes(size)} MB, {_megabytes(free)} of {_megabytes(whole)} MB free in "
        f"{folder}: start the container with a larger shm size, or the service with another "
        "--segment-folder"
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f}" if count >= 10_000_000 else f"{count / 1e6:.1f}"


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _step(length: int) -> int:
    return _whole_pages(4 * length) + _STAGGER


def _room(count: int, length: int, words: int) -> int:
    return _whole_pages(_WORD * words) + count * _step(length)


def _mapped(descriptor: int, count: int, length: int, words: int) -> Memory:
    """Words come first: others may map fewer vectors than there are."""
    room = _room(count, length, words)
    if not room:
        return Memory((), memoryview(b"").cast("Q"), descriptor)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    memory: npt.NDArray[np.uint8] = np.frombuffer(
        mmap.mmap(descriptor, room, flags=flags), np.uint8
    )
    vectors = tuple(_cut(memory[_whole_pages(_WORD * words) :], count, length))
    return Memory(vectors, memory[: _WORD * words].data.cast("Q"), descriptor)


def _cut(memory: npt.NDArray[np.uint8], count: int, length: int) -> Iterator[Vector]:
    for place in range(count):
        begin = place * _step(length)
        yield memory[begin : begin + 4 * length].view(np.float32)
