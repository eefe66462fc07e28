"""How long a job takes from its submission to its first step: cold and warm, local and on Ray.

Run as `make bench-start`. Writes results/start.json. Ray Train stands beside it where TORCH_PYTHON
names an interpreter that has torch and ray[train].
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import ROOT
from benchmarks.machine import machine
from gradloom.service.client import Client
from gradloom.service.config import ServerConfig
from gradloom.service.errors import WrongState
from gradloom.service.server import Embedded
from gradloom.service.submission import Submission, read_submission
from gradloom.service.watching import ProgressEvent

_JOB = ROOT / "examples" / "digits.yaml"
_WORKERS = 2
# Between two jobs: workers come back within it.
_PAUSE_SECONDS = 0.5
_CASE_SECONDS = 1800.0
PERCENTS = (50, 95, 100)


@dataclass(frozen=True, slots=True)
class Way:
    """How workers are run, and whether they wait for jobs."""

    backend: str
    is_warm: bool

    @property
    def name(self) -> str:
        """Both in a word."""
        return f"{self.backend} {'warm' if self.is_warm else 'cold'}"


WAYS = {way.name: way for way in (Way(b, w) for b in ("local", "ray") for w in (True, False))}


def measure(way: Way, times: int) -> list[float]:
    """Seconds from submission to the first step as a client sees it, job after job."""
    submission = read_submission(_JOB).with_workers(_WORKERS)
    with tempfile.TemporaryDirectory(prefix="gradloom-start-") as folder:
        config = ServerConfig(
            data_dir=Path(folder),
            listen="127.0.0.1:0",
            http="127.0.0.1:0",
            backend=way.backend,
            data_roots=(ROOT,),
            warm_workers=_WORKERS if way.is_warm else 0,
        )
        with Embedded(config) as ready, Client(ready.address) as client:
            # The first one waits until the warm ones have come up, or has the kernels compiled.
            return [_first_step(client, submission) for _ in range(times + 1)][1:]


def _first_step(client: Client, submission: Submission) -> float:
    began = time.perf_counter()
    job = client.submit_prepared(submission)
    events = client.watch(job.name)
    next(event for event in events if isinstance(event, ProgressEvent))
    seconds = time.perf_counter() - began
    with suppress(WrongState):  # it may be through by now
        client.cancel(job)
    for _ in events:
        pass
    time.sleep(_PAUSE_SECONDS)
    return seconds


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    return sorted(seconds)[max(math.ceil(len(seconds) * percent / 100) - 1, 0)]


def _measured_apart(name: str, times: int) -> list[float]:
    """The same in a process of its own: Ray wants an environment to itself."""
    command = (sys.executable, "-m", "benchmarks.start", "--only", name, "--times", str(times))
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_CASE_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()[-2000:]}")
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds


def _ray_train(times: int) -> tuple[list[float], str]:
    """The same job by Ray Train, or why that is not there."""
    python = os.environ.get("TORCH_PYTHON", "")
    if not python:
        return [], "TORCH_PYTHON names no interpreter"
    command = (python, str(ROOT / "benchmarks" / "ray_train.py"), str(_WORKERS), str(times))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_CASE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return [], lines[-1] if lines else f"exit code {done.returncode}"
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, ""


def rows(ways: Sequence[str], times: int) -> Iterator[dict[str, object]]:
    """One for each way, as it is written down."""
    for name in ways:
        seconds = _measured_apart(name, times)
        yield {"name": name, "workers": _WORKERS, "seconds": seconds, **_percentiles(seconds)}
    seconds, why = _ray_train(min(times, 5))
    found = {"seconds": seconds, **_percentiles(seconds)} if seconds else {"not_present": why}
    yield {"name": "ray train", "workers": _WORKERS, **found}


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": percentile(seconds, percent) for percent in PERCENTS}


def show(found: Sequence[dict[str, object]], console: Console) -> None:
    """Prints what was measured."""
    table = Table("way", *(f"p{percent} s" for percent in PERCENTS), title="Submit to first step")
    for row in found:
        numbers = [row.get(f"p{percent}") for percent in PERCENTS]
        words = [f"{each:.3f}" if isinstance(each, float) else "–" for each in numbers]
        table.add_row(f"{row['name']} {row.get('not_present', '')}", *words)
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="jobs of each way")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="instead of all")
    parser.add_argument("--only", choices=list(WAYS), help="print the seconds of one, as JSON")
    parser.add_argument("--output", type=Path, default=ROOT, help="the folder to write below")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, writes."""
    options = _options()
    if options.only:
        sys.stdout.write(json.dumps(measure(WAYS[options.only], options.times)) + "\n")
        return
    found = list(rows(options.way or list(WAYS), options.times))
    show(found, Console())
    path = options.output / "benchmarks/results/start.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "job": str(_JOB.relative_to(ROOT)), "rows": found}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
