"""What a whole gradient costs, against finite differences: 10³ to 10⁶ parameters.

Run as `make bench-gradient`. Writes results/gradient_cost.json and draws docs/gradient-cost.png.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import ROOT, Contestant, Program
from benchmarks.differences import Cost
from benchmarks.gradient_plot import draw
from benchmarks.machine import machine, take_core
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_QUICK_SIZES = (200, 1_000)


def measure(sizes: tuple[int, ...], seconds: float) -> tuple[Cost, ...]:
    """The costs by number of parameters; raises ContestantFailed."""
    command = (sys.executable, "-m", "benchmarks.differences")
    program = Program("gradloom", command, environment(PROFILE_DEFAULT, os.environ))
    with Contestant(program) as contestant:
        return tuple(
            Cost(**contestant.ask("cost", parameters=size, seconds=seconds)) for size in sizes
        )


def show(costs: tuple[Cost, ...], console: Console) -> None:
    """Prints what was measured."""
    columns = ("parameters", "forward", "value_and_grad", "differences", "taken", "ratio")
    table = Table(*columns, title="A whole gradient, milliseconds")
    for c in costs:
        taken = "–" if c.differences_taken_ms is None else f"{c.differences_taken_ms:,.0f}"
        passes = (f"{c.forward_ms:.3f}", f"{c.gradient_ms:.3f}", f"{c.differences_ms:,.0f}")
        table.add_row(f"{c.parameters:,}", *passes, taken, f"{c.ratio:,.0f}")
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, shortly: does it run?")
    parser.add_argument("--core", type=int, help="the core to measure on; the last one if left out")
    parser.add_argument("--output", type=Path, default=ROOT, help="the folder to write below")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, writes, draws."""
    options = _options()
    take_core(options.core)
    costs = measure(_QUICK_SIZES, 0.05) if options.quick else measure(_SIZES, 3.0)
    show(costs, Console())
    results, plot = (
        options.output / "benchmarks/results/gradient_cost.json",
        options.output / "docs/gradient-cost.png",
    )
    for path in (results, plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "costs": [asdict(cost) for cost in costs]}
    results.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    draw(costs, plot)


if __name__ == "__main__":
    main()
