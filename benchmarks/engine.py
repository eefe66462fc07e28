"""Training steps of the engine and of PyTorch side by side, interleaved, on one core.

Run as `make bench-engine`. PyTorch stands in an environment of its own: TORCH_PYTHON, or
.venv-torch/bin/python where that is there. Prints a table and writes results/engine.json.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import programs
from benchmarks.cases import (
    CASES,
    QUICK_CASES,
    SHARD_COUNTS,
    SHARDED_BATCH,
    SHARDED_MODELS,
    Case,
)
from benchmarks.child import CLOCKS
from benchmarks.contest import Length, compete, warm_up
from benchmarks.contestant import ROOT, Contestant, Program
from benchmarks.machine import machine, take_core
from benchmarks.rows import Row, Surroundings, row
from benchmarks.table import show
from gradloom.worker.engine.profile import PROFILE_DEFAULT

# What the table takes without breaking words.
_WIDTH = 124
_RESULTS = ROOT / "benchmarks/results/engine.json"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    cases: tuple[Case, ...]
    length: Length
    shard_rounds: int


FULL = Extent(CASES, Length(rounds=15, burst_seconds=0.25), shard_rounds=15)
QUICK = Extent(QUICK_CASES, Length(rounds=2, burst_seconds=0.01), shard_rounds=2)


def measure(
    extent: Extent, ours: Sequence[Program], theirs: Sequence[Program], say: Console
) -> Iterator[Row]:
    """The rows of all cases, one by one as they are done; raises ContestantFailed."""
    models = [name for name in SHARDED_MODELS if any(case.model == name for case in extent.cases)]
    say.print("measuring the machine and what virtual shards cost")
    around = _surroundings(ours, theirs, models, extent)
    for case in extent.cases:
        say.print(f"measuring {case}")
        for program in ours:
            warm_up(case, program)
        yield row(case, compete(case, (*ours, *theirs), extent.length), around)


def _surroundings(
    ours: Sequence[Program], theirs: Sequence[Program], models: Sequence[str], extent: Extent
) -> Surroundings:
    versions: dict[str, str] = {}
    peaks: list[float] = []
    for program in (*ours, *theirs[:1]):
        with Contestant(program) as contestant:
            versions |= contestant.ask("about")
            if program in ours:
                peaks.append(contestant.ask("gemm", clock=extent.length.clock)["gflops"])
    return Surroundings(
        gemm_peak_gflops=max(peaks),
        shards=_shards(ours[0], models, extent),
        machine=machine(),
        versions=versions,
        profile=PROFILE_DEFAULT,
        clock=extent.length.clock,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _shards(program: Program, models: Sequence[str], extent: Extent) -> dict[str, dict[str, Any]]:
    asked = {
        "batch": SHARDED_BATCH,
        "counts": SHARD_COUNTS,
        "rounds": extent.shard_rounds,
        "clock": extent.length.clock,
    }
    with Contestant(program) as contestant:
        seconds = {m: contestant.ask("shards", model=m, **asked)["seconds"] for m in models}
    return {
        model: {"batch": SHARDED_BATCH, "ms": {v: 1e3 * time for v, time in found.items()}}
        for model, found in seconds.items()
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one case, shortly: does it run?")
    parser.add_argument(
        "--model", action="append", help="only cases of this model; may be given again"
    )
    parser.add_argument("--rounds", type=int, help="how often every contestant's turn comes")
    parser.add_argument("--core", type=int, help="the core to measure on; the last one if left out")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="whose seconds count")
    parser.add_argument("--no-native", action="store_true", help="without the profile of this CPU")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="the JSON file to write")
    return parser.parse_args()


def _extent(options: argparse.Namespace) -> Extent:
    whole = QUICK if options.quick else FULL
    cases = tuple(c for c in whole.cases if not options.model or c.model in options.model)
    rounds = options.rounds or whole.length.rounds
    length = Length(rounds, whole.length.burst_seconds, options.clock)
    return Extent(cases, length, options.rounds or whole.shard_rounds)


def main() -> None:
    """Measures, prints, writes."""
    options, console = _options(), Console()
    console.width = max(console.width, _WIDTH)
    take_core(options.core)
    ours = programs.gradloom(native=not options.no_native)
    torch = programs.find_torch(os.environ)
    theirs = programs.pytorch(torch, compiled=not options.no_compile)
    rows = tuple(measure(_extent(options), ours, theirs, Console(stderr=True)))
    show(rows, console)
    text = json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
    options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
