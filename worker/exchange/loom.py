"""The exchange of a formation: memory within a cell, frames between cells."""

from collections.abc import Mapping

import numpy as np

from gradloom.worker.exchange.addition import STRIDE, Addition
from gradloom.worker.exchange.boards import Boards
from gradloom.worker.exchange.exchange import Vector
from gradloom.worker.exchange.holdings import Holdings
from gradloom.worker.exchange.roles import Role
from gradloom.worker.exchange.topology import Topology
from gradloom.worker.exchange.tree import Node, root


class Loom:
    """One member's end; see Exchange.

    A cell's members write to the same memory, so its only messages are those of agreements. Where
    there are several cells their leaders swap slices, and the sum stands in the cell's memory; or
    two of them trade nodes, of which the other's stands there.
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
        """held are the vectors of nodes, whole is the cell's memory for a sum."""
        self.holdings = holdings
        self.is_fresh = is_fresh
        self.place = topology.place
        self.boards = boards
        self._role = role
        self._whole = whole
        count = len(topology.nodes(topology.me))
        self.registers = holdings.slots.vectors[:count]
        shards, adds = topology.layout.shards, len(topology.cells) == 1 or topology.traded
        self._sum = Addition(root(shards), held, shards) if adds else None
        self._is_summed = False
        self._work = np.empty(STRIDE, np.float32)
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
        self._is_summed = False

    def total(self, block: slice, out: Vector) -> Vector:
        """See Exchange."""
        self._role.await_sum(block)
        if self._sum is None or self._is_summed:
            np.copyto(out, self._whole[block])
            return out
        return self._sum.into(out, block)

    def whole(self) -> Vector:
        """See Exchange."""
        if self._sum and self._sum.lone is not None:
            self.agree()
            return self._sum.lone
        if self._sum and not self._is_summed:
            self._add_up(self._sum)
        self.agree()
        return self._whole

    def _add_up(self, total: Addition) -> None:
        """Through other memory, as a term of the sum may stand where it is to stand."""
        self._role.await_sum(self.place)
        for start in range(self.place.start, self.place.stop, STRIDE):
            block = slice(start, min(start + STRIDE, self.place.stop))
            self._whole[block] = total.into(self._work[: block.stop - start], block)
        self._is_summed = True

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
