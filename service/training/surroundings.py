"""What a run acts on, given to it from outside, and what others want of it."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gradloom.service.fleet.group import Fleet
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.store import JobStore
from gradloom.service.metrics import Metrics
from gradloom.service.training.certificate import no_certificate
from gradloom.service.training.suspects import Death, Suspects
from gradloom.worker.versions import versions


class SuspectNodes:
    """The table of deaths by node; for runs in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._suspects = Suspects()

    def died(self, death: Death, nodes: Collection[str]) -> bool:
        """Takes note of a death; whether its node is drained from now on."""
        with self._lock:
            before, self._suspects = self._suspects, self._suspects.after(death, nodes)
            return death.node in self._suspects.until.keys() - before.drained(death.time)

    def lives(self, job: str, nodes: Collection[str], now: float) -> Mapping[str, int]:
        """How many more deaths of a job's workers drain a node; see Suspects."""
        return self._suspects.lives(job, nodes, now)

    def drained(self, now: float) -> frozenset[str]:
        """The nodes that get no new workers."""
        return self._suspects.drained(now)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The store, the workers' home, the metrics, two clocks and the folders.

    monotonic gives seconds that never go back, now the time of day in UTC, for people. roots are
    the folders that data may be read from. profile is the arithmetic that new jobs are computed
    with; a job goes on with that which it began with. segments is what the names of all files of
    shared memory begin with. versions are those that workers have to have. certificate makes that
    of a run whose workers encrypt what they send from node to node; nothing where they do not.
    """

    store: JobStore
    fleet: Fleet
    metrics: Metrics
    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    jobs_folder: Path
    roots: tuple[str, ...]
    profile: str
    segments: str = "/dev/shm/gradloom"
    versions: Mapping[str, str] = field(default_factory=versions)
    certificate: Callable[[], bytes] = no_certificate
    suspects: SuspectNodes = field(default_factory=SuspectNodes)

    def folder(self, job: Job) -> Path:
        """The folder of a job's files."""
        return self.jobs_folder / job.id

    def segment(self, job: Job, attempt: int) -> str:
        """What the names of the files begin with that the workers of an attempt share."""
        return f"{self.segments}-{job.id}-{attempt}"


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers a job may have, and without how many it does not begin.

    0 stands for what the job itself asks for.
    """

    workers: int = 0
    fewest: int = 0


class Wishes:
    """What others want of a running job; set from any thread."""

    def __init__(self, size: Size | None = None) -> None:
        self.cancel = threading.Event()
        self.drain = threading.Event()
        self.size = size or Size()
