"""What the seconds of paired rounds come to: medians, and the spread of ratios."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Burst:
    """Steps that a contestant made in one go, in seconds: whole steps, and passes in them."""

    seconds: tuple[float, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]

    @property
    def step(self) -> float:
        """Its median step."""
        return median(self.seconds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long theirs takes as ours: of the medians, and quartiles over rounds."""

    value: float
    low: float
    high: float


def step_seconds(bursts: Sequence[Burst]) -> float:
    """The median over the rounds."""
    return median(burst.step for burst in bursts)


def backward_over_forward(bursts: Sequence[Burst]) -> float:
    """Medians over all steps, one by the other."""
    backward = median(seconds for burst in bursts for seconds in burst.backward)
    return backward / median(seconds for burst in bursts for seconds in burst.forward)


def better(contestants: Mapping[str, Sequence[Burst]]) -> str | None:
    """The name of the fastest by its median; None where there is nobody."""
    return min(contestants, key=lambda name: step_seconds(contestants[name]), default=None)


def ratio(ours: Sequence[Burst], theirs: Sequence[Burst]) -> Ratio:
    """Theirs over ours; bursts of the same round are paired."""
    paired = [other.step / own.step for own, other in zip(ours, theirs, strict=True)]
    low, _, high = quantiles(paired, n=4, method="inclusive") if len(paired) > 1 else paired * 3
    return Ratio(step_seconds(theirs) / step_seconds(ours), low, high)
