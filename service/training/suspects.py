"""Which nodes kill workers of several jobs: deaths in, nodes to be left alone for a while out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gradloom.service.jobs.states import Reason

# What a node can do to workers; all else is between a worker and its job.
DEATHS = frozenset({Reason.WORKER_LOST, Reason.WORKER_FROZEN})
_DEATHS = 3
_JOBS = 2
_WITHIN_SECONDS = 600.0
_DRAINED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Death:
    """A worker of a job died on a node; time is in seconds of a clock that never goes back."""

    node: str
    job: str
    time: float


@dataclass(frozen=True, slots=True)
class Suspects:
    """Deaths of the last 10 minutes, and nodes that are drained, until when.

    A node is drained for 10 minutes after 3 deaths of 2 jobs or more. The last node that is not
    drained never is: where there is one node only, nothing is ever suspected.
    """

    deaths: tuple[Death, ...] = ()
    until: Mapping[str, float] = field(default_factory=dict)

    def after(self, death: Death, nodes: Collection[str]) -> "Suspects":
        """The table with one more death, on one of the nodes that there are."""
        now, node = death.time, death.node
        recent = (each for each in self.deaths if now - each.time < _WITHIN_SECONDS)
        deaths = (*recent, death)
        until = {name: end for name, end in self.until.items() if end > now}
        here = [each.job for each in deaths if each.node == node]
        is_bad = len(here) >= _DEATHS and len(set(here)) >= _JOBS
        if not is_bad or not set(nodes) - until.keys() - {node}:
            return Suspects(deaths, until)
        others = tuple(each for each in deaths if each.node != node)
        return Suspects(others, until | {node: now + _DRAINED_SECONDS})

    def lives(self, job: str, nodes: Collection[str], now: float) -> Mapping[str, int]:
        """How many more deaths of a job's workers drain a node; none on one that is drained.

        Only nodes are named that so many deaths of this job alone would drain.
        """
        suspects = {each.node for each in self.deaths if each.job != job} | self.drained(now)
        counts = ((node, self._lives_of(node, job, nodes, now)) for node in sorted(suspects))
        return {node: count for node, count in counts if count is not None}

    def _lives_of(self, node: str, job: str, nodes: Collection[str], now: float) -> int | None:
        table = self
        for count in range(_DEATHS):
            if node in table.drained(now):
                return count
            table = table.after(Death(node, job, now), nodes)
        return None

    def drained(self, now: float) -> frozenset[str]:
        """The nodes that get no new workers."""
        return frozenset(node for node, end in self.until.items() if end > now)


def suspicion(node: str) -> str:
    """What is told of a node that is drained."""
    return (
        f"{_DEATHS} workers of {_JOBS} jobs or more died on {node} within 10 minutes: it gets no "
        "new ones for 10 minutes. Look at its kernel's log, its memory and its disk."
    )
