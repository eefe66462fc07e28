"""Blocks of rows out of files, each held to its hash as it is read."""

import errno
import hashlib
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from gradloom.worker.data.blocks import Blocking
from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import DataChanged, FileError
from gradloom.worker.data.extents import STREAM_LIMIT_BYTES, Extent
from gradloom.worker.data.files import Roots, locate
from gradloom.worker.data.wording import quoted
from gradloom.worker.faults import Point, reached

# The SHA-256 of each array's rows in a block, as they stand in the file.
Digests = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hashed:
    """A block's arrays in native byte order, and the hashes of what stood in the files."""

    arrays: tuple[Array, ...]
    digests: Digests


class _Handle:
    """An open file, closed when the last thread that reads from it lets go of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)


@dataclass(frozen=True, slots=True, eq=False)
class FileBlocks:
    """Rows of arrays that stand in files as they are.

    A file is opened once, and anew after a fault.
    digests are those of all blocks, once they are known. Threads may share it: a read has a place
    of its own.
    """

    extents: tuple[Extent, ...]
    roots: Roots
    blocking: Blocking
    digests: Sequence[Digests] = ()
    _open: dict[str, _Handle] = field(default_factory=dict)

    def read(self, number: int) -> tuple[Array, ...]:
        """See BlockSource."""
        reached(Point.DATA_READ, path=self.extents[0].path, block=number)
        found = self.hashed(number)
        for extent, digest, known in zip(
            self.extents, found.digests, self.digests[number], strict=True
        ):
            if digest != known:
                raise DataChanged(_changed(extent, number, digest, known))
        return found.arrays

    def hashed(self, number: int) -> Hashed:
        """A block and its hashes; raises OSError."""
        parts = [self._part(extent, number) for extent in self.extents]
        arrays, digests = zip(*parts, strict=True)
        return Hashed(arrays, digests)

    def _part(self, extent: Extent, number: int) -> tuple[Array, str]:
        first, end = self.blocking.bounds(number)
        data = bytearray((end - first) * extent.row_bytes)
        count = self._fill(extent, extent.begin + first * extent.row_bytes, memoryview(data))
        digest = hashlib.sha256(memoryview(data)[:count]).hexdigest()
        array = np.frombuffer(data, extent.dtype).reshape(end - first, *extent.shape[1:])
        return array.astype(extent.dtype.newbyteorder("="), copy=False), digest

    def _fill(self, extent: Extent, begin: int, data: memoryview) -> int:
        """Fills data from a file, and says with how much: less where the file ends."""
        filled = 0
        try:
            handle = self._handle(extent.path)
            while filled < len(data):
                count = os.preadv(handle.descriptor, [data[filled:]], begin + filled)
                if not count:
                    return filled
                filled += count
        except OSError as error:
            self._open.pop(extent.path, None)
            raise OSError(error.errno, error.strerror, extent.path) from error
        return filled

    def _handle(self, path: str) -> _Handle:
        if path not in self._open:
            try:
                with locate(self.roots, path, STREAM_LIMIT_BYTES) as file:
                    self._open[path] = _Handle(file)
            except FileError as error:
                raise OSError(errno.EIO, str(error)) from None
        return self._open[path]


class BlockContainer:
    """The arrays of one block, by their names."""

    noun = "array"

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    @property
    def names(self) -> tuple[str, ...]:
        """See Container."""
        return tuple(self._arrays)

    def read(self, name: str) -> Array:
        """See Container."""
        return self._arrays[name]


def _changed(extent: Extent, number: int, found: str, known: str) -> str:
    return (
        f"Block {number} of {quoted(extent.path)} has the SHA-256 {found[:12]}, it was "
        f"{known[:12]} when the job was made: put the old file back, or submit the job anew."
    )
