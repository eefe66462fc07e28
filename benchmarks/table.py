"""The comparison as people read it: a table of the cases, one of the shards, and the means."""

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from rich.console import Console
from rich.table import Table

from benchmarks.cases import SHARD_COUNTS
from benchmarks.rows import Row

_COLUMNS = (
    "case",
    "ours",
    "native",
    "eager",
    "compile",
    "ratio (quartiles)",
    "GFLOP/s (of peak)",
    "bwd/fwd (torch)",
    "peak MB (torch)",
)


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints what was measured."""
    console.print(_cases(rows))
    console.print(_shards(rows))
    for sentence in sentences(rows):
        console.print(sentence, highlight=False)


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """The means, and what was not there to be measured."""
    compared = [(row.case, row.ratio) for row in rows if row.ratio is not None]
    if not compared:
        yield "PyTorch was not there: set TORCH_PYTHON or make .venv-torch (see README.md)."
        return
    for name in dict.fromkeys(case for case, _ in compared):
        mean = geometric_mean(ratio for case, ratio in compared if case == name)
        yield f"{name}: geometric mean of the ratios {mean:.2f}"
    yield f"all: geometric mean of the ratios {geometric_mean(r for _, r in compared):.2f}"


def _cases(rows: Sequence[Row]) -> Table:
    title = "One training step (forward, backward, Adam) on one core, milliseconds"
    table = Table(*_COLUMNS, title=title)
    for row in rows:
        table.add_row(
            f"{row.case} {row.batch}",
            _number(row.ours_ms),
            _number(row.ours_native_ms),
            _number(row.torch_eager_ms),
            _number(row.torch_compile_ms),
            _spread(row),
            f"{row.gflops:.0f} ({row.share_of_peak:.0%})",
            f"{row.backward_over_forward:.2f} ({_number(row.torch_backward_over_forward)})",
            f"{row.peak_memory_mb:.0f} ({_whole(row.torch_eager_peak_memory_mb)})",
        )
    return table


def _shards(rows: Sequence[Row]) -> Table:
    """One line a model: the same batch in more and more virtual shards."""
    table = Table("model", *(f"V = {count}" for count in SHARD_COUNTS), title="Virtual shards, ms")
    models = {row.case: row.virtual_shards for row in rows if row.virtual_shards}
    for model, shards in models.items():
        one = shards["ms"]["1"]
        cells = (f"{time:.1f} ({time / one - 1:+.0%})" for time in shards["ms"].values())
        table.add_row(f"{model} {shards['batch']}", *cells)
    return table


def _spread(row: Row) -> str:
    if row.ratio is None:
        return "–"
    return f"{row.ratio:.2f} ({_number(row.ratio_low)}–{_number(row.ratio_high)})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
