"""Blocks of vectors added up in the tree's order, in memory that stays in the cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

import numpy as np

from gradloom.worker.exchange.exchange import Vector
from gradloom.worker.exchange.tree import IncompleteTree, Node

# Elements at a time: two terms and a sum of so many stay in the L2 cache.
STRIDE = 16384


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    left: "_Term"
    right: "_Term"


# A vector as it stands, or a sum of two terms.
_Term = Union[Vector, _Pair]  # noqa: UP007  # a quoted name has no |


class Addition:
    """The sum at a node of the tree from those at nodes below it."""

    def __init__(self, node: Node, vectors: Mapping[Node, Vector], leaves: int) -> None:
        """Raises IncompleteTree where a leaf's sum is in none of the vectors."""
        self._term = _term(node, vectors, leaves)
        self._spare = np.empty((_spares(self._term), STRIDE), np.float32)

    @property
    def lone(self) -> Vector | None:
        """The vector that holds the sum already, where nothing is to be added."""
        return None if isinstance(self._term, _Pair) else self._term

    def into(self, out: Vector, block: slice) -> Vector:
        """Writes the sum over a block to out, which is as long as the block."""
        if out.shape != (block.stop - block.start,):
            raise ValueError(f"memory of shape {out.shape} for {block}")
        for begin in range(block.start, block.stop, STRIDE):
            place = slice(begin, min(begin + STRIDE, block.stop))
            part = out[place.start - block.start : place.stop - block.start]
            if isinstance(self._term, _Pair):
                self._add(self._term, place, part, 0)
            else:
                np.copyto(part, self._term[place])
        return out

    def _add(self, pair: _Pair, place: slice, out: Vector, depth: int) -> None:
        """A right term that is a sum itself takes a spare; the left one has out to itself."""
        left = self._value(pair.left, place, out, depth)
        right = pair.right
        if isinstance(right, _Pair):
            spare = self._spare[depth, : out.size]
            np.add(left, self._value(right, place, spare, depth + 1), out=out)
        else:
            np.add(left, right[place], out=out)

    def _value(self, term: _Term, place: slice, out: Vector, depth: int) -> Vector:
        if not isinstance(term, _Pair):
            return term[place]
        self._add(term, place, out, depth)
        return out


def _term(node: Node, vectors: Mapping[Node, Vector], leaves: int) -> _Term:
    if node in vectors:
        return vectors[node]
    if node.level == 0:
        raise IncompleteTree(f"shard {node.place} of {leaves} is missing")
    left = _term(node.left, vectors, leaves)
    if not node.right.exists(leaves):
        return left
    return _Pair(left, _term(node.right, vectors, leaves))


def _spares(term: _Term) -> int:
    """How many terms to the right have to be kept at once."""
    if not isinstance(term, _Pair):
        return 0
    right = 1 + _spares(term.right) if isinstance(term.right, _Pair) else 0
    return max(_spares(term.left), right)
