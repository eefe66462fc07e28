"""Pairs of nodes, and what nodes are called."""

from itertools import combinations

import pytest

from gradloom.service.fleet.cluster import names, pairings


@pytest.mark.parametrize("nodes", range(9))
def test_every_pair_comes_once(nodes: int) -> None:
    pairs = [tuple(sorted(pair)) for round_ in pairings(nodes) for pair in round_]
    assert sorted(pairs) == list(combinations(range(nodes), 2))


@pytest.mark.parametrize("nodes", range(9))
def test_no_node_is_in_two_pairs_at_once(nodes: int) -> None:
    for pairs in pairings(nodes):
        busy = [node for pair in pairs for node in pair]
        assert len(busy) == len(set(busy))


def test_there_are_as_few_rounds_as_can_be() -> None:
    assert [len(list(pairings(nodes))) for nodes in (2, 3, 4, 5, 8)] == [1, 3, 3, 5, 7]


def test_nodes_of_one_name_are_called_by_their_addresses() -> None:
    hosts = [("a", "10.0.0.1"), ("box", "10.0.0.2"), ("box", "10.0.0.3")]
    assert names(hosts) == ["a", "10.0.0.2", "10.0.0.3"]
