"""How long the rounds of a run are, and how long they may take, by what earlier ones took. Pure."""

from collections.abc import Sequence

from gradloom.service.training.course import Course
from gradloom.service.training.crew import Crew
from gradloom.service.training.deadlines import (
    MOST_PATIENCE,
    agreement,
    evaluation_limit,
    other_limit,
    patience,
    round_limit,
)
from gradloom.service.training.events import WorkerAnswered
from gradloom.service.training.losses import Losses
from gradloom.service.training.pace import Pace, Sample, evened
from gradloom.worker.messages import Evaluate, Formation, Train, Work


class Timing:
    """What was learned of steps of training, and of blocks that are measured."""

    def __init__(self, course: Course, crew: Crew, losses: Losses) -> None:
        self._course = course
        self._crew = crew
        self._losses = losses
        self._pace = Pace()
        self._block_pace = Pace()

    def trained(self, words: Sequence[WorkerAnswered], steps: int, *, is_first: bool) -> None:
        """Workers made so many steps; is_first: one of them its first."""
        step = max(word.seconds for word in words) / steps
        sample = Sample(step, max(step, *(word.longest_step for word in words)))
        self._pace = self._pace.after(sample, is_first=is_first)

    def measured(self, words: Sequence[WorkerAnswered], blocks: int) -> None:
        """Workers measured so many blocks together."""
        seconds = max(word.seconds for word in words) / -(-blocks // len(words))
        self._block_pace = self._block_pace.after(Sample(seconds, seconds), is_first=False)

    @property
    def blocks(self) -> int:
        """How many blocks each worker measures in a round."""
        return self._block_pace.steps

    def steps(self, step: int, active: Sequence[int]) -> int:
        """How many steps the next round has."""
        if self._crew.have_novice(active):
            return 1
        halts = (
            self._course.steps_until_halt(step),
            self._losses.policy.steps_until_suspect(step),
            self._course.steps_until_check(step) if len(active) > 1 else None,
        )
        left = min(halt for halt in halts if halt is not None)
        return min(evened(left, self._pace.steps), self._course.most_steps)

    def patience(self, step: int, workers: Sequence[int], fruitless: int) -> float:
        """How long members wait for each other, after so many formations that came to nothing."""
        longest = self._pace.longest_step
        seconds = patience(longest, has_novice=self._crew.have_novice(workers))
        doubts = fruitless + 2 * self._losses.policy.frozen_at(step)
        return min(seconds * 2.0**doubts, MOST_PATIENCE)

    def limit(self, work: Work, formation: Formation) -> float:
        """How long a round of such work may take."""
        match work:
            case Train(steps):
                return round_limit(steps, self._pace.step_seconds, formation.patience)
            case Evaluate():
                return evaluation_limit(self._block_pace.steps, self._block_pace.step_seconds)
            case _:
                return other_limit(self._pace.step_seconds)

    def agreement(self, formation: Formation) -> float:
        """How long the others may take to notice what one has noticed."""
        return agreement(self._pace.longest_step, formation.patience)
