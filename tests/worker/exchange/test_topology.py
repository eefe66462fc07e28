"""Who is who in a formation, and the slices of a vector."""

from itertools import pairwise
from random import Random

import pytest

from gradloom.worker.engine.arrays import BLOCK
from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.topology import Source, Topology, slices
from gradloom.worker.exchange.tree import Node, cover, joined
from gradloom.worker.messages import Formation, Member


def topology(worker: int) -> Topology:
    members = (
        Member(1, 0, "a:1", 0, 0, 3),
        Member(4, 1, "b:1", 0, 5, 6),
        Member(5, 0, "a:2", 0, 3, 4),
        Member(9, 1, "b:2", 0, 6, 6),
        Member(10, 0, "a:3", 0, 4, 5),
    )
    return Topology(Formation(1, members, b"", "", 1.0), worker, Layout(4 * BLOCK, 2, 6))


def test_the_first_member_of_a_cell_leads_it() -> None:
    assert topology(5).leader.worker == 1
    assert topology(9).leader.worker == 4
    assert [topology(worker).leads for worker in (1, 4, 5)] == [True, True, False]


def test_every_node_stands_in_a_register_of_one_member() -> None:
    assert topology(1).sources() == {
        Node(1, 0): Source(1, 0),
        Node(0, 2): Source(1, 1),
        Node(0, 3): Source(5, 0),
        Node(0, 4): Source(10, 0),
        Node(0, 5): Source(4, 0),
    }


def test_a_cell_hands_over_what_its_members_add_up_to() -> None:
    view = topology(1)
    assert view.handed_over(view.cells[0], view.sources()) == (Node(2, 0), Node(0, 4))
    assert view.handed_over(view.cells[1], view.sources()) == (Node(0, 5),)


def halves(*bounds: int) -> Topology:
    """Cells of one member each, with these ranges of shards."""
    members = tuple(Member(n, n, "a:1", 0, a, b) for n, (a, b) in enumerate(pairwise(bounds)))
    return Topology(Formation(1, members, b"", "", 1.0), 0, Layout(BLOCK, 2, bounds[-1]))


def test_two_cells_that_hand_over_a_node_each_trade_them() -> None:
    assert halves(0, 4, 6).traded == (*cover(0, 4, 6), *cover(4, 6, 6))


@pytest.mark.parametrize("bounds", [(0, 3, 6), (0, 6, 6), (0, 6), (0, 2, 4, 6)])
def test_cells_do_not_trade_where_there_are_more_nodes_or_fewer(bounds: tuple[int, ...]) -> None:
    assert halves(*bounds).traded == ()


@pytest.mark.parametrize("leaves", range(1, 20))
def test_what_members_of_a_cell_cover_is_joined_to_the_cover_of_all(leaves: int) -> None:
    random = Random(leaves)
    for _ in range(20):
        first, last = sorted(random.choices(range(leaves + 1), k=2))
        cuts = sorted(random.choices(range(first, last + 1), k=3))
        nodes = [n for a, b in pairwise([first, *cuts, last]) for n in cover(a, b, leaves)]
        random.shuffle(nodes)
        assert joined(nodes, leaves) == cover(first, last, leaves)


@pytest.mark.parametrize("size", [1, BLOCK, 5 * BLOCK + 1])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_slices_are_whole_blocks_and_the_vector_together(size: int, count: int) -> None:
    parts = slices(size, count)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == size
    assert all(part.start % BLOCK == 0 for part in parts if part.start < size)


def test_members_of_a_cell_share_the_vector_out() -> None:
    assert [topology(worker).place for worker in (1, 5, 10)] == list(slices(4 * BLOCK, 3))
