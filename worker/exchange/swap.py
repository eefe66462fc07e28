"""What cells give each other at a sum: knows which pieces go and come, and nothing of sockets.

The flat vector is cut into a slice for each cell. A cell sends the nodes that it hands over, slice
by slice, to the slices' owners; each owner adds up its slice piece by piece as the pieces come,
and sends the sums to all. Both happen at the same time.
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
        self._parts = [Addition(node, held, shards) for node in handed[self._own]]
        # Sums within the cell, on their way; they have to stand until they have arrived.
        self._staged = {
            index: np.empty(topology.layout.size, np.float32)
            for index, part in enumerate(self._parts)
            if part.lone is None
        }
        vectors = {node: vector[mine] for node, vector in held.items()} | {
            node: row
            for cell, rows in self._come.items()
            for node, row in zip(handed[cell], rows, strict=True)
        }
        self._sum = Addition(root(shards), vectors, shards)
        self.reset()

    def reset(self) -> None:
        """Nothing has come of the sum that follows, and nothing has gone."""
        self._is_begun = False
        rows = sum(len(rows) for rows in self._come.values())
        self._lacking = dict.fromkeys(self._pieces(self._own), rows)
        here = len(self._lacking)
        self._left = {
            cell: len(rows) * here + sum(1 for _ in self._pieces(cell))
            for cell, rows in self._come.items()
        }
        self._sums: dict[int, deque[Frame]] = {cell: deque() for cell in self._come}
        self._roots: dict[int, Iterator[Frame]] = {cell: self._rooted(cell) for cell in self._come}

    def begin(self) -> None:
        """Own nodes are ready to be sent."""
        self._is_begun = True
        for offset, lacking in self._lacking.items():
            if not lacking:
                self._add_up(offset)

    def awaits(self, cell: int) -> bool:
        """Whether something is still to come from a cell, or to be sent there."""
        return bool(self._left[cell] or self._sums[cell])

    def more(self, cell: int) -> Frame | None:
        """What goes to a cell next, sums first."""
        if not self._is_begun:
            return None
        sums = self._sums[cell]
        return sums.popleft() if sums else next(self._roots[cell], None)

    def place(self, cell: int, header: Header) -> memoryview:
        """Where a piece from a cell belongs. Raises Damaged where it is none that should come."""
        owner = self._own if header.kind == Kind.ROOTS else cell
        whole = self._slices[owner]
        end = min(header.offset + _PIECE, whole.stop)
        is_piece = (
            whole.start <= header.offset < end
            and (header.offset - whole.start) % _PIECE == 0
            and header.length == 4 * (end - header.offset)
        )
        if not is_piece:
            raise Damaged(f"a piece of {header.length} bytes at {header.offset}")
        if header.kind == Kind.SUM:
            return _bytes(self._whole[header.offset : end])
        if header.row >= len(self._come[cell]):
            raise Damaged(f"a node {header.row} where there is none")
        row = self._come[cell][header.row]
        return _bytes(row[header.offset - whole.start : end - whole.start])

    def arrived(self, cell: int, header: Header) -> None:
        """A piece from a cell stands in its place."""
        self._left[cell] -= 1
        if header.kind == Kind.ROOTS:
            self._lacking[header.offset] -= 1
            if self._is_begun and not self._lacking[header.offset]:
                self._add_up(header.offset)

    def _pieces(self, cell: int) -> Iterator[int]:
        whole = self._slices[cell]
        yield from range(whole.start, whole.stop, _PIECE)

    def _block(self, cell: int, offset: int) -> slice:
        return slice(offset, min(offset + _PIECE, self._slices[cell].stop))

    def _rooted(self, cell: int) -> Iterator[Frame]:
        for offset in self._pieces(cell):
            block = self._block(cell, offset)
            for index, part in enumerate(self._parts):
                body = self._part(index, part, block)
                yield Frame(Kind.ROOTS, _bytes(body), index, offset)

    def _part(self, index: int, part: Addition, block: slice) -> Vector:
        if part.lone is not None:
            return part.lone[block]
        return part.into(self._staged[index][block], block)

    def _add_up(self, offset: int) -> None:
        block, first = self._block(self._own, offset), self._slices[self._own].start
        out = self._whole[block]
        self._sum.into(out, slice(block.start - first, block.stop - first))
        frame = Frame(Kind.SUM, _bytes(out), 0, offset)
        for frames in self._sums.values():
            frames.append(frame)


def _bytes(vector: Vector) -> memoryview:
    return vector.view(np.uint8).data
