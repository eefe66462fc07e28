"""The star exchange gives the same bits for any division and any order of arrival."""

from random import Random

import numpy as np
import pytest

from gradloom.worker.exchange.star import Sum, packed, summed, unpacked
from gradloom.worker.exchange.tree import IncompleteTree, Node, cover, fold

SHARDS = 11


def leaf(shard: int) -> Sum:
    """Gradients of very different sizes, so that the order of additions shows."""
    random = np.random.Generator(np.random.Philox(shard))
    gradient = (random.normal(size=50) * 10.0 ** random.integers(-6, 6, 50)).astype(np.float32)
    return Sum(gradient, (1.0, float(gradient[0])))


def computed(first: int, last: int) -> dict[Node, Sum]:
    return {node: fold(node, SHARDS, leaf, Sum.__add__) for node in cover(first, last, SHARDS)}


def exchanged(cuts: list[int], random: Random) -> Sum:
    """The sum after each worker's part was packed, sent in any order and unpacked."""
    bounds = list(zip([0, *cuts], [*cuts, SHARDS], strict=True))
    parts = [packed(computed(first, last)) for first, last in bounds]
    random.shuffle(parts)
    return summed((unpacked(list(facts), body) for facts, body in parts), SHARDS)


@pytest.mark.parametrize("workers", range(1, SHARDS + 1))
def test_any_division_gives_equal_bits(workers: int) -> None:
    random = Random(workers)
    whole = exchanged([], random)
    other = exchanged(sorted(random.sample(range(1, SHARDS), workers - 1)), random)
    assert other.gradient.tobytes() == whole.gradient.tobytes()
    assert other.statistics == whole.statistics


def test_the_order_of_additions_shows_in_these_numbers() -> None:
    in_a_row = leaf(0).gradient.copy()
    for shard in range(1, SHARDS):
        in_a_row += leaf(shard).gradient
    assert in_a_row.tobytes() != exchanged([], Random(0)).gradient.tobytes()


def test_a_part_that_is_missing_is_an_error() -> None:
    with pytest.raises(IncompleteTree):
        summed([computed(0, 5)], SHARDS)


def looked_at(shard: int, every: int) -> Sum:
    """A leaf of which, if it is one of every so many, something was observed."""
    part = leaf(shard)
    seen = part.gradient[:4].astype(np.float64) if shard % every == 0 else None
    return Sum(part.gradient, part.statistics, seen)


@pytest.mark.parametrize("every", [1, 4])
def test_looks_at_all_or_some_shards_travel_with_any_division(every: int) -> None:
    def total(*cuts: int) -> Sum:
        parts = []
        for first, last in zip((0, *cuts), (*cuts, SHARDS), strict=True):
            cover_ = cover(first, last, SHARDS)
            nodes = {n: fold(n, SHARDS, lambda s: looked_at(s, every), Sum.__add__) for n in cover_}
            facts, body = packed(nodes)
            parts.append(unpacked(list(facts), body))
        return summed(parts, SHARDS)

    whole, other = total(), total(1, 5, 7)
    assert whole.observed is not None and other.observed is not None
    assert other.observed.tobytes() == whole.observed.tobytes()
    assert other.gradient.tobytes() == whole.gradient.tobytes()


@pytest.mark.parametrize("facts", [None, [], {"a": 1}])
def test_roots_without_nodes_are_refused(facts: object) -> None:
    with pytest.raises(ValueError, match="roots without nodes"):
        unpacked(facts, b"")
