"""Jobs to try things with."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Any, TypeVar

import grpc
import pytest

from gradloom.service.api.door import build_server
from gradloom.service.api.interceptors import ErrorInterceptor
from gradloom.service.api.jobs import Identities, JobService
from gradloom.service.jobs.job import Event, Job, Metric, Progress, Progressed, StateChanged
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import JobSpec, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.service.jobs.validation import validate_message
from gradloom.worker.data.files import Roots
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import Dense, Model, Optimizer, Relu, Sgd, SoftmaxCrossEntropy

EXAMPLES = Path(__file__).parents[2] / "examples"

Answer = TypeVar("Answer")


class Clock:
    """A clock that moves a second each time it is read."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spec() -> JobSpec:
    return JobSpec(
        name="digits",
        data=DataSpec(path="digits.npz", inputs=("images",), target="labels"),
        model=Model((Dense(64), Relu(), Dense(10))),
        loss=SoftmaxCrossEntropy(),
        optimizer=Optimizer(Sgd(learning_rate=0.1)),
        training=Training(batch_size=64, epochs=3),
    )


@pytest.fixture
def new_job(spec: JobSpec, clock: Clock) -> Callable[..., Job]:
    """Makes a job named jobs/{id}, younger than the one before."""
    uids = iter(range(1_000_000))

    def make(id_: str = "digits-1") -> Job:
        now = clock()
        return Job(f"jobs/{id_}", f"uid-{next(uids)}", spec, create_time=now, update_time=now)

    return make


class Door:
    """A real API over a store in memory, in a thread; a test plays the training floor."""

    def __init__(self, roots: Roots) -> None:
        self.store = MemoryStore(lambda: datetime.now(UTC))
        self._validate = partial(validate_message, roots=roots)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server, self.port = self._run(self._open(0))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def restart(self) -> None:
        """Cuts every connection and serves the same jobs at the same address again."""
        self._run(self._server.stop(None))
        self._server, self.port = self._run(self._open(self.port))

    def close(self) -> None:
        self._run(self._server.stop(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def train(self, name: str, *, steps: int = 3, end: State = State.SUCCEEDED) -> None:
        """Plays a whole training: every state and step up to the end."""
        self.record(name, StateChanged(State.STARTING, Reason.SCHEDULED))
        self.record(name, StateChanged(State.RUNNING, Reason.WORKERS_READY))
        for step in range(1, steps + 1):
            self.record(name, Progressed(progress_at(step, steps)))
        reason = Reason.COMPLETED if end is State.SUCCEEDED else Reason.NON_FINITE
        self.record(name, StateChanged(end, reason, f"it {end} at step {steps}"))

    def record(self, name: str, *events: Event) -> None:
        """Lets the floor say what happened."""
        self.store.record(name, *events)

    async def _open(self, port: int) -> tuple[grpc.aio.Server, int]:
        service = JobService(
            self.store,
            self._validate,
            identities=Identities(lambda title: f"{title}-{token_hex(4)}", token_hex),
            clock=lambda: datetime.now(UTC),
            secret=b"only for tests",
        )
        server, _ = build_server(service, [ErrorInterceptor(token_hex)])
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server, port

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)


def progress_at(step: int, steps: int) -> Progress:
    """Progress with an accuracy that rises with the steps."""
    accuracy = Metric("accuracy", "validation", step / (steps + 1), step, 1)
    return Progress(
        step=step,
        steps=steps,
        epoch=1,
        epochs=1,
        samples=64 * step,
        samples_per_second=1_000.0,
        loss=1 / step,
        learning_rate=0.001,
        gradient_norm=1.0,
        metrics=(accuracy,),
        workers=1,
    )


@pytest.fixture
def door() -> Iterator[Door]:
    served = Door(Roots((EXAMPLES,)))
    yield served
    served.close()


@pytest.fixture
def job_text() -> str:
    """A job file that the door accepts."""
    return (
        "name: digits\n"
        "data: {path: digits.npz, inputs: [images], target: labels}\n"
        "model:\n"
        "  layers:\n"
        "    - dense: {units: 10}\n"
        "loss: {softmax_cross_entropy: {}}\n"
        "optimizer: {adam: {learning_rate: 0.001}}\n"
        "training: {batch_size: 64, epochs: 1}\n"
        "resources: {workers: 1}\n"
    )


@pytest.fixture
def job_file(tmp_path: Path, job_text: str) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(job_text)
    return path
