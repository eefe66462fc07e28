"""What a run acts on, given to it from outside, and what others want of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gradloom.service.fleet.group import Fleet
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.store import JobStore
from gradloom.service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The store, the workers' home, the metrics, two clocks and the folders.

    monotonic gives seconds that never go back, now the time of day in UTC, for people. roots are
    the folders that data may be read from. profile is the arithmetic that new jobs are computed
    with; a job goes on with that which it began with.
    """

    store: JobStore
    fleet: Fleet
    metrics: Metrics
    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    jobs_folder: Path
    roots: tuple[str, ...]
    profile: str

    def folder(self, job: Job) -> Path:
        """The folder of a job's files."""
        return self.jobs_folder / job.id


class Wishes:
    """What others want of a running job; set from any thread."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.drain = threading.Event()
