"""The star exchange: every worker hands over its roots, the hub passes all of them to everybody.

The hub only carries bytes; each worker adds up the same roots in the same tree, so that no
arithmetic happens outside the pinned profile. It is the reference that faster exchanges are held
to. On the wire a part is its nodes and statistics (a JSON-able list) and the gradients of the
nodes one after the other, little-endian float32.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradloom.worker.exchange.notes import Observed, Statistics, added, merged
from gradloom.worker.exchange.tree import Node, reduce

Gradient = npt.NDArray[np.float32]
# Level and place of a node, its statistics, and how many numbers were observed.
Facts = list[tuple[int, int, tuple[float, ...], int]]

_WIRE = np.dtype("<f4")
_WIDE = np.dtype("<f8")
_NOTHING: Observed = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """Summed gradient, shape (parameters,), and summed statistics of some shards.

    observed are the sums of a look at the layers; None where no shard was looked at.
    """

    gradient: Gradient
    statistics: Statistics
    observed: Observed | None = None

    def __add__(self, other: "Sum") -> "Sum":
        """The sum of both, in the memory of the left one."""
        np.add(self.gradient, other.gradient, out=self.gradient)
        return Sum(
            self.gradient,
            added(self.statistics, other.statistics),
            merged(self.observed, other.observed),
        )


def packed(parts: dict[Node, Sum]) -> tuple[Facts, bytes]:
    """Parts as they travel: nodes with statistics, and the bytes of all arrays."""
    looks = [_NOTHING if part.observed is None else part.observed for part in parts.values()]
    facts = [
        (node.level, node.place, part.statistics, look.size)
        for (node, part), look in zip(parts.items(), looks, strict=True)
    ]
    gradients = [part.gradient.astype(_WIRE, copy=False).data for part in parts.values()]
    return facts, b"".join([*gradients, *(look.astype(_WIDE, copy=False).data for look in looks)])


def unpacked(facts: object, body: bytes | memoryview) -> dict[Node, Sum]:
    """Parts from what packed made. Raises ValueError where it did not."""
    if not isinstance(facts, list) or not facts:
        raise ValueError("roots without nodes")
    counts = [count for _, _, _, count in facts]
    end = len(body) - sum(counts) * _WIDE.itemsize
    gradients = np.frombuffer(body[:end], _WIRE).reshape(len(facts), -1)
    looks = np.split(np.frombuffer(body[end:], _WIDE), np.cumsum(counts)[:-1])
    return {
        Node(level, place): Sum(
            gradient.astype(np.float32),
            tuple(statistics),
            look.astype(np.float64) if count else None,
        )
        for (level, place, statistics, count), gradient, look in zip(
            facts, gradients, looks, strict=True
        )
    }


def summed(parts: Iterable[dict[Node, Sum]], leaves: int) -> Sum:
    """The sum over all shards, in the tree's order whatever order the parts come in.

    Raises IncompleteTree where a shard is missing.
    """
    nodes: dict[Node, Sum] = {}
    for part in parts:
        nodes.update(part)
    return reduce(nodes, leaves, Sum.__add__)
