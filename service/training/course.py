"""What a run has to do, and how far it may go before it must do something else."""

from dataclasses import dataclass, field

from gradloom.service.training.pace import MOST_STEPS
from gradloom.service.training.policies import NonFinitePolicy


@dataclass(frozen=True, slots=True)
class Course:
    """Steps from start_step on, and the splits that are measured.

    The run begins with least_workers, and has up to workers; 0 stands for as many as workers.
    validation_blocks and test_blocks are 0 where there is nothing to measure. A round has no more
    than most_steps. is_new: nothing has been trained, so that the job may go back to the queue.
    Every verify_every steps, never where it is 0, workers' bits are compared.
    """

    steps: int
    steps_per_epoch: int
    shards: int
    workers: int
    start_step: int = 0
    validation_blocks: int = 0
    test_blocks: int = 0
    least_workers: int = 0
    most_steps: int = MOST_STEPS
    is_new: bool = False
    non_finite: NonFinitePolicy = field(default_factory=NonFinitePolicy)
    seed: int = 0
    verify_every: int = 0

    @property
    def least(self) -> int:
        """How many workers there must be to begin."""
        return self.least_workers or self.workers

    def ends_epoch(self, step: int) -> bool:
        """Whether the step is the last one of an epoch."""
        return step > 0 and step % self.steps_per_epoch == 0

    def is_kept(self, step: int) -> bool:
        """Whether the state at a step is saved because the job may be rolled back to it."""
        return self.non_finite.rolls_back and self.ends_epoch(step)

    def splits_due(self, step: int) -> tuple[tuple[str, int], ...]:
        """The splits that are measured at a step, with their blocks."""
        is_last, due = step == self.steps, []
        if self.validation_blocks and (self.ends_epoch(step) or is_last):
            due.append(("validation", self.validation_blocks))
        if self.test_blocks and is_last:
            due.append(("test", self.test_blocks))
        return tuple(due)

    @property
    def verified_step(self) -> int:
        """The step of the newest spot check before the run, or the first if there was none.

        After a roll-back the steps before it are not to be made again.
        """
        if not self.verify_every or self.non_finite.roll_backs:
            return self.start_step
        return self.start_step - self.start_step % self.verify_every

    def is_checked(self, step: int) -> bool:
        """Whether the step is one for a spot check."""
        is_within = self.start_step < step < self.steps
        return is_within and self.verify_every > 0 and step % self.verify_every == 0

    def steps_until_check(self, step: int) -> int | None:
        """Steps until the next spot check; None where there are none."""
        return self.verify_every - step % self.verify_every if self.verify_every else None

    def steps_until_halt(self, step: int) -> int:
        """Steps until something else is to be done: the end, or that of an epoch that matters."""
        epoch_matters = self.validation_blocks or self.non_finite.rolls_back
        to_epoch_end = self.steps_per_epoch - step % self.steps_per_epoch
        left = self.steps - step
        return min(left, to_epoch_end) if epoch_matters else left
