"""The exchange of a worker that is alone: nobody to wait for, memory of its own."""

import numpy as np

from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.exchange.exchange import Layout, Vector


class Alone:
    """A formation of one member that computes all shards; see Exchange."""

    def __init__(self, layout: Layout, before: "Alone | None" = None) -> None:
        """Goes on with the state of the formation before, if there was one."""
        self.is_fresh = before is None
        self.state: tuple[Vector, ...] = (
            before.state if before else side_by_side(layout.vectors, layout.size, np.float32)
        )
        self.registers: tuple[Vector, ...] = (np.zeros(layout.size, np.float32),)
        self.place = slice(0, layout.size)

    def agree(self, note: bytes = b"") -> tuple[bytes, ...]:
        """See Exchange."""
        return (note,)

    def begin_sum(self) -> None:
        """See Exchange."""

    def total(self, block: slice, out: Vector) -> Vector:  # noqa: ARG002
        """See Exchange."""
        return self.registers[0][block]

    def whole(self) -> Vector:
        """See Exchange."""
        return self.registers[0]

    def linger(self) -> None:
        """See Exchange."""

    def close(self) -> None:
        """See Exchange."""
