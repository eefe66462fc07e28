"""What one slow worker of three costs a job: helped by the others, and left alone.

Run as `make bench-straggler`. The worker is stopped for four fifths of the time, a hundredth of a
second at a time, once the job has made its first steps. Writes results/straggler.json.
"""

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from threading import Event, Thread

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import ROOT
from benchmarks.job import spec_of
from benchmarks.machine import machine
from benchmarks.models import TASKS
from benchmarks.random_rows import write_rows
from gradloom.service.client import Client
from gradloom.service.config import ServerConfig
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.spec import Training
from gradloom.service.server import Embedded
from gradloom.service.watching import ProgressEvent

_WORKERS = 3
_SLOW = 1
_BATCHES = 8
_PERIOD = 0.01
_DUTY = 0.2
_PATIENCE_SECONDS = 600.0
GOAL = 1.3

# What every Python process here does first where nobody is to help: none is the wiser.
_LEFT_ALONE = "from gradloom.worker.aid import Aid\nAid.wanted = lambda self: None\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A model, rows of a batch, virtual shards, and steps."""

    model: str
    batch: int
    shards: int
    steps: int


@dataclass(frozen=True, slots=True)
class Way:
    """Whether a worker is slow, and whether others help it."""

    name: str
    is_slow: bool = True
    is_helped: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds from the first report to the end, and the weights."""

    seconds: float
    weights: str


# In four shards there is no less than one for the slow worker; of twelve it comes to have one.
CASES = (Case("cnn", 256, 4, 100), Case("cnn", 256, 12, 100), Case("mlp", 1024, 4, 400))
UNDISTURBED = Way("undisturbed", is_slow=False)
WAYS = (UNDISTURBED, Way("helped"), Way("left alone", is_helped=False))


def run(case: Case, way: Way) -> Run:
    """One job in a service that begins and ends with it."""
    with tempfile.TemporaryDirectory(prefix="gradloom-straggler-") as name:
        folder = Path(name)
        write_rows(TASKS[case.model], folder, case.batch * _BATCHES)
        (folder / "sitecustomize.py").write_text(_LEFT_ALONE)
        variables = {} if way.is_helped else {"PYTHONPATH": name}
        config = ServerConfig(
            folder / "data", "127.0.0.1:0", "127.0.0.1:0", "local", cpus=_WORKERS, warm_workers=0
        )
        with _said(variables), Embedded(config) as ready, Client(ready.address) as client:
            training = Training(case.batch, steps=case.steps, shards=case.shards)
            spec = spec_of(case.model, folder, training, _WORKERS)
            return _watched(client, client.submit(spec), way)


@contextmanager
def _said(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, for the processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _watched(client: Client, job: Job, way: Way) -> Run:
    events = client.watch(job, timeout=_PATIENCE_SECONDS)
    next(event for event in events if isinstance(event, ProgressEvent) and event.step)
    began = time.perf_counter()
    pid = client.get(job).assignments[_SLOW].pid
    with slowed(pid) if way.is_slow else nullcontext():
        done = client.wait(job)
    return Run(time.perf_counter() - began, done.receipt.weights_sha256)


@contextmanager
def slowed(pid: int) -> Iterator[None]:
    """A process that runs for a fifth of the time."""
    is_over = Event()
    thread = Thread(target=_slow_down, args=(pid, is_over))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _slow_down(pid: int, is_over: Event) -> None:
    with suppress(ProcessLookupError):  # the job is through
        while not is_over.is_set():
            os.kill(pid, signal.SIGSTOP)
            is_over.wait(_PERIOD * (1 - _DUTY))
            os.kill(pid, signal.SIGCONT)
            is_over.wait(_PERIOD * _DUTY)


def rows(cases: Sequence[Case], times: int) -> Iterator[dict[str, object]]:
    """One for each case and way, as it is written down; ways take turns."""
    for case in cases:
        found: dict[str, list[Run]] = {way.name: [] for way in WAYS}
        for _ in range(times):
            for way in WAYS:
                found[way.name].append(run(case, way))
        usual = median(each.seconds for each in found[UNDISTURBED.name])
        weights = {each.weights for runs in found.values() for each in runs}
        if len(weights) > 1:
            raise SystemExit(f"{case}: {len(weights)} different weights")
        for name, runs in found.items():
            seconds = [round(each.seconds, 3) for each in runs]
            yield {
                "model": case.model,
                "batch": case.batch,
                "shards": case.shards,
                "steps": case.steps,
                "way": name,
                "seconds": seconds,
                "ratio": round(median(seconds) / usual, 3),
            }


def show(found: Sequence[Mapping[str, object]], console: Console) -> None:
    """Prints what was measured."""
    table = Table("case", "way", "seconds", "ratio", title=f"One of {_WORKERS} workers is slow")
    for row in found:
        case = f"{row['model']} {row['batch']}, {row['shards']} shards"
        table.add_row(case, *(str(row[name]) for name in ("way", "seconds", "ratio")))
    console.print(table)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="jobs of each case and way")
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    parser.add_argument("--output", type=Path, default=ROOT, help="the folder to write below")
    options = parser.parse_args()
    cases = [replace(CASES[0], steps=20)] if options.quick else CASES
    found = list(rows(cases, 1 if options.quick else options.times))
    show(found, Console())
    path = options.output / "benchmarks/results/straggler.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "duty": _DUTY, "period": _PERIOD, "goal": GOAL, "rows": found}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
