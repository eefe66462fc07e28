"""The losses as a table: what they accept, their sum over rows, and its gradient.

N stands for rows, C for classes, J for the numbers a row puts out.
"""

# Capital letters in names are axes.
# ruff: noqa: N806

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Labels, Shape, fits, size, text
from gradloom.worker.engine.numerics import sigmoid, softplus
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Loss,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Target,
)


@dataclass(frozen=True, slots=True)
class LossCall:
    """A loss's arrays for one number of rows; scratch lasts from the forward pass to the vjp."""

    row_numbers: Labels
    output: Array
    target: Array
    scratch: tuple[Array, ...]
    output_gradient: Array


@dataclass(frozen=True, slots=True)
class LossRule:
    """The rules of one loss.

    forward returns the sums over rows of the loss and of its second statistic. vjp, called after
    it, writes the gradient of the summed loss with respect to the model's output.
    """

    forward: Callable[[LossCall], tuple[float, float]]
    vjp: Callable[[LossCall], None]
    target: str
    wanted: Callable[[Target], Shape]
    scratch: Callable[[int], tuple[Buffer, ...]]


def fits_target(rule: LossRule, output: Shape, target: Target) -> bool:
    """Whether a model's output has the shape the loss wants, or its numbers in one line."""
    wanted = rule.wanted(target)
    return fits(output, wanted) or fits(output, (size(wanted),))


def describe_target(target: Target) -> str:
    """The target as the subject of a sentence."""
    if target.kind == "labels":
        return f"The data has {target.classes} classes"
    if target.shape == ():
        return "The target is one number a row"
    return f"The target has shape {text(target.shape)}"


def _classes(target: Target) -> Shape:
    return (target.classes,)


def _numbers(target: Target) -> Shape:
    return target.shape


def _cross_entropy_scratch(classes: int) -> tuple[Buffer, ...]:
    """Probabilities; a column and its float64 form; places of the labels; best classes; hits."""
    return (
        Buffer((classes,)),
        Buffer((1,)),
        Buffer((), np.float64),
        Buffer((), np.int64),
        Buffer((), np.int64),
        Buffer((), np.bool_),
    )


def _cross_entropy(call: LossCall) -> tuple[float, float]:
    """Sums of log Σ exp(z - max z) - (z[label] - max z), and of hits."""
    probabilities_NC, column_N1, wide_N, places_N, best_N, hits_N = call.scratch
    np.multiply(call.row_numbers, call.output.shape[1], out=places_N)
    np.add(places_N, call.target, out=places_N)
    np.maximum.reduce(call.output, axis=1, keepdims=True, out=column_N1)
    np.subtract(call.output, column_N1, out=probabilities_NC)
    np.take(probabilities_NC.reshape(-1), places_N, mode="clip", out=column_N1.reshape(-1))
    chosen = _sum(column_N1, wide_N)
    np.exp(probabilities_NC, out=probabilities_NC)
    np.add.reduce(probabilities_NC, axis=1, keepdims=True, out=column_N1)
    np.divide(probabilities_NC, column_N1, out=probabilities_NC)
    np.log(column_N1, out=column_N1)
    np.argmax(call.output, axis=1, out=best_N)
    np.equal(best_N, call.target, out=hits_N)
    return _sum(column_N1, wide_N) - chosen, float(np.count_nonzero(hits_N))


def _cross_entropy_vjp(call: LossCall) -> None:
    """softmax(z) - 1 at the label."""
    probabilities_NC, column_N1, _, places_N, _, _ = call.scratch
    column_N = column_N1.reshape(-1)
    np.copyto(call.output_gradient, probabilities_NC)
    np.take(probabilities_NC.reshape(-1), places_N, mode="clip", out=column_N)
    np.subtract(column_N, 1, out=column_N)
    np.put(call.output_gradient, places_N, column_N, mode="clip")


def _pair_scratch(size: int) -> tuple[Buffer, ...]:
    """Two arrays like the output, and one of float64."""
    return Buffer((size,)), Buffer((size,)), Buffer((size,), np.float64)


def _squared(call: LossCall) -> tuple[float, float]:
    """Sums over rows of mean (p - t)² and of mean |p - t|."""
    z_NJ, t_NJ = _matrix(call.output), _matrix(call.target)
    error_NJ, other_NJ, wide_NJ = call.scratch
    np.subtract(z_NJ, t_NJ, out=error_NJ)
    np.multiply(error_NJ, error_NJ, out=other_NJ)
    squares = _sum(other_NJ, wide_NJ)
    np.abs(error_NJ, out=other_NJ)
    outputs = z_NJ.shape[1]
    return squares / outputs, _sum(other_NJ, wide_NJ) / outputs


def _squared_vjp(call: LossCall) -> None:
    """2 (p - t) / J."""
    error_NJ = call.scratch[0]
    np.multiply(error_NJ, 2 / error_NJ.shape[1], out=_matrix(call.output_gradient))


def _binary(call: LossCall) -> tuple[float, float]:
    """Sums over rows of mean softplus(z) - z t, and of the share of outputs on the right side."""
    z_NJ, t_NJ = _matrix(call.output), _matrix(call.target)
    first_NJ, second_NJ, wide_NJ, right_NJ, side_NJ = call.scratch
    softplus(z_NJ, first_NJ, second_NJ)
    np.multiply(z_NJ, t_NJ, out=second_NJ)
    np.subtract(first_NJ, second_NJ, out=first_NJ)
    np.greater(z_NJ, 0, out=right_NJ)
    np.greater(t_NJ, 0.5, out=side_NJ)
    np.equal(right_NJ, side_NJ, out=right_NJ)
    outputs = z_NJ.shape[1]
    return _sum(first_NJ, wide_NJ) / outputs, float(np.count_nonzero(right_NJ)) / outputs


def _binary_vjp(call: LossCall) -> None:
    """(σ(z) - t) / J."""
    z_NJ, t_NJ = _matrix(call.output), _matrix(call.target)
    first_NJ, second_NJ, *_ = call.scratch
    sigmoid(z_NJ, first_NJ, second_NJ)
    np.subtract(first_NJ, t_NJ, out=first_NJ)
    np.multiply(first_NJ, 1 / z_NJ.shape[1], out=_matrix(call.output_gradient))


def _binary_scratch(size: int) -> tuple[Buffer, ...]:
    """Those of a pair, and two arrays of truth."""
    return *_pair_scratch(size), Buffer((size,), np.bool_), Buffer((size,), np.bool_)


def _sum(values: Array, wide: Array) -> float:
    """The sum of a contiguous array in float64; wide is scratch of its size."""
    np.copyto(wide.reshape(values.shape), values)
    return float(np.add.reduce(wide.reshape(-1)))


def _matrix(array: Array) -> Array:
    return array.reshape(array.shape[0], size(array.shape[1:]))


RULES: Mapping[type[Loss], LossRule] = {
    SoftmaxCrossEntropy: LossRule(
        _cross_entropy, _cross_entropy_vjp, "labels", _classes, _cross_entropy_scratch
    ),
    MeanSquaredError: LossRule(_squared, _squared_vjp, "numbers", _numbers, _pair_scratch),
    BinaryCrossEntropy: LossRule(_binary, _binary_vjp, "numbers", _numbers, _binary_scratch),
}
