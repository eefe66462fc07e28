"""The comparison as people read it: a table for two members, one for crowds on the same cores."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.exchange_rows import Row

_CROWD = "time-shared"


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints what was measured."""
    console.width = max(console.width, 124)
    pairs = [row for row in rows if not row.place.startswith(_CROWD)]
    crowds = [row for row in rows if row.place.startswith(_CROWD)]
    console.print(_pairs(pairs))
    console.print(_crowds(crowds))
    for sentence in sentences(pairs):
        console.print(sentence, highlight=False)


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """What is held to the targets."""
    if all(row.ratio is None for row in rows):
        yield "PyTorch was not there: set TORCH_PYTHON or make .venv-torch (see README.md)."
    for row in rows:
        if row.ratio is not None and abs(row.megabytes - 2.1) < 0.01:
            best = _number(row.ratio_best)
            yield f"{row.place}, 2.1 MB: {row.ratio:.1f} × as fast as Gloo (best steps: {best})"
        if row.share_of_limit is not None and row.megabytes > 39:
            yield f"{row.place}, 40 MB: {row.share_of_limit:.0%} of what copying allows"


def _pairs(rows: Sequence[Row]) -> Table:
    title = "Sum + Adam + broadcast, two members, milliseconds (best)"
    columns = ("place", "MB", "ours", "Gloo + Adam", "all-reduce", "ratio (quartiles)", "limit")
    table = Table(*columns, "share", "agreement, µs", title=title)
    for row in rows:
        table.add_row(
            row.place,
            f"{row.megabytes:g}",
            _with_best(row.ours_ms, row.ours_best_ms),
            _with_best(row.gloo_ms, row.gloo_best_ms),
            _number(row.gloo_all_reduce_ms),
            f"{_number(row.ratio)} ({_number(row.ratio_low)}–{_number(row.ratio_high)})",
            _number(row.limit_ms),
            "–" if row.share_of_limit is None else f"{row.share_of_limit:.0%}",
            f"{row.agreement_us:.0f}",
        )
    return table


def _crowds(rows: Sequence[Row]) -> Table:
    title = "Members on the same cores: milliseconds, and what all of them send in a step"
    columns = ("place", "workers", "cells", "MB", "ours", "processor", "frames (design)")
    table = Table(*columns, "MB sent (design)", title=title)
    for row in rows:
        table.add_row(
            row.place.removeprefix(f"{_CROWD}, "),
            str(row.workers),
            str(row.cells),
            f"{row.megabytes:g}",
            _with_best(row.ours_ms, row.ours_best_ms),
            _number(row.processor_ms),
            f"{row.frames_per_step:.0f} ({row.frames_by_design})",
            f"{row.bytes_per_step / 1e6:.2f} ({row.bytes_by_design / 1e6:.2f})",
        )
    return table


def _with_best(value: float | None, best: float | None) -> str:
    return f"{_number(value)} ({_number(best)})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
