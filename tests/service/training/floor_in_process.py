"""A training floor without processes: workers are threads here, and die when a test says so.

A worker that meets its fate does not make the step: it lets go of its peers, and its end is told.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from gradloom.service.fleet.group import Alive, Gone, WorkerEvent, event_of
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import Checkpoints, JobSpec, Resources, Training
from gradloom.service.jobs.states import Reason
from gradloom.service.jobs.validation import validate
from gradloom.service.metrics import Metrics
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker.data.files import Roots
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Answer, AnswerKind, Order, Task, decode, encode
from gradloom.worker.server import Server
from tests.worker.jobs import DATA, LEARNING, write_rows

# What happens to an order: None, or the reason for which the worker is gone instead.
Fate = Callable[[int, Order], Reason | None]
Message = tuple[Task, bytes | None] | Order

# No process has such a number: nobody kills the tests in the belief that a worker is frozen.
_NO_PID = 4_000_000
_JOIN_SECONDS = 30.0


class InProcessWorker:
    """A server in a thread of its own, that answers into the group's events."""

    def __init__(
        self, number: int, node: str, fate: Fate, events: "queue.Queue[WorkerEvent]"
    ) -> None:
        self._number = number
        self._node = node
        self._fate = fate
        self._events = events
        self._server = Server()
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tell(self, message: Message | None) -> None:
        self._messages.put(message)

    def stop(self) -> None:
        """Nothing is heard of it any more; it ends when it is done with what it is at."""
        self._stopped = True
        self.tell(None)

    def join(self) -> None:
        self._thread.join(_JOIN_SECONDS)

    def _serve(self) -> None:
        while (message := self._messages.get()) is not None:
            reason = self._fate(self._number, message) if isinstance(message, Order) else None
            if reason is not None:
                self._server.leave()
                self._say(Gone(self._number, reason, f"worker {self._number} met its fate"))
                break
            self._say(self._answer(message))
        self._server.leave()

    def _answer(self, message: Message) -> WorkerEvent:
        answer = decode(self._server.answer(message))
        if answer.kind is AnswerKind.READY:
            here = {"node": self._node, "pid": _NO_PID + self._number}
            answer = replace(answer, facts={**answer.facts, **here})
        return event_of(self._number, answer, encode(answer))

    def _say(self, event: WorkerEvent) -> None:
        if not self._stopped:
            self._events.put(event)


class InProcessGroup:
    """Workers of one job as threads, spread over so many nodes."""

    def __init__(self, fate: Fate, nodes: int = 1) -> None:
        self._fate = fate
        self._nodes = nodes
        self._workers: dict[int, InProcessWorker] = {}
        self._events: queue.Queue[WorkerEvent] = queue.Queue()

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        node = f"node-{worker % self._nodes}"
        self._workers[worker] = InProcessWorker(worker, node, self._fate, self._events)
        self._workers[worker].tell((task, state))

    def order(self, worker: int, order: Order) -> None:
        if worker in self._workers:
            self._workers[worker].tell(order)

    def stop(self, worker: int) -> None:
        if stopped := self._workers.pop(worker, None):
            stopped.stop()

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        try:
            events = [self._events.get(timeout=timeout)]
        except queue.Empty:
            return tuple(Alive(worker, Answer(AnswerKind.BEAT)) for worker in self._workers)
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return tuple(events)

    def close(self) -> None:
        workers = list(self._workers.values())
        for worker in list(self._workers):
            self.stop(worker)
        for each in workers:
            each.join()


class InProcessFleet:
    """Two CPUs that never were."""

    may_share = True
    trouble = ""
    lacking = ""
    cpus = 2

    def __init__(self, fate: Fate = lambda worker, order: None, nodes: int = 1) -> None:
        self.fate = fate
        self.hosts = nodes
        self.avoided: frozenset[str] = frozenset()
        self.profiles: list[str] = []

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(f"node-{number}" for number in range(self.hosts))

    def avoid(self, nodes: frozenset[str]) -> None:
        self.avoided = nodes

    def lacks(self, workers: int) -> str:
        return self.lacking

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> InProcessGroup:
        self.profiles.append(profile)
        return InProcessGroup(self.fate, self.hosts)

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
    """A time of day that goes on a little with each look, so that no two events share it."""

    def __init__(self) -> None:
        self._ticks = count()

    def now(self) -> datetime:
        return datetime.fromtimestamp(next(self._ticks) * 0.05, UTC)


def surroundings(folder: Path, fleet: InProcessFleet) -> Surroundings:
    """A store in memory, rows in the folder, and the fleet."""
    write_rows(folder)
    clock = Clock()
    store = MemoryStore(clock.now)
    return Surroundings(
        store=store,
        fleet=fleet,
        metrics=Metrics(now=clock.now, count_jobs=store.count, build={}),
        monotonic=time.monotonic,
        now=clock.now,
        jobs_folder=folder / "jobs",
        roots=(str(folder),),
        profile=PROFILE_DEFAULT,
        segments=str(folder / "segment"),
    )


def submit(around: Surroundings, wanted: JobSpec, name: str = "jobs/clouds-1") -> Job:
    """The job as the API would create it, but with checkpoints so often that all have some."""
    checked = validate(wanted, Roots(tuple(Path(root) for root in around.roots)))
    often = replace(wanted.checkpoints, interval=wanted.checkpoints.interval / 100)
    wanted, now = replace(wanted, checkpoints=often), around.now()
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
