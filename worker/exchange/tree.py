"""The reduction tree: a fixed order of additions over shards, whoever computed which of them.

Shards 0 … V-1 are the leaves. The node (level, place) spans the shards from place·2^level up to
but not (place + 1)·2^level, cut off at V; its value is left + right, or the left child's alone
where V cuts the right one off. Only the root's bits matter, and they depend on V alone.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Node(NamedTuple):
    """A node of the tree; leaves have level 0."""

    level: int
    place: int

    @property
    def left(self) -> "Node":
        """The child over the first half of its span."""
        return Node(self.level - 1, 2 * self.place)

    @property
    def right(self) -> "Node":
        """The child over the second half of its span; may lie beyond the leaves."""
        return Node(self.level - 1, 2 * self.place + 1)

    def exists(self, leaves: int) -> bool:
        """Whether its span holds a leaf."""
        return self.place << self.level < leaves


class IncompleteTree(ValueError):
    """A leaf's value is missing, so nothing may be added up."""


def root(leaves: int) -> Node:
    """The node over all leaves."""
    return Node((leaves - 1).bit_length(), 0)


def cover(first: int, last: int, leaves: int) -> tuple[Node, ...]:
    """The fewest nodes whose spans together are the leaves first … last-1, in order."""
    nodes = []
    while first < last:
        node = _largest_at(first, last, leaves)
        nodes.append(node)
        first = min((node.place + 1) << node.level, leaves)
    return tuple(nodes)


def _largest_at(first: int, last: int, leaves: int) -> Node:
    level, top = 0, root(leaves).level
    while level < top and first % (2 << level) == 0 and min(first + (2 << level), leaves) <= last:
        level += 1
    return Node(level, first >> level)


def joined(nodes: Iterable[Node], leaves: int) -> tuple[Node, ...]:
    """The fewest nodes that can be added up from some that share no leaf, in order."""
    found = set(nodes)
    for level in range(root(leaves).level):
        for node in [each for each in found if each.level == level and each.place % 2 == 0]:
            right = Node(level, node.place + 1)
            if right in found or not right.exists(leaves):
                found -= {node, right}
                found.add(Node(level + 1, node.place // 2))
    return tuple(sorted(found, key=lambda node: node.place << node.level))


def fold(node: Node, leaves: int, leaf: Callable[[int], T], add: Callable[[T, T], T]) -> T:
    """The value of a node from those of its leaves, called in order of their index.

    add may reuse its left argument: no other value is built on it.
    """
    if node.level == 0:
        return leaf(node.place)
    left = fold(node.left, leaves, leaf, add)
    if not node.right.exists(leaves):
        return left
    return add(left, fold(node.right, leaves, leaf, add))


class Leaf(NamedTuple):
    """A leaf's place, the register its value is put in, and the additions that follow.

    Each (into, addend) adds the second register to the first.
    """

    place: int
    register: int
    merges: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def schedule(first: int, last: int, leaves: int) -> tuple[tuple[Leaf, ...], Mapping[Node, int]]:
    """How to add up the leaves first … last-1 in order with few registers.

    Also the register in which each node of their cover then stands.
    """
    nodes = {node: register for register, node in enumerate(cover(first, last, leaves))}
    return tuple(leaf for node in nodes for leaf in _leaves(node, nodes[node], leaves)), nodes


def _leaves(node: Node, register: int, leaves: int) -> list[Leaf]:
    if node.level == 0:
        return [Leaf(node.place, register, ())]
    found = _leaves(node.left, register, leaves)
    if node.right.exists(leaves):
        *others, last = _leaves(node.right, register + 1, leaves)
        found += [*others, last._replace(merges=(*last.merges, (register, register + 1)))]
    return found


def registers(leaves: int) -> int:
    """The most registers that a schedule of these leaves takes."""
    levels = root(leaves).level
    return max(2 * levels, 1) + 1


def reduce(values: Mapping[Node, T], leaves: int, add: Callable[[T, T], T]) -> T:
    """The root's value from those of nodes that together cover all leaves.

    Raises IncompleteTree where they do not.
    """
    return _reduced(root(leaves), values, leaves, add)


def _reduced(node: Node, values: Mapping[Node, T], leaves: int, add: Callable[[T, T], T]) -> T:
    if node in values:
        return values[node]
    if node.level == 0:
        raise IncompleteTree(f"shard {node.place} of {leaves} is missing")
    left = _reduced(node.left, values, leaves, add)
    if not node.right.exists(leaves):
        return left
    return add(left, _reduced(node.right, values, leaves, add))
