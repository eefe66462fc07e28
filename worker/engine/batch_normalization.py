"""Batch normalisation (Ioffe and Szegedy, 2015): each channel over all rows of a shard.

N stands for the rows of a shard, P for positions, C for channels, M for N times P. Running means
of the mean and of the unbiased variance, as PyTorch keeps them, take their place in evaluation.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size, text
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    RunningMean,
    ShapeMismatch,
    Shapes,
    Weights,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import BatchNorm, Initializer


def _shape(_layer: BatchNorm, inputs: Shapes) -> Shape:
    if not inputs[0] or 0 in inputs[0]:
        sentence = f"batch_norm needs at least one number a row, gets {text(inputs[0])}: "
        raise ShapeMismatch(sentence + "add inputs.", inputs[0])
    return inputs[0]


def _weights(_layer: BatchNorm, inputs: Shapes) -> tuple[Weights, ...]:
    channels = inputs[0][-1]
    return (
        Weights("weight", (channels,), Initializer.ONES, channels, channels),
        Weights("bias", (channels,), Initializer.ZEROS, channels, channels),
    )


def _running(layer: BatchNorm, inputs: Shapes) -> tuple[RunningMean, ...]:
    shape = inputs[0][-1:]
    return (
        RunningMean("running_mean", shape, Initializer.ZEROS, layer.momentum),
        RunningMean("running_var", shape, Initializer.ONES, layer.momentum),
    )


def _flops(_layer: BatchNorm, inputs: Shapes) -> Flops:
    elements = size(inputs[0])
    return Flops(7 * elements, 5 * elements, 5 * elements)


def _saved(_layer: BatchNorm, inputs: Shapes) -> tuple[Buffer, ...]:
    """Mean, variance, and one over its root, of each channel."""
    return (Buffer(inputs[0][-1:], per_row=False),) * 3


def _scratch(_layer: BatchNorm, inputs: Shapes) -> tuple[Buffer, ...]:
    """Products, their sums over the positions of a row, and over the rows."""
    channels = inputs[0][-1:]
    return Buffer(inputs[0]), Buffer(channels), Buffer(channels, per_row=False)


def _forward(call: Call[BatchNorm], key: Key | None) -> None:
    if key is None:
        _set_scale(call, *call.buffers)
    else:
        _measure(call)
    mean, _, scale = call.saved
    weight, bias = call.parameters
    np.subtract(call.inputs[0], mean, out=call.output)
    np.multiply(call.output, scale, out=call.output)
    np.multiply(call.output, weight, out=call.output)
    np.add(call.output, bias, out=call.output)


def _measure(call: Call[BatchNorm]) -> None:
    """Mean and variance of the shard."""
    (x,), (product, partial, _) = call.inputs, call.scratch
    mean, variance, _ = call.saved
    count = x.size // x.shape[-1]
    _sum(x, partial, mean)
    np.divide(mean, count, out=mean)
    np.subtract(x, mean, out=product)
    np.multiply(product, product, out=product)
    _sum(product, partial, variance)
    np.divide(variance, count, out=variance)
    _set_scale(call, mean, variance)


def _set_scale(call: Call[BatchNorm], mean: Array, variance: Array) -> None:
    own_mean, own_variance, scale = call.saved
    np.copyto(own_mean, mean)
    np.copyto(own_variance, variance)
    np.add(variance, call.layer.epsilon, out=scale)
    np.sqrt(scale, out=scale)
    np.divide(1, scale, out=scale)


def _vjp(call: Call[BatchNorm]) -> None:
    """dx = w scale (dy - mean dy - x̂ mean(dy x̂))."""
    (x,), dy = call.inputs, call.output_gradient
    hat, partial, mean_C = call.scratch
    mean, variance, scale = call.saved
    dw, db = call.parameter_gradients
    count = x.size // x.shape[-1]
    _write_sums(call, len(x), count, mean, variance)
    np.subtract(x, mean, out=hat)
    np.multiply(hat, scale, out=hat)
    _sum(dy, partial, db)
    dx = call.input_gradients[0]
    product = hat if dx is None else dx
    np.multiply(dy, hat, out=product)
    _sum(product, partial, dw)
    if dx is None:
        return
    np.divide(db, count, out=mean_C)
    np.subtract(dy, mean_C, out=dx)
    np.divide(dw, count, out=mean_C)
    np.multiply(hat, mean_C, out=hat)
    np.subtract(dx, hat, out=dx)
    np.multiply(call.parameters[0], scale, out=mean_C)
    np.multiply(dx, mean_C, out=dx)


def _write_sums(call: Call[BatchNorm], rows: int, count: int, mean: Array, variance: Array) -> None:
    """The shard's mean and unbiased variance, as many times as it has rows."""
    mean_sum, variance_sum = call.buffer_sums
    np.multiply(mean, rows, out=mean_sum)
    np.multiply(variance, rows * count / max(count - 1, 1), out=variance_sum)


def _sum(x: Array, partial_NC: Array, out: Array) -> None:
    """Over positions, then over rows: shorter sums round less than one long one."""
    np.add.reduce(x.reshape(len(x), -1, x.shape[-1]), axis=1, out=partial_NC)
    np.add.reduce(partial_NC, axis=0, out=out)


BATCH_NORM: Operation[BatchNorm] = Operation(
    forward=_forward,
    vjp=_vjp,
    flops=_flops,
    shape=_shape,
    weights=_weights,
    buffers=_running,
    keeps=("input",),
    saved=_saved,
    scratch=_scratch,
)
