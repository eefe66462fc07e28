"""Two workers of a job beside two processes of PyTorch DDP over Gloo: rows trained a second.

Run as `make bench-ddp`. PyTorch stands in an environment of its own: TORCH_PYTHON, or
.venv-torch/bin/python where that is there. Prints a table and writes results/ddp.json.
"""

import argparse
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import job
from benchmarks.cases import DDP_CASES, DDP_GOALS, DDP_SHARDS, DDP_WORKERS, Case
from benchmarks.contestant import ROOT, Contestant, ContestantFailed, Program
from benchmarks.figures import Burst, ratio, step_seconds
from benchmarks.machine import machine
from benchmarks.programs import DDP, ddp, find_torch
from gradloom.service.cli.logs import log_to_stderr
from gradloom.worker.engine.profile import PROFILE_DEFAULT

_RESULTS = ROOT / "benchmarks/results/ddp.json"
_WIDTH = 100
_TRIAL_STEPS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A case: medians over the rounds; ratio is ours over theirs, with quartiles of paired rounds.

    goal is the ratio that is aimed at; None is what was not measured.
    """

    case: str
    batch: int
    workers: int
    virtual_shards: int
    ours_samples_per_second: float
    ours_ms: float
    ddp_samples_per_second: float | None
    ddp_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    goal: float | None
    parameters: int
    rounds: int
    seconds: float
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    profile: str
    date: str


@dataclass(frozen=True, slots=True)
class Length:
    """How often both have their turn, and about how long."""

    rounds: int
    seconds: float


class Theirs:
    """PyTorch on a case: a burst is as many steps as fill the seconds."""

    def __init__(self, contestant: Contestant, case: Case, seconds: float) -> None:
        self._contestant = contestant
        self.facts = contestant.ask("prepare", model=case.model, batch=case.batch)
        contestant.ask("run", steps=_TRIAL_STEPS)
        step = contestant.ask("run", steps=_TRIAL_STEPS)["seconds"] / _TRIAL_STEPS
        self._steps = max(math.ceil(seconds / step), _TRIAL_STEPS)

    def burst(self) -> Burst:
        """Its steps' mean, as one step."""
        found = self._contestant.ask("run", steps=self._steps)["seconds"]
        return Burst((found / self._steps,), (), ())


def measure(case: Case, program: Program | None, length: Length) -> Row:
    """Both in turn, another one first in every round. Raises ContestantFailed."""
    ours: list[Burst] = []
    theirs: list[Burst] = []
    parameters = 0
    with ExitStack() as stack:
        rival = None
        if program is not None:
            rival = Theirs(stack.enter_context(Contestant(program)), case, length.seconds)
        for number in range(length.rounds):
            if rival is not None and number % 2:
                theirs.append(rival.burst())
            speed = job.run(
                job.Running(case.model, case.batch, DDP_WORKERS, DDP_SHARDS, length.seconds)
            )
            parameters = speed.parameters
            ours.append(Burst((case.batch / speed.samples_per_second,), (), ()))
            if rival is not None and not number % 2:
                theirs.append(rival.burst())
        facts = rival.facts if rival else {}
    if facts and facts["parameters"] != parameters:
        reason = f"its model has {facts['parameters']:,} parameters, not {parameters:,}"
        raise ContestantFailed(DDP, reason)
    return _row(case, ours, theirs, length, parameters, facts)


def _row(
    case: Case,
    ours: Sequence[Burst],
    theirs: Sequence[Burst],
    length: Length,
    parameters: int,
    facts: Mapping[str, Any],
) -> Row:
    found = ratio(ours, theirs) if theirs else None
    step, rival = step_seconds(ours), step_seconds(theirs) if theirs else None
    return Row(
        case=case.model,
        batch=case.batch,
        workers=DDP_WORKERS,
        virtual_shards=DDP_SHARDS,
        ours_samples_per_second=case.batch / step,
        ours_ms=1e3 * step,
        ddp_samples_per_second=case.batch / rival if rival else None,
        ddp_ms=1e3 * rival if rival else None,
        ratio=found.value if found else None,
        ratio_low=found.low if found else None,
        ratio_high=found.high if found else None,
        goal=DDP_GOALS.get(case),
        parameters=parameters,
        rounds=length.rounds,
        seconds=length.seconds,
        machine=machine(),
        versions={"gradloom": version("gradloom"), **({"torch": facts["torch"]} if facts else {})},
        profile=PROFILE_DEFAULT,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows as people read them."""
    title = f"{DDP_WORKERS} workers, V = {DDP_SHARDS}: training rows a second (milliseconds a step)"
    shown = Table("case", "ours", "PyTorch DDP", "ratio (quartiles)", "goal", title=title)
    for row in rows:
        shown.add_row(
            f"{row.case} {row.batch}",
            _speed(row.ours_samples_per_second, row.ours_ms),
            _speed(row.ddp_samples_per_second, row.ddp_ms),
            f"{row.ratio:.2f} ({row.ratio_low:.2f}–{row.ratio_high:.2f})" if row.ratio else "–",
            f"{row.goal:.1f}" if row.goal else "",
        )
    return shown


def _speed(samples: float | None, milliseconds: float | None) -> str:
    return "–" if samples is None else f"{samples:,.0f} ({milliseconds:.2f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one case, shortly: does it run?")
    parser.add_argument(
        "--model", action="append", help="only cases of this model; may be given again"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often each one's turn comes")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a turn is measured")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="the JSON file to write")
    return parser.parse_args()


def _rows(options: argparse.Namespace, say: Console) -> Iterator[Row]:
    torch = find_torch(os.environ)
    if torch is None:
        say.print("PyTorch is not there: set TORCH_PYTHON or make .venv-torch (see README.md).")
    length = Length(2, 1.0) if options.quick else Length(options.rounds, options.seconds)
    for case in DDP_CASES[:1] if options.quick else DDP_CASES:
        if not options.model or case.model in options.model:
            say.print(f"measuring {case}")
            yield measure(case, ddp(torch), length)


def main() -> None:
    """Measures, prints, writes."""
    options, console = _options(), Console()
    console.width = max(console.width, _WIDTH)
    log_to_stderr()
    rows = tuple(_rows(options, Console(stderr=True)))
    console.print(table(rows))
    text = json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
    options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
