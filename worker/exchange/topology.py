"""Who is who in a formation, and which node of the tree stands in whose register."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from gradloom.worker.engine.arrays import BLOCK
from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.tree import Node, cover, joined
from gradloom.worker.messages import Formation, Member

Cell = tuple[Member, ...]


class Source(NamedTuple):
    """Where a node's sum stands: a member, by its worker's number, and one of its registers."""

    worker: int
    register: int


Sources = Mapping[Node, Source]


@dataclass(frozen=True)
class Topology:
    """A formation as one of its members sees it."""

    formation: Formation
    worker: int
    layout: Layout

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All, in the order of their workers' numbers."""
        return self.formation.members

    @cached_property
    def me(self) -> Member:
        """The member whose view this is."""
        return next(member for member in self.members if member.worker == self.worker)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Members by cell; cells in the order of their leaders."""
        numbers = dict.fromkeys(member.cell for member in self.members)
        return tuple(tuple(m for m in self.members if m.cell == number) for number in numbers)

    @cached_property
    def own(self) -> int:
        """Which of the cells is this member's."""
        return next(i for i, cell in enumerate(self.cells) if self.me in cell)

    @property
    def cell(self) -> Cell:
        """The members that share memory with this one, itself too."""
        return self.cells[self.own]

    @property
    def leader(self) -> Member:
        """The first member of the cell."""
        return self.cell[0]

    @property
    def leads(self) -> bool:
        """Whether this member is its cell's leader."""
        return self.leader == self.me

    @property
    def is_shared(self) -> bool:
        """Whether the cell's memory has to be seen by others."""
        return len(self.cell) > 1

    @property
    def is_pair(self) -> bool:
        """Whether there are two members, of one cell."""
        return [len(cell) for cell in self.cells] == [2]

    def nodes(self, member: Member) -> tuple[Node, ...]:
        """What a member sums up to: a node for each of its registers."""
        return cover(member.first, member.last, self.layout.shards)

    def registers(self, member: Member) -> int:
        """A register for each of those nodes, and a spare one where the cell has other members."""
        return len(self.nodes(member)) + self.is_shared

    def sources(self) -> Sources:
        """Where each node stands, as the members' ranges say."""
        return {
            node: Source(member.worker, register)
            for member in self.members
            for register, node in enumerate(self.nodes(member))
        }

    def handed_over(self, cell: Cell, sources: Sources) -> tuple[Node, ...]:
        """The nodes that a cell hands over to the others, once it has added up its own."""
        workers = {member.worker for member in cell}
        nodes = (node for node, source in sources.items() if source.worker in workers)
        return joined(nodes, self.layout.shards)

    @cached_property
    def traded(self) -> tuple[Node, ...]:
        """The nodes of the cells, in their order, where they trade them; see swap.Trade."""
        sources = self.sources()
        handed = [self.handed_over(cell, sources) for cell in self.cells]
        trades = [len(nodes) for nodes in handed] == [1, 1]
        return tuple(node for nodes in handed for node in nodes) if trades else ()

    @cached_property
    def place(self) -> slice:
        """The part of a flat vector that this member updates for its cell."""
        return slices(self.layout.size, len(self.cell))[self.cell.index(self.me)]


def slices(size: int, count: int) -> tuple[slice, ...]:
    """A vector in so many parts of about one length that begin at multiples of BLOCK."""
    blocks = -(-size // BLOCK)
    bounds = [min(size, blocks * part // count * BLOCK) for part in range(count + 1)]
    return tuple(slice(begin, end) for begin, end in pairwise(bounds))
