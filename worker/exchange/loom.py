"""The exchange of a formation: memory within a cell, frames between cells."""

from collections.abc import Mapping

import numpy as np

from gradloom.worker.exchange.addition import Addition
from gradloom.worker.exchange.boards import Boards
from gradloom.worker.exchange.exchange import Vector
from gradloom.worker.exchange.holdings import Holdings
from gradloom.worker.exchange.roles import Role
from gradloom.worker.exchange.topology import Topology
from gradloom.worker.exchange.tree import Node, root


class Loom:
    """One member's end; see Exchange.

    A cell's members write to the same memory, so its only messages are those of agreements. Where
    there are several cells their leaders swap slices, and the sum stands in the cell's memory.
    """

    def __init__(
        self,
        topology: Topology,
        role: Role,
        holdings: Holdings,
        held: Mapping[Node, Vector],
        whole: Vector,
        boards: Boards,
        *,
        is_fresh: bool,
    ) -> None:
        """held are the vectors of the cell's nodes, whole is the cell's memory for a sum."""
        self.holdings = holdings
        self.is_fresh = is_fresh
        self.place = topology.place
        self.boards = boards
        self._role = role
        self._whole = whole
        count = len(topology.nodes(topology.me))
        self.registers = holdings.slots.vectors[:count]
        self._is_one_cell = len(topology.cells) == 1
        shards = topology.layout.shards
        self._sum = Addition(root(shards), held, shards) if self._is_one_cell else None
        self._members = len(topology.members)

    @property
    def state(self) -> tuple[Vector, ...]:
        """See Exchange."""
        assert self.holdings.state is not None
        return self.holdings.state.vectors

    def agree(self, note: bytes = b"") -> tuple[bytes, ...]:
        """See Exchange."""
        notes = self._role.agree(note)
        self.holdings.stands = True
        return notes

    def begin_sum(self) -> None:
        """See Exchange."""
        self._role.swap()

    def total(self, block: slice, out: Vector) -> Vector:
        """See Exchange."""
        if self._sum is None:
            np.copyto(out, self._whole[block])
            return out
        return self._sum.into(out, block)

    def whole(self) -> Vector:
        """See Exchange."""
        if self._sum and self._sum.lone is not None:
            self.agree()
            return self._sum.lone
        if self._sum:
            self._sum.into(self._whole[self.place], self.place)
        self.agree()
        return self._whole

    @property
    def sent(self) -> tuple[int, int]:
        """Frames and bytes that this member has sent so far."""
        return self._role.sent

    def linger(self) -> None:
        """See Exchange."""
        self._role.linger()

    def close(self) -> None:
        """See Exchange."""
        self._role.close()
