"""The reduction tree gives one order of additions for any division of the shards."""

from itertools import combinations
from random import Random

import pytest

from gradloom.worker.exchange.tree import (
    IncompleteTree,
    Node,
    cover,
    fold,
    reduce,
    registers,
    root,
    schedule,
)


def add(left: str, right: str) -> str:
    return f"({left}+{right})"


def whole(leaves: int) -> str:
    return fold(root(leaves), leaves, str, add)


def divided(leaves: int, cuts: list[int], order: Random) -> str:
    """The root's value when workers between the cuts hand over their nodes in any order."""
    nodes = [
        node
        for first, last in zip([0, *cuts], [*cuts, leaves], strict=True)
        for node in cover(first, last, leaves)
    ]
    order.shuffle(nodes)
    return reduce({node: fold(node, leaves, str, add) for node in nodes}, leaves, add)


def test_eight_shards_are_added_in_pairs() -> None:
    assert whole(8) == "(((0+1)+(2+3))+((4+5)+(6+7)))"


def test_a_ragged_tree_hands_its_lone_child_up() -> None:
    assert whole(5) == "(((0+1)+(2+3))+4)"


def test_one_shard_is_its_own_root() -> None:
    assert whole(1) == "0"


def test_aligned_subtrees_are_handed_over_as_one_node() -> None:
    assert cover(4, 8, 8) == (Node(2, 1),)


def test_unaligned_ranges_are_handed_over_as_few_nodes() -> None:
    assert cover(3, 8, 8) == (Node(0, 3), Node(2, 1))


def test_an_empty_range_hands_over_nothing() -> None:
    assert cover(3, 3, 8) == ()


@pytest.mark.parametrize("leaves", range(1, 34))
def test_any_division_gives_the_same_order_of_additions(leaves: int) -> None:
    random = Random(leaves)
    for workers in range(1, leaves + 1):
        cuts = sorted(random.sample(range(1, leaves), workers - 1))
        assert divided(leaves, cuts, random) == whole(leaves)


def test_a_missing_shard_is_an_error_and_not_a_sum() -> None:
    with pytest.raises(IncompleteTree, match="shard 2 of 4"):
        reduce({Node(1, 0): "a", Node(0, 3): "b"}, 4, add)


@pytest.mark.parametrize("leaves", range(1, 20))
def test_a_schedule_leaves_in_its_registers_what_a_fold_gives(leaves: int) -> None:
    for first, last in combinations(range(leaves + 1), 2):
        steps, roots = schedule(first, last, leaves)
        values: dict[int, tuple[object, ...]] = {}
        for leaf in steps:
            values[leaf.register] = (leaf.place,)
            for into, addend in leaf.merges:
                values[into] = (values[into], values.pop(addend))
        folded = {
            node: fold(node, leaves, lambda place: (place,), lambda a, b: (a, b))
            for node in cover(first, last, leaves)
        }
        assert {node: values[register] for node, register in roots.items()} == folded
        assert max(leaf.register for leaf in steps) < registers(leaves)
