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

from gradloom.worker.exchange.tree import Node, reduce

Gradient = npt.NDArray[np.float32]
Statistics = tuple[float, ...]
Facts = list[tuple[int, int, tuple[float, ...]]]

_WIRE = np.dtype("<f4")


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """Summed gradient, shape (parameters,), and summed statistics of some shards."""

    gradient: Gradient
    statistics: Statistics

    def __add__(self, other: "Sum") -> "Sum":
        """The sum of both, in the memory of the left one."""
        np.add(self.gradient, other.gradient, out=self.gradient)
        return Sum(self.gradient, added(self.statistics, other.statistics))


def added(left: Statistics, right: Statistics) -> Statistics:
    """Two statistics added number by number."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


def packed(parts: dict[Node, Sum]) -> tuple[Facts, bytes]:
    """Parts as they travel: nodes with statistics, and the gradients' bytes."""
    facts = [(node.level, node.place, part.statistics) for node, part in parts.items()]
    return facts, b"".join(part.gradient.astype(_WIRE, copy=False).data for part in parts.values())


def unpacked(facts: object, body: bytes | memoryview) -> dict[Node, Sum]:
    """Parts from what packed made. Raises ValueError where it did not."""
    if not isinstance(facts, list) or not facts:
        raise ValueError("roots without nodes")
    gradients = np.frombuffer(body, _WIRE).reshape(len(facts), -1)
    return {
        Node(level, place): Sum(gradient.astype(np.float32), tuple(statistics))
        for (level, place, statistics), gradient in zip(facts, gradients, strict=True)
    }


def summed(parts: Iterable[dict[Node, Sum]], leaves: int) -> Sum:
    """The sum over all shards, in the tree's order whatever order the parts come in.

    Raises IncompleteTree where a shard is missing.
    """
    nodes: dict[Node, Sum] = {}
    for part in parts:
        nodes.update(part)
    return reduce(nodes, leaves, Sum.__add__)
