"""What cells give each other, frame by frame: a sum stands as soon as its pieces have come."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from gradloom.worker.exchange.addition import Addition
from gradloom.worker.exchange.exchange import Layout, Vector
from gradloom.worker.exchange.frames import PIECE, Damaged, Header, Kind
from gradloom.worker.exchange.swap import Swap, Trade
from gradloom.worker.exchange.topology import Topology
from gradloom.worker.exchange.tree import Node, root
from gradloom.worker.messages import Formation, Member
from tests.worker.exchange.formations import expected, roots

SIZE = 5 * PIECE // 4 + 3
WAYS = {"three cells swap": (0, 3, 4, 6), "two cells trade": (0, 4, 6), "two swap": (0, 3, 6)}


class Cell:
    """One of several cells of one member, without sockets."""

    def __init__(self, worker: int, bounds: tuple[int, ...]) -> None:
        members = tuple(Member(n, n, "a:1", 0, a, b) for n, (a, b) in enumerate(pairwise(bounds)))
        self.formation = Formation(1, members, b"", "", 1.0)
        self.layout = Layout(SIZE, 2, bounds[-1])
        self.topology = Topology(self.formation, worker, self.layout)
        mine = roots(members[worker], self.layout)
        self.held: dict[Node, Vector] = {node: part.gradient for node, part in mine.items()}
        self.whole: Vector = np.full(SIZE, np.nan, np.float32)
        self.swap = (
            Trade(self.topology, self.held, self.whole)
            if self.topology.traded
            else Swap(self.topology, self.held, self.whole, self.topology.sources())
        )

    def sum_over(self, block: slice) -> bytes:
        if not self.topology.traded:
            return self.whole[block].tobytes()
        held = self.held | {self.topology.traded[1 - self.topology.own]: self.whole}
        total = Addition(root(self.layout.shards), held, self.layout.shards)
        return total.into(np.empty(block.stop - block.start, np.float32), block).tobytes()


def frames_between(cells: list[Cell]) -> Iterator[Cell]:
    """Has frames go round one at a time; gives the cell that each has come to."""
    is_more = True
    while is_more:
        is_more = False
        for sender, source in enumerate(cells):
            for receiver, sink in enumerate(cells):
                frame = source.swap.more(receiver) if sender != receiver else None
                if frame is None:
                    continue
                is_more = True
                length = len(frame.body)
                header = Header(0, frame.kind, frame.row, 0, 0, 0, length, frame.offset)
                sink.swap.place(sender, header)[:] = frame.body
                sink.swap.arrived(sender, header)
                yield sink


@pytest.mark.parametrize("bounds", WAYS.values(), ids=WAYS)
def test_what_stands_is_the_stars_sum_before_the_rest_has_come(bounds: tuple[int, ...]) -> None:
    cells = [Cell(worker, bounds) for worker in range(len(bounds) - 1)]
    star = np.frombuffer(expected(cells[0].formation, cells[0].layout), np.float32)
    blocks = [slice(a, min(a + 65536, SIZE)) for a in range(0, SIZE, 65536)]
    for cell in cells:
        cell.swap.begin()
    stood_early = False
    for cell in frames_between(cells):
        standing = [block for block in blocks if cell.swap.stands(block)]
        assert all(cell.sum_over(block) == star[block].tobytes() for block in standing)
        stood_early |= 0 < len(standing) < len(blocks)
    assert stood_early
    for cell in cells:
        assert cell.swap.stands(slice(0, SIZE))
        assert not any(cell.swap.awaits(n) for n in range(len(cells)) if cells[n] is not cell)


@pytest.mark.parametrize("bounds", WAYS.values(), ids=WAYS)
def test_nothing_of_the_last_sum_stands_in_the_next(bounds: tuple[int, ...]) -> None:
    cells = [Cell(worker, bounds) for worker in range(len(bounds) - 1)]
    for cell in cells:
        cell.swap.begin()
    assert list(frames_between(cells))
    for cell in cells:
        cell.swap.reset()
        assert not cell.swap.stands(slice(0, 1))
        assert cell.swap.more(1 - min(cell.topology.own, 1)) is None


@pytest.mark.parametrize(
    "header",
    [
        Header(0, Kind.SUM, 0, 0, 0, 0, PIECE, 0),
        Header(0, Kind.ROOTS, 1, 0, 0, 0, PIECE, 0),
        Header(0, Kind.ROOTS, 0, 0, 0, 0, PIECE, 8192),
        Header(0, Kind.ROOTS, 0, 0, 0, 0, PIECE - 4, 0),
        Header(0, Kind.ROOTS, 0, 0, 0, 0, PIECE, 2 * PIECE),
    ],
    ids=["a sum", "another node", "between pieces", "too short", "behind the end"],
)
def test_a_piece_that_no_trade_has_is_refused(header: Header) -> None:
    with pytest.raises(Damaged):
        Cell(0, WAYS["two cells trade"]).swap.place(1, header)
