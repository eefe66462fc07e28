"""Who computes how many parts: evenly, or as fast as each one was measured to be. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gradloom.service.training.pace import median

Range = tuple[int, int]

# Shares change where that makes a step this much shorter: every change costs new connections.
_WORTH_IT = 1.1
# Rounds that are looked back on, and how many there must be.
_REMEMBERED = 5
_ENOUGH = 3


def divide(parts: int, workers: Iterable[int]) -> dict[int, Range]:
    """Consecutive ranges of parts for the workers, as even as can be; none is empty."""
    ordered = sorted(workers)[:parts]
    bounds = [i * parts // len(ordered) for i in range(len(ordered) + 1)]
    return {worker: (bounds[i], bounds[i + 1]) for i, worker in enumerate(ordered)}


def apportion(parts: int, costs: Sequence[float]) -> list[int]:
    """How many parts each one gets, so that all are done soonest; costs are seconds a part.

    Everybody gets one where there are enough.
    """
    counts = [int(place < parts) for place in range(len(costs))]
    for _ in range(parts - sum(counts)):
        soonest = min(range(len(costs)), key=lambda i: (counts[i] + 1) * costs[i])
        counts[soonest] += 1
    return counts


def finished(counts: Sequence[int], costs: Sequence[float]) -> float:
    """When the last one is done."""
    return max(count * cost for count, cost in zip(counts, costs, strict=True))


def rearranged(counts: Sequence[int], costs: Sequence[float]) -> list[int]:
    """Better counts than these, or the same where better ones are not worth a change."""
    better = apportion(sum(counts), costs)
    is_worth_it = finished(counts, costs) > _WORTH_IT * finished(better, costs)
    return better if is_worth_it else list(counts)


def ranges(counts: Sequence[int]) -> list[Range]:
    """Consecutive ranges of so many parts."""
    bounds = [sum(counts[:i]) for i in range(len(counts) + 1)]
    return [(bounds[i], bounds[i + 1]) for i in range(len(counts))]


@dataclass(frozen=True, slots=True)
class Speeds:
    """Seconds a shard that workers took in the newest rounds."""

    measured: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    def after(self, worker: int, seconds_a_shard: float) -> "Speeds":
        """The speeds with one more measurement."""
        newest = (*self.measured.get(worker, ()), seconds_a_shard)[-_REMEMBERED:]
        return Speeds({**self.measured, worker: newest})

    def costs(self, workers: Sequence[int]) -> list[float]:
        """Seconds a shard of each worker; who was not measured long enough is as the others are."""
        known = {w: median(self.measured[w]) for w in workers if self._is_known(w)}
        usual = median(list(known.values())) if known else 1.0
        return [max(known.get(worker, usual), 1e-9) for worker in workers]

    def _is_known(self, worker: int) -> bool:
        return len(self.measured.get(worker, ())) >= _ENOUGH
