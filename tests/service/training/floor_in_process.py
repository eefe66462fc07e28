"""A training floor without processes: workers are objects here, and die when a test says so."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from gradloom.service.fleet.group import Gone, WorkerEvent, event_of
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import Checkpoints, JobSpec, Resources, Training
from gradloom.service.jobs.states import Reason
from gradloom.service.jobs.validation import validate
from gradloom.service.metrics import Metrics
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker.data.files import Roots
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Order, Task, decode
from gradloom.worker.server import Server
from tests.worker.jobs import DATA, LEARNING, write_rows

# What happens to an order: None, or the reason for which the worker is gone instead.
Fate = Callable[[int, Order], Reason | None]


class InProcessGroup:
    """Workers that answer at once, in the order in which they were asked."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self._servers: dict[int, Server] = {}
        self._events: list[WorkerEvent] = []

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        self._servers[worker] = Server()
        self._hear(worker, self._servers[worker].answer((task, state)))

    def order(self, worker: int, order: Order) -> None:
        if worker not in self._servers:
            return
        reason = self._fate(worker, order)
        if reason is None:
            self._hear(worker, self._servers[worker].answer(order))
        else:
            self._events.append(Gone(worker, reason, f"worker {worker} met its fate"))

    def _hear(self, worker: int, encoded: bytes) -> None:
        self._events.append(event_of(worker, decode(encoded), encoded))

    def stop(self, worker: int) -> None:
        self._servers.pop(worker, None)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        events, self._events = tuple(self._events), []
        return events

    def close(self) -> None:
        self._servers.clear()


class InProcessFleet:
    """Two CPUs that never were."""

    may_share = True
    cpus = 2

    def __init__(self, fate: Fate = lambda worker, order: None) -> None:
        self.fate = fate
        self.profiles: list[str] = []

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> InProcessGroup:
        self.profiles.append(profile)
        return InProcessGroup(self.fate)

    def close(self) -> None:
        pass


def spec(workers: int = 2, *, epochs: int = 2, keep_last: int = 2) -> JobSpec:
    """The job of tests.worker.jobs as a user would send it."""
    return JobSpec(
        name="clouds",
        seed=LEARNING.seed,
        data=DATA,
        model=LEARNING.model,
        loss=LEARNING.loss,
        optimizer=LEARNING.optimizer,
        schedule=LEARNING.schedule,
        training=Training(batch_size=24, epochs=epochs, shards=8),
        resources=Resources(workers=workers),
        checkpoints=Checkpoints(interval=1.0, keep_last=keep_last),
    )


class Clock:
    """Seconds that pass by themselves, a little with each look."""

    def __init__(self) -> None:
        self._ticks = count()

    def monotonic(self) -> float:
        return next(self._ticks) * 0.05

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic(), UTC)


def surroundings(folder: Path, fleet: InProcessFleet) -> Surroundings:
    """A store in memory, rows in the folder, and the fleet."""
    write_rows(folder)
    clock = Clock()
    store = MemoryStore(clock.now)
    return Surroundings(
        store=store,
        fleet=fleet,
        metrics=Metrics(now=clock.now, count_jobs=store.count, build={}),
        monotonic=clock.monotonic,
        now=clock.now,
        jobs_folder=folder / "jobs",
        roots=(str(folder),),
        profile=PROFILE_DEFAULT,
    )


def submit(around: Surroundings, wanted: JobSpec, name: str = "jobs/clouds-1") -> Job:
    """The job as the API would create it."""
    checked = validate(wanted, Roots(tuple(Path(root) for root in around.roots)))
    now = around.now()
    job = Job(name, "uid-1", wanted, now, now, plan=checked.plan, receipt=checked.receipt)
    return around.store.create(job, request_id="", content="")


def ended(around: Surroundings, name: str) -> threading.Event:
    """Set once the job is in a final state."""
    event = threading.Event()

    def look(changed: str) -> None:
        if changed == name and around.store.get(name).state.is_final:
            event.set()

    around.store.subscribe(look)
    look(name)
    return event
