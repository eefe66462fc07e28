"""What cells give each other at a sum: knows which pieces go and come, and nothing of sockets.

The flat vector is cut into a slice for each cell. A cell sends the nodes that it hands over, slice
by slice, to the slices' owners; each owner adds up its slice piece by piece as the pieces come,
and sends the sums to all. Both happen at the same time.

Two cells that hand over one node each trade these instead: as many bytes, and nothing waits for a
sum.
"""

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

from gradloom.worker.exchange.addition import Addition
from gradloom.worker.exchange.exchange import Vector
from gradloom.worker.exchange.frames import PIECE, Damaged, Frame, Header, Kind
from gradloom.worker.exchange.topology import Sources, Topology, slices
from gradloom.worker.exchange.tree import Node, root

_PIECE = PIECE // 4


class Swap:
    """One cell's part in sums over all cells; whole is where they stand when they are done."""

    def __init__(
        self, topology: Topology, held: Mapping[Node, Vector], whole: Vector, sources: Sources
    ) -> None:
        """held are the vectors of the cell's own nodes."""
        shards = topology.layout.shards
        self._own = topology.own
        self._whole = whole
        self._slices = slices(topology.layout.size, len(topology.cells))
        handed = [topology.handed_over(cell, sources) for cell in topology.cells]
        mine = self._slices[self._own]
        self._come = {
            cell: np.empty((len(nodes), mine.stop - mine.start), np.float32)
            for cell, nodes in enumerate(handed)
            if cell != self._own
        }
        self._parts = [
            _Part(topology, node, held, row) for row, node in enumerate(handed[self._own])
        ]
        vectors = {node: vector[mine] for node, vector in held.items()} | {
            node: row
            for cell, rows in self._come.items()
            for node, row in zip(handed[cell], rows, strict=True)
        }
        self._sum = Addition(root(shards), vectors, shards)
        self.reset()

    def reset(self) -> None:
        """Nothing has come of the sum that follows, and nothing has gone."""
        self.is_begun = False
        rows = sum(len(rows) for rows in self._come.values())
        self._lacking = {block.start: rows for block in _blocks(self._slices[self._own])}
        here = len(self._lacking)
        self._left = {
            cell: len(rows) * here + sum(1 for _ in _blocks(self._slices[cell]))
            for cell, rows in self._come.items()
        }
        self._ends = [each.start for each in self._slices]
        self._sums: dict[int, deque[Frame]] = {cell: deque() for cell in self._come}
        self._roots = {cell: self._rooted(cell) for cell in self._come}

    def begin(self) -> None:
        """Own nodes are ready to be sent."""
        self.is_begun = True
        for offset, lacking in self._lacking.items():
            if not lacking:
                self._add_up(offset)

    def awaits(self, cell: int) -> bool:
        """Whether something is still to come from a cell, or to be sent there."""
        return bool(self._left[cell] or self._sums[cell])

    def stands(self, block: slice) -> bool:
        """Whether what members need for the sum over a block is there; pieces come in order."""
        return all(
            min(block.stop, each.stop) <= max(end, block.start)
            for each, end in zip(self._slices, self._ends, strict=True)
        )

    def more(self, cell: int) -> Frame | None:
        """What goes to a cell next, sums first."""
        if not self.is_begun:
            return None
        sums = self._sums[cell]
        return sums.popleft() if sums else next(self._roots[cell], None)

    def place(self, cell: int, header: Header) -> memoryview:
        """Where a piece from a cell belongs. Raises Damaged where it is none that should come."""
        owner = self._own if header.kind == Kind.ROOTS else cell
        block = _block_of(header, self._slices[owner])
        if header.kind == Kind.SUM:
            return _bytes(self._whole[block])
        if header.row >= len(self._come[cell]):
            raise Damaged(f"a node {header.row} where there is none")
        row, first = self._come[cell][header.row], self._slices[owner].start
        return _bytes(row[block.start - first : block.stop - first])

    def arrived(self, cell: int, header: Header) -> None:
        """A piece from a cell stands in its place."""
        self._left[cell] -= 1
        if header.kind == Kind.SUM:
            self._ends[cell] = header.offset + header.length // 4
        else:
            self._lacking[header.offset] -= 1
            if self.is_begun and not self._lacking[header.offset]:
                self._add_up(header.offset)

    def _rooted(self, cell: int) -> Iterator[Frame]:
        for block in _blocks(self._slices[cell]):
            for part in self._parts:
                yield part.frame(block)

    def _add_up(self, offset: int) -> None:
        mine = self._slices[self._own]
        block = _block_at(offset, mine)
        out = self._whole[block]
        self._sum.into(out, slice(block.start - mine.start, block.stop - mine.start))
        self._ends[self._own] = block.stop
        frame = Frame(Kind.SUM, _bytes(out), 0, offset)
        for frames in self._sums.values():
            frames.append(frame)


class Trade:
    """Where two cells give each other the whole of the one node that each hands over.

    The other's stands in the cell's memory for a sum; members add it to their own as they update.
    """

    def __init__(self, topology: Topology, held: Mapping[Node, Vector], whole: Vector) -> None:
        """held are the vectors of the cell's own nodes."""
        self._part = _Part(topology, topology.traded[topology.own], held, 0)
        self._whole = whole
        self._all = slice(0, topology.layout.size)
        self.reset()

    def reset(self) -> None:
        """See Swap."""
        self.is_begun = False
        self._end = 0
        self._roots = map(self._part.frame, _blocks(self._all))

    def begin(self) -> None:
        """See Swap."""
        self.is_begun = True

    def awaits(self, cell: int) -> bool:  # noqa: ARG002
        """See Swap."""
        return bool(self._end < self._all.stop)

    def stands(self, block: slice) -> bool:
        """See Swap."""
        return bool(block.stop <= self._end)

    def more(self, cell: int) -> Frame | None:  # noqa: ARG002
        """See Swap."""
        return next(self._roots, None) if self.is_begun else None

    def place(self, cell: int, header: Header) -> memoryview:  # noqa: ARG002
        """See Swap."""
        if header.kind != Kind.ROOTS or header.row:
            raise Damaged(f"a piece of kind {header.kind}, row {header.row}, in a trade")
        return _bytes(self._whole[_block_of(header, self._all)])

    def arrived(self, cell: int, header: Header) -> None:  # noqa: ARG002
        """See Swap."""
        self._end = header.offset + header.length // 4


class _Part:
    """A node that a cell hands over."""

    def __init__(
        self, topology: Topology, node: Node, held: Mapping[Node, Vector], row: int
    ) -> None:
        self._row = row
        self._sum = Addition(node, held, topology.layout.shards)
        # A sum within the cell, on its way; it has to stand until it has arrived.
        self._staged = (
            np.empty(topology.layout.size, np.float32) if self._sum.lone is None else None
        )

    def frame(self, block: slice) -> Frame:
        """A piece of it, as it travels."""
        if self._sum.lone is not None:
            body = self._sum.lone[block]
        else:
            assert self._staged is not None
            body = self._sum.into(self._staged[block], block)
        return Frame(Kind.ROOTS, _bytes(body), self._row, block.start)


def _blocks(whole: slice) -> Iterator[slice]:
    for offset in range(whole.start, whole.stop, _PIECE):
        yield _block_at(offset, whole)


def _block_at(offset: int, whole: slice) -> slice:
    return slice(offset, min(offset + _PIECE, whole.stop))


def _block_of(header: Header, whole: slice) -> slice:
    """The elements that a piece of this part of the vector holds. Raises Damaged."""
    block = _block_at(header.offset, whole)
    is_piece = (
        whole.start <= block.start < block.stop
        and (block.start - whole.start) % _PIECE == 0
        and header.length == 4 * (block.stop - block.start)
    )
    if not is_piece:
        raise Damaged(f"a piece of {header.length} bytes at {header.offset}")
    return block


def _bytes(vector: Vector) -> memoryview:
    return vector.view(np.uint8).data
