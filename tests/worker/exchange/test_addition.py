"""Blocks are added up in the tree's order, from whatever nodes there are."""

from random import Random

import numpy as np
import pytest

from gradloom.worker.exchange.addition import STRIDE, Addition
from gradloom.worker.exchange.tree import IncompleteTree, Node, cover, fold, root
from tests.worker.exchange.formations import leaf

SIZE = 2 * STRIDE + 100


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8, 13])
def test_any_nodes_come_to_the_bits_of_a_fold(leaves: int) -> None:
    random = Random(leaves)
    vectors = {
        node: fold(node, leaves, lambda shard: leaf(shard, SIZE), np.add)
        for first, last in _ranges(leaves, random)
        for node in cover(first, last, leaves)
    }
    whole = fold(root(leaves), leaves, lambda shard: leaf(shard, SIZE), np.add)
    for block in (slice(0, SIZE), slice(5, STRIDE + 7), slice(SIZE - 1, SIZE), slice(9, 9)):
        out = np.empty(block.stop - block.start, np.float32)
        total = Addition(root(leaves), vectors, leaves).into(out, block)
        assert total.tobytes() == whole[block].tobytes()


def _ranges(leaves: int, random: Random) -> list[tuple[int, int]]:
    cuts = sorted(random.choices(range(leaves + 1), k=2))
    return list(zip([0, *cuts], [*cuts, leaves], strict=True))


def test_the_vectors_stay_as_they_are() -> None:
    vectors = {Node(0, shard): leaf(shard, 100) for shard in range(4)}
    before = {node: vector.copy() for node, vector in vectors.items()}
    Addition(root(4), vectors, 4).into(np.empty(100, np.float32), slice(0, 100))
    assert all(np.array_equal(vectors[node], before[node]) for node in vectors)


def test_a_sum_without_additions_is_the_vector_itself() -> None:
    vector = leaf(0, 10)
    assert Addition(root(1), {Node(0, 0): vector}, 1).lone is vector


def test_a_missing_shard_is_an_error() -> None:
    with pytest.raises(IncompleteTree, match="shard 1 of 2"):
        Addition(root(2), {Node(0, 0): leaf(0, 10)}, 2)


def test_memory_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="memory of shape"):
        Addition(root(1), {Node(0, 0): leaf(0, 10)}, 1).into(np.empty(3, np.float32), slice(0, 4))
