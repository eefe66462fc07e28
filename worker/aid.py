"""Shards of a slow member that faster ones of its cell compute as well; the first result counts.

A slow member, and no other, computes its shards one by one and looks between two operations
whether another one has done the shard meanwhile. Members that would have to wait for it take its
shards, from the last one backwards. Nobody waits for help.

One by one shards may take far longer than together, as the others compute theirs: who was slow for
a while would look slow for ever. So now and then it makes a step as the others do, which counts.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

from gradloom.worker.exchange.boards import Board, Boards
from gradloom.worker.exchange.exchange import Vector
from gradloom.worker.exchange.notes import Statistics
from gradloom.worker.faults import Point, reached

# Slow is who takes so many times as long for a shard as the others do.
_SLOW = 2.0
# Shards that take less are not worth the words about them.
_LEAST_SECONDS = 0.002
# Steps after which a slow member makes one as the others do.
_TRIED_EVERY = 50
# What the newest step counts in the average.
_NEWEST = 1 / 8


def is_slow(own: float, others: Sequence[float]) -> bool:
    """Whether these seconds a shard are far more than those of the others; 0 is unknown."""
    known = sorted(filter(None, others))
    return bool(known) and own > max(_SLOW * known[(len(known) - 1) // 2], _LEAST_SECONDS)


def is_about_to_be_done(elapsed: float, usual: float, helped: float) -> bool:
    """Whether its owner is through with a shard before a helper would be, if all is as usual."""
    return 0 < usual - elapsed < helped


def averaged(average: float, newest: float) -> float:
    """The average with one more step; 0 is none yet."""
    return average + (newest - average) * _NEWEST if average else newest


class Aid:
    """What one member knows of help within its cell: that it gets, and that it may give."""

    def __init__(
        self, boards: Boards, worker: int = 0, clock: Callable[[], float] = perf_counter
    ) -> None:
        """The clock is that of all members of the cell.

        taken are own shards that others have done, so far.
        """
        self.taken = 0
        self._boards = boards
        self._own = boards.own
        self._worker = worker
        self._clock = clock
        self._own.looks, self._own.pace = False, 0.0
        self._is_first, self._is_open = True, False
        self._is_looking = self._is_trial = False
        self._slow_steps = 0
        self._costs: list[float] = []

    def begin_step(self, *, is_open: bool) -> None:
        """is_open tells whether members may help each other at this step; all say the same."""
        self._boards.next_step()
        self._is_open = is_open
        self._slow_steps = self._slow_steps + 1 if self._own.looks else 0
        self._is_trial = self._slow_steps >= _TRIED_EVERY and is_open and len(self._own.shards) > 1
        if self._is_trial:
            self._own.looks, self._slow_steps = False, 0
        self._is_looking = is_open and self._own.looks
        self._costs = []

    @property
    def is_looking(self) -> bool:
        """Whether this member has to look, at this step, whether others were faster."""
        return self._is_looking

    def begin(self, shard: int) -> None:
        """This member is at a shard."""
        self._boards.begin(shard, self._clock())

    def is_done(self, shard: int) -> bool:
        """Whether another member has done the shard."""
        reached(Point.OPERATION, worker=self._worker, shard=shard)
        return self._boards.is_done(shard)

    def finish(self, shard: int, statistics: Statistics) -> None:
        """This member has done a shard."""
        self._boards.finish(shard, statistics)
        self._costs.append(self._clock() - self._own.since)

    def give_up(self) -> None:
        """Another member was faster; what it would have taken is at least what it has."""
        elapsed = self._clock() - self._own.since
        if elapsed > self._own.pace:
            self._costs.append(elapsed)

    def found(self, shard: int) -> tuple[Vector, Statistics]:
        """What another member has come to."""
        self.taken += 1
        return self._boards.found(shard)

    def learned(self, spent: float) -> float:
        """Seconds that the own shards take without help, of which so many were spent on them."""
        count = len(self._own.shards)
        if not count:
            return spent
        cost = self._cost(spent / count)
        # The first step binds and tries what the others find bound.
        if not self._is_first:
            self._own.pace = cost if self._is_trial else averaged(self._own.pace, cost)
            self._own.looks = is_slow(self._own.pace, [each.pace for each in self._boards.others])
        self._is_first = False
        return cost * count

    def _cost(self, spent: float) -> float:
        if not self._is_looking:
            return spent
        return sum(self._costs) / len(self._costs) if self._costs else self._own.pace

    def wanted(self) -> int | None:
        """A shard of a slow member that is worth computing now; None where there is none."""
        if not self._is_open or self._own.looks:
            return None
        return next(
            (
                shard
                for owner in self._boards.others
                if owner.looks
                for shard in reversed(owner.shards)
                if self._is_worth_it(owner, shard)
            ),
            None,
        )

    def _is_worth_it(self, owner: Board, shard: int) -> bool:
        if not self._boards.is_free(owner, shard):
            return False
        if not self._boards.has_begun(owner, shard):
            return True
        elapsed = self._clock() - owner.since
        return not is_about_to_be_done(elapsed, owner.pace, self._own.pace)
