"""What is counted while a model is measured, and what the counts say. Needs no NumPy.

Statistics are sums over rows, so that those of several shards may be added.
"""

import math
from collections.abc import Callable

from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Loss,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)

Statistics = tuple[float, ...]

# The order of a loss's statistics; rows come first, the loss second.
STATISTICS: dict[type[Loss], tuple[str, ...]] = {
    SoftmaxCrossEntropy: ("rows", "loss", "correct"),
    MeanSquaredError: ("rows", "loss", "absolute_error"),
    BinaryCrossEntropy: ("rows", "loss", "correct"),
}


def summarize(loss: Loss, statistics: Statistics) -> dict[str, float]:
    """Means over the rows by the names people know; NaN where there are no rows."""
    rows, *sums = statistics
    means = (total / rows if rows else math.nan for total in sums)
    return _SUMMARIES[type(loss)](*means)


def _classification(loss: float, correct: float) -> dict[str, float]:
    return {"loss": loss, "accuracy": correct}


def _regression(loss: float, absolute_error: float) -> dict[str, float]:
    return {"loss": loss, "rmse": math.sqrt(loss), "mae": absolute_error}


_SUMMARIES: dict[type[Loss], Callable[..., dict[str, float]]] = {
    SoftmaxCrossEntropy: _classification,
    MeanSquaredError: _regression,
    BinaryCrossEntropy: _classification,
}
