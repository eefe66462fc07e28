"""What a loss comes to for the best answer that looks at no input: what learning has to beat."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array, size
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

_MOST_ROWS = 100_000


def constant_loss(loss: Loss, targets: Array, target: Target | None = None) -> float | None:
    """The mean loss of one and the same answer to every row, the best there is.

    A joint loss needs to know what its targets' columns are.

    Of many rows evenly spaced ones are looked at. None where no row counts. Huber's best answer
    has no formula: the better of mean and median stands for it.
    """
    if isinstance(loss, Joint):
        return _joint(loss, targets, target)
    few = targets[:: max(1, len(targets) // _MOST_ROWS)]
    return _CONSTANT[type(loss)](loss, few) if few.size else None


def _joint(loss: Joint, targets: Array, target: Target | None) -> float | None:
    """The parts' losses times their weights; None where one of them has none."""
    total, begin = 0.0, 0
    for part, its_target in zip(loss.parts, target.parts if target else (), strict=True):
        end = begin + size(its_target.shape)
        answers = targets[:, begin:end].reshape(len(targets), *its_target.shape)
        labels = its_target.kind == "labels"
        found = constant_loss(part.loss, answers.astype(np.int64) if labels else answers)
        if found is None:
            return None
        total, begin = total + part.weight * found, end
    return total


def _entropy(shares: Array) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def _cross_entropy(loss: SoftmaxCrossEntropy, labels: Array) -> float | None:
    """The entropy of the truths' weights: each label's own, and what smoothing spreads."""
    kept = labels[labels != (-1 if loss.ignore_index is None else loss.ignore_index)]
    if not kept.size:
        return None
    counts = np.bincount(kept.reshape(-1), minlength=len(loss.class_weights)).astype(float)
    weights = np.array(loss.class_weights or np.ones(len(counts)))
    spread = loss.label_smoothing
    truths = weights * ((1 - spread) * counts + spread * counts.sum() / len(counts))
    divisor, total = float(weights @ counts), float(truths.sum())
    return total * _entropy(truths / total) / divisor if divisor and total else None


def _squared_error(_loss: MeanSquaredError, targets: Array) -> float:
    return float(targets.var(axis=0, dtype=float).mean())


def _absolute_error(_loss: MeanAbsoluteError, targets: Array) -> float:
    return float(np.abs(targets - np.median(targets, axis=0)).mean(dtype=float))


def _huber(loss: Huber, targets: Array) -> float:
    answers = targets.mean(axis=0, dtype=float), np.median(targets, axis=0)
    return min(_huber_of(np.abs(targets - answer), loss.delta) for answer in answers)


def _huber_of(error: Array, delta: float) -> float:
    small = np.minimum(error, delta)
    return float((small * (error - small / 2)).mean(dtype=float))


def _binary_cross_entropy(_loss: BinaryCrossEntropy, targets: Array) -> float:
    shares = targets.reshape(len(targets), -1).mean(axis=0, dtype=float)
    return float(np.mean([_entropy(np.array([share, 1 - share])) for share in shares]))


def _divergence(_loss: KlDivergence, targets: Array) -> float:
    """The entropy of the mean less the mean entropy, a mean over positions."""
    truths = targets.reshape(len(targets), -1, targets.shape[-1]).astype(float)
    positions = [truths[:, place] for place in range(truths.shape[1])]
    gains = [_entropy(each.mean(axis=0)) - _entropy(each) / len(each) for each in positions]
    return sum(gains) / len(gains)


# Any: each takes its own loss's description.
_CONSTANT: Mapping[type[Loss], Callable[[Any, Array], float | None]] = {
    SoftmaxCrossEntropy: _cross_entropy,
    MeanSquaredError: _squared_error,
    BinaryCrossEntropy: _binary_cross_entropy,
    MeanAbsoluteError: _absolute_error,
    Huber: _huber,
    KlDivergence: _divergence,
}
