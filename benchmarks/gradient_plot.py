"""The plot of docs/gradient-cost.png: time and ratio by parameters, both axes logarithmic."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.differences import ROWS, Cost


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    times, ratios = figure.subplots(1, 2)
    _times(times, costs)
    _ratios(ratios, costs)
    figure.suptitle(f"The whole gradient of a dense network, a batch of {ROWS}, one core")
    # Without the version, the same figures make the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _times(axes: Axes, costs: Sequence[Cost]) -> None:
    taken = [(c.parameters, c.differences_taken_ms) for c in costs if c.differences_taken_ms]
    counts = [c.parameters for c in costs]
    estimate = [c.differences_ms for c in costs]
    axes.loglog(counts, estimate, "s--", color="C1", label="central differences, estimated")
    axes.loglog(*zip(*taken, strict=True), "kx", markersize=9, label="central differences, taken")
    axes.loglog(counts, [c.gradient_ms for c in costs], "o-", color="C0", label="value_and_grad")
    axes.set(title="Time", xlabel="parameters", ylabel="milliseconds")
    _finish(axes)


def _ratios(axes: Axes, costs: Sequence[Cost]) -> None:
    points = [(c.parameters, c.ratio) for c in costs]
    label = "central differences ÷ value_and_grad"
    axes.loglog(*zip(*points, strict=True), "o-", color="C2", label=label)
    axes.axhline(100, color="gray", linestyle=":", label="100 times")
    for point in points:
        axes.annotate(
            f"{point[1]:,.0f}", point, xytext=(7, -11), textcoords="offset points", fontsize=8
        )
    axes.margins(x=0.14)
    axes.set(title="How many times cheaper", xlabel="parameters", ylabel="ratio of times")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(visible=True, alpha=0.4)
    axes.set_ylim(top=axes.get_ylim()[1] * 6)
    axes.legend(loc="upper left", fontsize=9)
