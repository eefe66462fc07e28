"""What travels between members: a header, and bytes that a checksum covers."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

# Job, kind, row, formation, sequence, heard, length, offset; then the checksums of these and of
# the body. A header says where its body belongs, so it has to be sound before that is read.
_FIELDS = struct.Struct("<IHHIIIII")
_CHECKSUMS = struct.Struct("<II")
HEADER = _FIELDS.size + _CHECKSUMS.size

# What holds bytes.
Body = bytes | bytearray | memoryview

_COUNT = struct.Struct("<I")

# The longest piece of a vector in a frame, and the longest note that may come.
PIECE = 1 << 20
LONGEST = 1 << 26


class Kind(IntEnum):
    """What a frame is."""

    # Between a cell's member and its leader, and between leaders.
    NOTE = 1  # what members say at an agreement
    NOTES = 2  # what all members say
    ROOTS = 3  # a piece of a node's sum, by its index among those its cell hands over
    SUM = 4  # a piece of the sum over all shards
    SUMMED = 5  # the whole sum stands in the cell's memory
    WAITING = 6  # the sender is there and waits, too
    BROKEN = 7  # the formation cannot go on
    BYE = 8  # the sender leaves
    HOLDING = 9  # a member's memory, for its leader
    SHARED = 10  # the cell's memory, for its members


class Header(NamedTuple):
    """A frame's header.

    job and formation are what both ends have agreed on, sequence counts the frames of a
    direction, heard is the sequence up to which the sender has all of the other's.
    """

    job: int
    kind: int
    row: int
    formation: int
    sequence: int
    heard: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was received, or is to be sent; row and offset say where it belongs.

    descriptors of files go along, within a node.
    """

    kind: Kind
    body: Body = b""
    row: int = 0
    offset: int = 0
    descriptors: tuple[int, ...] = ()


def bundled(parts: Sequence[Body]) -> bytes:
    """Several notes as one; see unbundled."""
    return b"".join([_COUNT.pack(len(parts)), *(_COUNT.pack(len(part)) for part in parts), *parts])


def unbundled(data: Body) -> tuple[bytes, ...]:
    """The notes that bundled has put together."""
    (count,) = _COUNT.unpack_from(data)
    lengths = struct.unpack_from(f"<{count}I", data, _COUNT.size)
    ends = list(accumulate(lengths, initial=_COUNT.size * (count + 1)))
    return tuple(bytes(data[a:b]) for a, b in pairwise(ends))


class Damaged(ValueError):
    """Bytes that are not the frame that should have come."""


def checksum(body: Body, seed: int = 0) -> int:
    """XXH3's lower half: a CRC-32 takes longer than the network does within a rack."""
    return xxh3_64_intdigest(body, seed) & 0xFFFFFFFF


def packed(header: Header | tuple[int, ...], body: Body) -> bytes:
    """The header as it travels; body is what of it the checksum is to cover."""
    fields = _FIELDS.pack(*header)
    of_header = checksum(fields)
    return fields + _CHECKSUMS.pack(of_header, checksum(body, of_header))


def whole(data: bytes, *, covers_body: bool = True) -> Header | None:
    """The header of data that is one frame and nothing else, and sound; else None."""
    if len(data) < HEADER:
        return None
    header = _FIELDS.unpack_from(data)
    of_header, of_body = _CHECKSUMS.unpack_from(data, _FIELDS.size)
    is_sound = (
        header[6] == len(data) - HEADER
        and checksum(data[: _FIELDS.size]) == of_header
        and checksum(data[HEADER:] if covers_body else b"", of_header) == of_body
    )
    return Header._make(header) if is_sound else None


def unpacked(data: bytes) -> Header:
    """The header that these bytes are. Raises Damaged."""
    of_header, _ = _CHECKSUMS.unpack_from(data, _FIELDS.size)
    if checksum(data[: _FIELDS.size]) != of_header:
        raise Damaged("a frame whose header's checksum is wrong")
    return Header(*_FIELDS.unpack_from(data))


def check(header: bytes, body: Body) -> None:
    """Raises Damaged where the body is not the one that goes with a header."""
    of_header, of_body = _CHECKSUMS.unpack_from(header, _FIELDS.size)
    if checksum(body, of_header) != of_body:
        raise Damaged("a frame whose checksum is wrong")
