"""What a whole gradient costs, against finite differences: 10³ to 10⁶ parameters.

Run as `make bench-gradient`. Writes results/gradient_cost.json and draws docs/gradient-cost.png.
"""

import os
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import Contestant, Program
from benchmarks.differences import Cost
from benchmarks.gradient_plot import draw
from benchmarks.machine import machine
from benchmarks.one_core import options, write
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


def main() -> None:
    """Measures, prints, writes, draws."""
    asked = options(__doc__, "two sizes")
    costs = measure(_QUICK_SIZES, 0.05) if asked.quick else measure(_SIZES, 3.0)
    show(costs, Console())
    found = {"machine": machine(), "costs": [asdict(cost) for cost in costs]}
    write(asked.output, "gradient_cost", found)
    plot = asked.output / "docs/gradient-cost.png"
    plot.parent.mkdir(parents=True, exist_ok=True)
    draw(costs, plot)


if __name__ == "__main__":
    main()
