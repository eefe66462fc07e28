"""The losses that compare number by number: squared, absolute, Huber, and binary cross-entropy.

N stands for rows, J for the numbers a row puts out.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from typing import TypeVar

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer
from gradloom.worker.engine.loss import LossCall, LossRule, matrix, numbers, summed
from gradloom.worker.engine.metrics import MOST_EXPLAINED, SCORE_BINS, Statistics
from gradloom.worker.engine.numerics import sigmoid, softplus
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Target,
)

D = TypeVar("D", MeanSquaredError, MeanAbsoluteError, Huber)

# Beyond it all scores are one.
_LARGEST_LOGIT = 1e6


def _scratch(outputs: int, _target: Target) -> tuple[Buffer, ...]:
    """Two arrays like the output, and one of float64."""
    return Buffer((outputs,)), Buffer((outputs,)), Buffer((outputs,), np.float64)


def _sums(call: LossCall[D]) -> tuple[float, ...]:
    """Leaves p - t in the first scratch array; sums over rows of mean (p - t)², of mean |p - t|."""
    z_NJ, t_NJ = matrix(call.output), matrix(call.target)
    error_NJ, other_NJ, wide_NJ = call.scratch
    outputs = z_NJ.shape[1]
    np.subtract(z_NJ, t_NJ, out=error_NJ)
    np.multiply(error_NJ, error_NJ, out=other_NJ)
    squared = summed(other_NJ, wide_NJ) / outputs
    np.abs(error_NJ, out=other_NJ)
    absolute = summed(other_NJ, wide_NJ) / outputs
    return squared, absolute


def _spread(call: LossCall[D]) -> Statistics:
    """Sums over rows of every output's t, then of t², then of (p - t)²; none of too many."""
    error_NJ, _, wide_NJ = call.scratch
    if wide_NJ.shape[1] > MOST_EXPLAINED:
        return ()
    return _moments(matrix(call.target), error_NJ, wide_NJ)


def _moments(t_NJ: Array, error_NJ: Array, wide_NJ: Array) -> Statistics:
    np.copyto(wide_NJ, t_NJ)
    totals = _by_output(wide_NJ)
    np.multiply(wide_NJ, wide_NJ, out=wide_NJ)
    squares = _by_output(wide_NJ)
    np.copyto(wide_NJ, error_NJ)
    np.multiply(wide_NJ, wide_NJ, out=wide_NJ)
    return (*totals, *squares, *_by_output(wide_NJ))


def _by_output(wide_NJ: Array) -> Statistics:
    """Sums over the rows."""
    return tuple(map(float, np.add.reduce(wide_NJ, axis=0)))


def _squared(call: LossCall[MeanSquaredError]) -> Statistics:
    squared, absolute = _sums(call)
    return float(len(call.output)), squared, squared, absolute


def _squared_vjp(call: LossCall[MeanSquaredError]) -> None:
    """2 (p - t) / J."""
    error_NJ = call.scratch[0]
    np.multiply(error_NJ, 2 / error_NJ.shape[1], out=matrix(call.output_gradient))


def _absolute(call: LossCall[MeanAbsoluteError]) -> Statistics:
    squared, absolute = _sums(call)
    return float(len(call.output)), absolute, squared, absolute


def _absolute_vjp(call: LossCall[MeanAbsoluteError]) -> None:
    """sign(p - t) / J, 0 where they are equal."""
    error_NJ, dz_NJ = call.scratch[0], matrix(call.output_gradient)
    np.sign(error_NJ, out=dz_NJ)
    np.multiply(dz_NJ, 1 / error_NJ.shape[1], out=dz_NJ)


def _huber(call: LossCall[Huber]) -> Statistics:
    """c (e - c / 2), with e = p - t, and c being e cut off at ±delta."""
    sums = _sums(call)
    error_NJ, other_NJ, wide_NJ = call.scratch
    _cut_off(error_NJ, call.loss.delta, wide_NJ)
    np.multiply(wide_NJ, -0.5, out=other_NJ)
    np.add(other_NJ, error_NJ, out=other_NJ)
    np.multiply(wide_NJ, other_NJ, out=wide_NJ)
    loss = float(np.add.reduce(wide_NJ.reshape(-1))) / error_NJ.shape[1]
    return float(len(call.output)), loss, *sums


def _huber_vjp(call: LossCall[Huber]) -> None:
    """(p - t) cut off at ±delta, over J."""
    error_NJ, dz_NJ = call.scratch[0], matrix(call.output_gradient)
    _cut_off(error_NJ, call.loss.delta, dz_NJ)
    np.multiply(dz_NJ, 1 / error_NJ.shape[1], out=dz_NJ)


def _cut_off(error: Array, delta: float, out: Array) -> None:
    np.minimum(error, delta, out=out)
    np.maximum(out, -delta, out=out)


def _binary(call: LossCall[BinaryCrossEntropy]) -> Statistics:
    """Sums over rows of mean softplus(z) - z t, and of the share of outputs on the right side."""
    z_NJ, t_NJ = matrix(call.output), matrix(call.target)
    first_NJ, second_NJ, wide_NJ, _, right_NJ, side_NJ = call.scratch
    softplus(z_NJ, first_NJ, second_NJ)
    np.multiply(z_NJ, t_NJ, out=second_NJ)
    np.subtract(first_NJ, second_NJ, out=first_NJ)
    np.greater(z_NJ, 0, out=right_NJ)
    np.greater(t_NJ, 0.5, out=side_NJ)
    np.equal(right_NJ, side_NJ, out=right_NJ)
    rows, outputs = z_NJ.shape
    correct = float(np.count_nonzero(right_NJ)) / outputs
    return float(rows), summed(first_NJ, wide_NJ) / outputs, correct


def _binary_vjp(call: LossCall[BinaryCrossEntropy]) -> None:
    """(σ(z) - t) / J."""
    z_NJ, t_NJ = matrix(call.output), matrix(call.target)
    first_NJ, second_NJ, *_ = call.scratch
    sigmoid(z_NJ, first_NJ, second_NJ)
    np.subtract(first_NJ, t_NJ, out=first_NJ)
    np.multiply(first_NJ, 1 / z_NJ.shape[1], out=matrix(call.output_gradient))


def _binary_scratch(outputs: int, target: Target) -> tuple[Buffer, ...]:
    """Those of a distance, one of whole numbers, and two arrays of truth."""
    truth = Buffer((outputs,), np.bool_)
    return *_scratch(outputs, target), Buffer((outputs,), np.int64), truth, truth


def _scores(call: LossCall[BinaryCrossEntropy]) -> Statistics:
    """How many scores of negatives, then of positives (t > 1/2), fall into each bin.

    Bins are equal parts of z / (2 + |z|), which rises with the logit z: near 0 they are 1/128
    wide, near ±5 a tenth, and no logit lies outside.
    """
    _, _, score_NJ, bins_NJ, _, side_NJ = call.scratch
    size_NJ = bins_NJ.view(np.float64)
    np.copyto(score_NJ, matrix(call.output))
    np.clip(score_NJ, -_LARGEST_LOGIT, _LARGEST_LOGIT, out=score_NJ)
    np.abs(score_NJ, out=size_NJ)
    np.add(size_NJ, 2, out=size_NJ)
    np.divide(score_NJ, size_NJ, out=score_NJ)
    np.add(score_NJ, 1, out=score_NJ)
    np.multiply(score_NJ, SCORE_BINS / 2, out=score_NJ)
    np.copyto(bins_NJ, score_NJ, casting="unsafe")
    # What is not a number becomes a whole one far outside.
    np.clip(bins_NJ, 0, SCORE_BINS - 1, out=bins_NJ)
    np.add(bins_NJ, SCORE_BINS, out=bins_NJ, where=side_NJ)
    counts = np.bincount(bins_NJ.reshape(-1), minlength=2 * SCORE_BINS)
    return tuple(map(float, counts.tolist()))


MEAN_SQUARED_ERROR: LossRule[MeanSquaredError] = LossRule(
    _squared, _squared_vjp, "numbers", numbers, _scratch, _spread
)
MEAN_ABSOLUTE_ERROR: LossRule[MeanAbsoluteError] = LossRule(
    _absolute, _absolute_vjp, "numbers", numbers, _scratch, _spread
)
HUBER: LossRule[Huber] = LossRule(_huber, _huber_vjp, "numbers", numbers, _scratch, _spread)
BINARY_CROSS_ENTROPY: LossRule[BinaryCrossEntropy] = LossRule(
    _binary, _binary_vjp, "numbers", numbers, _binary_scratch, _scores
)
