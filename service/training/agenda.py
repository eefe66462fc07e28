"""What is to be done at a step, one thing after the other, until the next steps are due. Pure."""

from gradloom.service.training.course import Course
from gradloom.service.training.crew import Crew
from gradloom.service.training.events import (
    Command,
    KeepSnapshot,
    KeepStatistics,
    Measured,
    NotFinite,
)
from gradloom.service.training.formations import Formations
from gradloom.service.training.spot_checks import drawn
from gradloom.service.training.timing import Timing
from gradloom.service.training.trust import Trust
from gradloom.worker.messages import Content, Evaluate, Locate, Snapshot, Train, Verify, Work


class Agenda:
    """What was done at the newest steps, and what others want done."""

    def __init__(
        self, course: Course, crew: Crew, formations: Formations, timing: Timing, trust: Trust
    ) -> None:
        self._course = course
        self._crew = crew
        self._formations = formations
        self._timing = timing
        self._trust = trust
        self._saved_step: int | None = course.start_step
        self._measured: set[tuple[str, int]] = set()
        self._measured_until = 0
        self.is_checkpoint_due = False
        self.is_draining = False
        self.not_finite: NotFinite | None = None

    def next_work(self, step: int) -> Work | None:
        """The next piece of work at a step; None where a draining run may let go."""
        self._forget_what_was_undone(step)
        if self.not_finite:
            return Locate()
        if self._is_check_due(step):
            return Verify(drawn(self._course.seed, step, self._course.shards))
        if self._wants_saving(step) or self._formations.someone_waits(step):
            return Snapshot(Content.STATE)
        if self.is_draining:
            return None
        for split, blocks in self._course.splits_due(step):
            if (split, step) not in self._measured:
                first = self._measured_until
                return Evaluate(split, first, min(blocks, first + self._blocks_a_round(step)))
        if step < self._course.steps:
            return Train(1)
        return Snapshot(Content.MODEL)

    def _forget_what_was_undone(self, step: int) -> None:
        """A step that is not finite and does not count is made again."""
        if self.not_finite and self.not_finite.step > step:
            self.not_finite = None

    def _is_check_due(self, step: int) -> bool:
        """Whether workers' bits are to be compared here, before anything is kept of them."""
        is_due = self._course.is_checked(step) and self._trust.verified != step
        return is_due and len(self._crew.holders(self._crew)) > 1

    def _blocks_a_round(self, step: int) -> int:
        return self._timing.blocks * max(1, len(self._formations.able(step)))

    def _wants_saving(self, step: int) -> bool:
        due = self.is_checkpoint_due or self.is_draining or step == self._course.steps
        return (due or self._course.is_kept(step)) and self._saved_step != step

    def measured(self, split: str, step: int, last: int) -> list[Command]:
        """Some blocks of a split are measured; with the last of them all of it is."""
        self._measured_until = last
        if last < dict(self._course.splits_due(step))[split]:
            return [KeepStatistics()]
        self._measured_until = 0
        self._measured.add((split, step))
        return [KeepStatistics(), Measured(split, step)]

    def keep_snapshot(self, step: int) -> Command:
        """The state at a step is there: for who joins, and for the disk if it is wanted there."""
        save = self._wants_saving(step)
        self._formations.snapshot_step = step
        if save:
            self._saved_step, self.is_checkpoint_due = step, False
        return KeepSnapshot(step, save)
