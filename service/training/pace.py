"""How long the steps of a run take, learned round by round, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradloom.service.training.deadlines import patience

ROUND_SECONDS = 0.5
# Answers tell of every step; a header has room for so many.
MOST_STEPS = 1000
_REMEMBERED = 20
# A limit this far from what is learned is not worth new connections.
_FAR_ABOVE = 2.0
_FAR_BELOW = 0.8


@dataclass(frozen=True, slots=True)
class Sample:
    """A round: seconds a step, and the longest one."""

    step: float
    longest: float


@dataclass(frozen=True, slots=True)
class Pace:
    """The newest rounds. A first one, of a worker's first step, counts only while it is alone."""

    samples: tuple[Sample, ...] = ()
    first: Sample | None = None

    def after(self, sample: Sample, *, is_first: bool) -> "Pace":
        """The pace with one more round."""
        if is_first:
            return self if self.samples else replace(self, first=sample)
        return replace(self, samples=(*self.samples, sample)[-_REMEMBERED:])

    @property
    def _known(self) -> tuple[Sample, ...]:
        return self.samples or ((self.first,) if self.first else ())

    @property
    def step_seconds(self) -> float | None:
        """What a step usually takes."""
        return median([sample.step for sample in self._known]) if self._known else None

    @property
    def longest_step(self) -> float | None:
        """The longest step of late."""
        return max((sample.longest for sample in self._known), default=None)

    @property
    def patience(self) -> float:
        """How long members may wait for each other."""
        return patience(self.longest_step)

    @property
    def steps(self) -> int:
        """How many steps make a round."""
        if self.step_seconds is None:
            return 1
        return max(1, min(MOST_STEPS, int(ROUND_SECONDS / max(self.step_seconds, 1e-6))))


def evened(left: int, usual: int) -> int:
    """Steps of the next of some rounds that are alike and nearly the usual one; left in all."""
    rounds = max(1, round(left / usual))
    return -(-left // rounds)


def is_out_of_date(given: float, wanted: float) -> bool:
    """Whether members should be given another patience than they have."""
    return given > wanted * _FAR_ABOVE or given < wanted * _FAR_BELOW


def median(values: Sequence[float]) -> float:
    """The middle one, the lower of two."""
    return sorted(values)[(len(values) - 1) // 2]
