"""The matrix products of dense layers by our kernels and by OpenBLAS, on one core.

Shapes are those of the models of peers.md as two workers of four shards have them. Run as
`make bench-products`. Writes results/products.json.
"""

import os
import sys
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import Contestant, Program
from benchmarks.machine import machine
from benchmarks.one_core import options, write
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


def main() -> None:
    """Measures, prints, writes."""
    asked = options(__doc__, "one shape")
    measured = measure(_SHAPES[:1], 3) if asked.quick else measure(_SHAPES, 200)
    show(measured, Console())
    found = {"machine": machine(), "rows": [asdict(row) for row in measured]}
    write(asked.output, "products", found)


if __name__ == "__main__":
    main()
