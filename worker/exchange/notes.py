"""What members say of their shards: statistics and looks at each root, as bytes."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradloom.worker.exchange.tree import Node

Statistics = tuple[float, ...]
Observed = npt.NDArray[np.float64]

# Level and place of the node, how many statistics, how many numbers of a look.
_HEAD = struct.Struct("<4i")
_WIDE = np.dtype("<f8")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Summed statistics of some shards, and what a look at their layers saw, if there was one."""

    statistics: Statistics
    observed: Observed | None = None

    def __add__(self, other: "Seen") -> "Seen":
        """Both, number by number; a side that was not looked at adds nothing to the look."""
        return Seen(added(self.statistics, other.statistics), merged(self.observed, other.observed))


def added(left: Statistics, right: Statistics) -> Statistics:
    """Two statistics added number by number."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


def merged(left: Observed | None, right: Observed | None) -> Observed | None:
    """Two looks added number by number; a side that was not looked at adds nothing."""
    if left is None or right is None:
        return right if left is None else left
    return left + right


def pack_seen(parts: Mapping[Node, Seen]) -> bytes:
    """Parts as they travel; see unpack_seen."""
    pieces: list[bytes] = []
    for node, part in parts.items():
        look = np.empty(0) if part.observed is None else part.observed
        pieces += [
            _HEAD.pack(node.level, node.place, len(part.statistics), look.size),
            np.array(part.statistics, _WIDE).tobytes(),
            look.astype(_WIDE, copy=False).tobytes(),
        ]
    return b"".join(pieces)


def unpack_seen(note: bytes) -> dict[Node, Seen]:
    """Parts from what pack_seen made. Raises ValueError or struct.error where it did not."""
    parts: dict[Node, Seen] = {}
    at = 0
    while at < len(note):
        level, place, count, looked = _HEAD.unpack_from(note, at)
        at += _HEAD.size
        numbers = np.frombuffer(note, _WIDE, count + looked, at)
        at += numbers.nbytes
        look = numbers[count:].astype(np.float64) if looked else None
        parts[Node(level, place)] = Seen(tuple(numbers[:count].tolist()), look)
    return parts
