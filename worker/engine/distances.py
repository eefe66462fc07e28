"""The losses that compare number by number: squared, absolute, Huber, and binary cross-entropy.

N stands for rows, J for the numbers a row puts out.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from typing import TypeVar

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer
from gradloom.worker.engine.loss import LossCall, LossRule, matrix, numbers, summed
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.numerics import sigmoid, softplus
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Target,
)

D = TypeVar("D", MeanSquaredError, MeanAbsoluteError, Huber)


def _scratch(outputs: int, _target: Target) -> tuple[Buffer, ...]:
    """Two arrays like the output, and one of float64."""
    return Buffer((outputs,)), Buffer((outputs,)), Buffer((outputs,), np.float64)


def _sums(call: LossCall[D]) -> tuple[float, ...]:
    """Leaves p - t in the first scratch array; sums over rows of mean (p - t)², of mean |p - t|.

    Where a row is one number, those of t and t² follow.
    """
    z_NJ, t_NJ = matrix(call.output), matrix(call.target)
    error_NJ, other_NJ, wide_NJ = call.scratch
    outputs = z_NJ.shape[1]
    np.subtract(z_NJ, t_NJ, out=error_NJ)
    np.multiply(error_NJ, error_NJ, out=other_NJ)
    squared = summed(other_NJ, wide_NJ) / outputs
    np.abs(error_NJ, out=other_NJ)
    absolute = summed(other_NJ, wide_NJ) / outputs
    spread: tuple[float, ...] = _spread(t_NJ, wide_NJ) if outputs == 1 else ()
    return squared, absolute, *spread


def _spread(t_NJ: Array, wide_NJ: Array) -> tuple[float, float]:
    total = summed(t_NJ, wide_NJ)
    np.multiply(wide_NJ, wide_NJ, out=wide_NJ)
    return total, float(np.add.reduce(wide_NJ.reshape(-1)))


def _squared(call: LossCall[MeanSquaredError]) -> Statistics:
    squared, *others = _sums(call)
    return float(len(call.output)), squared, squared, *others


def _squared_vjp(call: LossCall[MeanSquaredError]) -> None:
    """2 (p - t) / J."""
    error_NJ = call.scratch[0]
    np.multiply(error_NJ, 2 / error_NJ.shape[1], out=matrix(call.output_gradient))


def _absolute(call: LossCall[MeanAbsoluteError]) -> Statistics:
    squared, absolute, *others = _sums(call)
    return float(len(call.output)), absolute, squared, absolute, *others


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
    first_NJ, second_NJ, wide_NJ, right_NJ, side_NJ = call.scratch
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
    """Those of a distance, and two arrays of truth."""
    return *_scratch(outputs, target), Buffer((outputs,), np.bool_), Buffer((outputs,), np.bool_)


MEAN_SQUARED_ERROR: LossRule[MeanSquaredError] = LossRule(
    _squared, _squared_vjp, "numbers", numbers, _scratch
)
MEAN_ABSOLUTE_ERROR: LossRule[MeanAbsoluteError] = LossRule(
    _absolute, _absolute_vjp, "numbers", numbers, _scratch
)
HUBER: LossRule[Huber] = LossRule(_huber, _huber_vjp, "numbers", numbers, _scratch)
BINARY_CROSS_ENTROPY: LossRule[BinaryCrossEntropy] = LossRule(
    _binary, _binary_vjp, "numbers", numbers, _binary_scratch
)
