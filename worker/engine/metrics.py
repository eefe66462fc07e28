"""What is counted while a model is measured, and what the counts say. Needs no NumPy.

Statistics are sums over rows, so that those of several shards may be added. The first is what the
sums of loss and gradient are divided by at the end: the rows, or what their labels weigh. An
evaluation counts more than training does: its statistics go on with what MEASURES counts.
"""

import math
from collections.abc import Callable, Mapping

from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    Joint,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Target,
)

Statistics = tuple[float, ...]

# A label counts as found among so many classes, where there are more of them.
TOP = 5

# Into so many bins the scores of each side are counted for the area under the ROC curve.
SCORE_BINS = 512
# Targets of more numbers than this have no R², which takes three sums for each.
MOST_EXPLAINED = 64

_REGRESSION = ("divisor", "loss", "squared_error", "absolute_error")

# The order of a loss's statistics; the divisor comes first, the loss second.
STATISTICS: dict[type[Loss], tuple[str, ...]] = {
    SoftmaxCrossEntropy: ("divisor", "loss", "rows", "correct", "correct_in_top"),
    MeanSquaredError: _REGRESSION,
    BinaryCrossEntropy: ("divisor", "loss", "correct"),
    MeanAbsoluteError: _REGRESSION,
    Huber: _REGRESSION,
    KlDivergence: ("divisor", "loss"),
}

# The statistics, always at the end, that only some targets have.
_ONLY_FOR: dict[str, Callable[[Target], bool]] = {
    "correct_in_top": lambda target: target.classes > TOP,
}


def _explained(target: Target) -> int:
    outputs = math.prod(target.shape)
    return 3 * outputs if outputs <= MOST_EXPLAINED else 0


# How many sums an evaluation adds to a loss's statistics.
MEASURES: dict[type[Loss], Callable[[Target], int]] = {
    MeanSquaredError: _explained,
    BinaryCrossEntropy: lambda _target: 2 * SCORE_BINS,
    MeanAbsoluteError: _explained,
    Huber: _explained,
}


# The statistics of a loss that every target has, beside divisor and loss.
_ALWAYS: dict[type[Loss], tuple[str, ...]] = {
    kind: tuple(name for name in names if name not in _ONLY_FOR)
    for kind, names in STATISTICS.items()
}


def kept_statistics(loss: Loss, statistics: Statistics) -> Statistics:
    """What is kept of the statistics of a part of a joint loss."""
    return statistics[: len(_ALWAYS[type(loss)])]


def statistics_of(loss: Loss, target: Target) -> tuple[str, ...]:
    """What the numbers of a Statistics tuple are."""
    if isinstance(loss, Joint):
        parts = (
            f"{part.output}.{name}" for part in loss.parts for name in _ALWAYS[type(part.loss)]
        )
        return ("divisor", "loss", *parts)
    return tuple(
        name for name in STATISTICS[type(loss)] if name not in _ONLY_FOR or _ONLY_FOR[name](target)
    )


def measures_of(loss: Loss, target: Target) -> int:
    """How many numbers follow the statistics where a model is evaluated."""
    return MEASURES[type(loss)](target) if type(loss) in MEASURES else 0


def divisor(statistics: Statistics) -> float:
    """What makes a mean of the summed gradient; 1 where no row weighs anything, nor adds to it."""
    return statistics[0] or 1.0


def summarize(loss: Loss, statistics: Statistics) -> dict[str, float]:
    """Means over the rows by the names people know; NaN where there are no rows."""
    if isinstance(loss, Joint):
        return _summarize_parts(loss, statistics)
    names = STATISTICS[type(loss)]
    sums = dict(zip(names, statistics, strict=False))
    measures = statistics[len(names) :]
    return {
        "loss": _ratio(sums["loss"], sums["divisor"]),
        **_SUMMARIES.get(type(loss), _nothing_more)(sums),
        **(_MEASURED[type(loss)](sums, measures) if measures else {}),
    }


def _summarize_parts(joint: Joint, statistics: Statistics) -> dict[str, float]:
    """The joint loss, and each part's own means under its output's name: digit_accuracy."""
    summary = {"loss": _ratio(statistics[1], statistics[0])}
    begin = 2
    for part in joint.parts:
        end = begin + len(_ALWAYS[type(part.loss)])
        own = summarize(part.loss, statistics[begin:end])
        summary |= {f"{part.output}_{name}": value for name, value in own.items()}
        begin = end
    return summary


def _ratio(total: float, count: float) -> float:
    return total / count if count else math.nan


def _nothing_more(_sums: Mapping[str, float]) -> dict[str, float]:
    return {}


def _classes(sums: Mapping[str, float]) -> dict[str, float]:
    """Perplexity is exp(loss), at most the largest number there is."""
    loss, rows = _ratio(sums["loss"], sums["divisor"]), sums["rows"]
    summary = {"accuracy": _ratio(sums["correct"], rows)}
    if "correct_in_top" in sums:
        summary[f"top_{TOP}_accuracy"] = _ratio(sums["correct_in_top"], rows)
    return {**summary, "perplexity": math.exp(min(loss, 709.0))}


def _sides(sums: Mapping[str, float]) -> dict[str, float]:
    return {"accuracy": _ratio(sums["correct"], sums["divisor"])}


def _regression(sums: Mapping[str, float]) -> dict[str, float]:
    rows = sums["divisor"]
    squared = _ratio(sums["squared_error"], rows)
    return {"rmse": math.sqrt(squared), "mae": _ratio(sums["absolute_error"], rows)}


_SUMMARIES: dict[type[Loss], Callable[[Mapping[str, float]], dict[str, float]]] = {
    SoftmaxCrossEntropy: _classes,
    MeanSquaredError: _regression,
    BinaryCrossEntropy: _sides,
    MeanAbsoluteError: _regression,
    Huber: _regression,
}


# A variance this small beside the mean square it is a difference of is all rounding.
_ROUNDING = 1e-12


def _r2(sums: Mapping[str, float], measures: Statistics) -> dict[str, float]:
    """The share of the variance that is explained, its mean over the outputs that vary."""
    outputs, rows = len(measures) // 3, sums["divisor"]
    totals, squares, errors = (measures[part * outputs : (part + 1) * outputs] for part in range(3))
    spreads = [
        _ratio(square, rows) - _ratio(total, rows) ** 2
        for total, square in zip(totals, squares, strict=True)
    ]
    explained = [
        1 - _ratio(error, rows) / spread
        for error, spread, square in zip(errors, spreads, squares, strict=True)
        if spread > _ROUNDING * _ratio(square, rows)
    ]
    return {"r2": _ratio(math.fsum(explained), len(explained))}


def _roc_auc(_sums: Mapping[str, float], measures: Statistics) -> dict[str, float]:
    """The share of pairs of a positive and a negative whose positive has the higher score.

    Pairs within a bin count half, so the error is at most half their share. The measures are the
    negatives of each bin, then the positives, by rising score.
    """
    negatives, positives = measures[:SCORE_BINS], measures[SCORE_BINS:]
    below = won = 0.0
    for negative, positive in zip(negatives, positives, strict=True):
        won += positive * (below + negative / 2)
        below += negative
    return {"roc_auc": _ratio(won, below * sum(positives))}


_MEASURED: dict[type[Loss], Callable[[Mapping[str, float], Statistics], dict[str, float]]] = {
    MeanSquaredError: _r2,
    BinaryCrossEntropy: _roc_auc,
    MeanAbsoluteError: _r2,
    Huber: _r2,
}
