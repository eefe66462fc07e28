"""A job on several local workers through a service, and its speed by the service's own reports."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contestant import ContestantFailed
from benchmarks.models import TASKS
from benchmarks.random_rows import DATA, write_rows
from gradloom.service.client import Client
from gradloom.service.config import ServerConfig
from gradloom.service.errors import WrongState
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.spec import JobSpec, Resources, Training
from gradloom.service.server import Embedded
from gradloom.service.watching import ProgressEvent
from gradloom.worker.engine.spec import Adam, Optimizer, SoftmaxCrossEntropy

NAME = "ours"
_BATCHES = 8
# More than anybody waits for: the job is cancelled before.
_STEPS = 10_000_000
# While the first rounds are short and caches cold, time does not count.
_SETTLE_SECONDS = 1.5
_FEWEST_REPORTS = 3
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Running:
    """A model on so many workers: rows of a batch, virtual shards, and the seconds measured."""

    model: str
    batch: int
    workers: int
    shards: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """Training rows that were done at a time, in seconds."""

    time: float
    samples: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What a run came to."""

    samples_per_second: float
    parameters: int


def run(running: Running) -> Speed:
    """Trains for a while, in a service that begins and ends with it. Raises ContestantFailed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(TASKS[running.model], folder, running.batch * _BATCHES)
        config = ServerConfig(
            folder / "data", "127.0.0.1:0", "127.0.0.1:0", "local", cpus=running.workers
        )
        with Embedded(config) as ready, Client(ready.address) as client:
            training = Training(running.batch, steps=_STEPS, shards=running.shards)
            job = client.submit(spec_of(running.model, folder, training, running.workers))
            points = tuple(_points(client, job, _SETTLE_SECONDS + running.seconds))
            parameters = job.plan.parameters if job.plan else 0
            _end(client, job)
    return Speed(rate(points, _SETTLE_SECONDS), parameters)


def spec_of(model: str, folder: Path, training: Training, workers: int) -> JobSpec:
    """A job that trains one of the models by Adam on the random rows in a folder."""
    return JobSpec(
        name=model,
        data=replace(DATA, path=str(folder / DATA.path)),
        model=TASKS[model].model,
        loss=SoftmaxCrossEntropy(),
        optimizer=Optimizer(Adam(1e-3)),
        training=training,
        resources=Resources(workers),
    )


def _points(client: Client, job: Job, seconds: float) -> Iterator[Point]:
    """How far it was, from the first report to one that is so much later, where enough count."""
    first: float | None = None
    counted = 0
    for event in client.watch(job, timeout=_PATIENCE_SECONDS):
        match event:
            case ProgressEvent() if event.step:
                now = event.time.timestamp()
                yield Point(now, event.samples)
                first = now if first is None else first
                counted += now - first >= _SETTLE_SECONDS
                if counted >= _FEWEST_REPORTS and now - first >= seconds:
                    return
            case Job() if event.state.is_final:
                raise ContestantFailed(NAME, event.message)


def rate(points: Sequence[Point], settle: float) -> float:
    """Rows a second between the first report after a while and the last one."""
    counted = [point for point in points if point.time >= points[0].time + settle]
    if len(counted) < 2:
        raise ContestantFailed(NAME, f"{len(points)} reports came, which is too few to measure")
    first, last = counted[0], counted[-1]
    return (last.samples - first.samples) / (last.time - first.time)


def _end(client: Client, job: Job) -> None:
    """Cancels it and waits until its workers are gone."""
    with suppress(WrongState):
        client.cancel(job)
    for _ in client.watch(job, timeout=_PATIENCE_SECONDS):
        pass
