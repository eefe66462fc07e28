"""The matrix products of dense layers by our kernels and by OpenBLAS, on one core.

Shapes are those of the models of peers.md as two workers of four shards have them. Run as
`make bench-products`. Writes results/products.json.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import ROOT, Contestant, Program
from benchmarks.machine import machine, take_core
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

# Rows of a shard or of two, inputs, units.
_SHAPES = (
    (16, 784, 512),
    (64, 784, 512),
    (128, 784, 512),
    (128, 512, 256),
    (256, 784, 512),
    (256, 128, 512),
    (256, 512, 128),
    (1024, 128, 384),
    (1024, 128, 512),
    (1024, 512, 128),
)
PRODUCTS = ("forward", "towards inputs", "towards weights")


@dataclass(frozen=True, slots=True)
class Row:
    """GFLOP/s of a tile alone, and the shares of it that products come to: ours and BLAS's."""

    rows: int
    inputs: int
    units: int
    core: float
    shares: dict[str, float]


def measure(shapes: tuple[tuple[int, int, int], ...], rounds: int) -> tuple[Row, ...]:
    """One shape after the other; raises ContestantFailed."""
    command = (sys.executable, "-m", "benchmarks.factors")
    program = Program("gradloom", command, environment(PROFILE_DEFAULT, os.environ))
    with Contestant(program) as contestant:
        return tuple(_row(contestant, shape, rounds) for shape in shapes)


def _row(contestant: Contestant, shape: tuple[int, int, int], rounds: int) -> Row:
    rows, inputs, units = shape
    found = contestant.ask("products", rows=rows, inputs=inputs, units=units, rounds=rounds)
    return Row(rows, inputs, units, found["core"], found["shares"])


def show(measured: tuple[Row, ...], console: Console) -> None:
    """Prints what was measured."""
    title = "Of what a core can do: ours / OpenBLAS (medians)"
    table = Table("rows", "inputs", "units", "GFLOP/s", *PRODUCTS, title=title)
    for row in measured:
        shares = [f"{row.shares[n]:.2f} / {row.shares[f'{n} by BLAS']:.2f}" for n in PRODUCTS]
        table.add_row(*map(str, (row.rows, row.inputs, row.units)), f"{row.core:.0f}", *shares)
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one shape, shortly: does it run?")
    parser.add_argument("--core", type=int, help="the core to measure on; the last one if left out")
    parser.add_argument("--output", type=Path, default=ROOT, help="the folder to write below")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, writes."""
    options = _options()
    take_core(options.core)
    measured = measure(_SHAPES[:1], 3) if options.quick else measure(_SHAPES, 200)
    show(measured, Console())
    path = options.output / "benchmarks/results/products.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "rows": [asdict(row) for row in measured]}
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
