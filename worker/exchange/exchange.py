"""What the members of a formation do together: wait for each other, add up, share the state."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


class Why(StrEnum):
    """What is wrong with a member, as another one sees it."""

    LOST = "lost"
    FROZEN = "frozen"
    UNREACHABLE = "unreachable"
    CORRUPT = "corrupt"


class Broken(Exception):
    """The formation cannot go on: which member is at fault, and why, as a sentence too."""

    def __init__(self, culprit: int, why: Why, message: str) -> None:
        super().__init__(message)
        self.culprit = culprit
        self.why = why


class NoRoom(Exception):
    """Shared memory is too small; the sentence says how much is needed and which knob helps."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Elements of the flat vector, how many such vectors the state takes, and virtual shards.

    statistics are how many numbers are told of a shard beside its gradient.
    """

    size: int
    vectors: int
    shards: int
    statistics: int = 1


class Exchange(Protocol):
    """One member's end of a formation. Used by one thread; everything that waits raises Broken.

    A step is: put the roots of one's own shards into registers; agree; begin_sum; for each block
    of place take total, and write the new state; agree once more, which commits. Members may be
    at most one agreement apart.
    """

    @property
    def state(self) -> tuple[Vector, ...]:
        """The vectors of the job's state, shared by the cell."""

    @property
    def is_fresh(self) -> bool:
        """Whether this member has to fill in the state before the first agreement."""

    @property
    def registers(self) -> tuple[Vector, ...]:
        """Where the sums over own shards go: one for each node of cover(first, last, shards)."""

    @property
    def place(self) -> slice:
        """The part of a flat vector that this member adds up and updates for its cell."""

    def agree(self, note: bytes = b"") -> tuple[bytes, ...]:
        """Waits until every member has come here; what each of them said, in members' order."""

    def begin_sum(self) -> None:
        """Makes totals available, once all members have agreed that their registers are filled.

        Between cells it begins what takes as long as the network does; a member that is its whole
        cell adds up and updates while the rest is on its way, so blocks are best taken in order.
        """

    def total(self, block: slice, out: Vector) -> Vector:
        """The sum over all shards of a block within place, in the tree's order; out may hold it.

        Waits until what it takes has come.
        """

    def whole(self) -> Vector:
        """The sum of the whole vector; agrees, so every member has to call it. Not to be changed.

        Valid until the next begin_sum.
        """

    def linger(self) -> None:
        """Tells peers that this member lives, though it is busy; to be called now and then.

        Raises Broken where the formation broke meanwhile.
        """

    def close(self) -> None:
        """Lets go of peers; memory stays mapped for the formation that follows."""
