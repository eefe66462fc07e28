"""Layer, root mean square and group normalisation: one computation over three views.

N stands for rows (times positions, but for group norm), P for positions, G for groups, C for the
channels of one group. A mean is over the axes P and C.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, divisors_near, size, text
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    Weights,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import GroupNorm, Initializer, LayerNorm, RmsNorm

Norm = LayerNorm | RmsNorm | GroupNorm

_MEAN_AXES = (1, 3)


def _shape(name: str) -> Callable[[Norm, Shapes], Shape]:
    def shape(layer: Norm, inputs: Shapes) -> Shape:
        if not inputs[0] or inputs[0][-1] == 0:
            sentence = f"{name} needs at least one number a row, gets {text(inputs[0])}: "
            raise ShapeMismatch(sentence + "add inputs.", inputs[0])
        if isinstance(layer, GroupNorm):
            _check_groups(layer.groups, inputs[0])
        return inputs[0]

    return shape


def _check_groups(groups: int, shape: Shape) -> None:
    channels = shape[-1]
    if groups > 0 and channels != UNKNOWN and channels % groups:
        sentence = f"{channels} channels of {text(shape)} are not divisible by {groups} groups: "
        raise ShapeMismatch(sentence + f"use {divisors_near(groups, channels)}.", shape)


def _weights(layer: Norm, inputs: Shapes) -> tuple[Weights, ...]:
    channels = inputs[0][-1]
    weight = Weights("weight", (channels,), Initializer.ONES, channels, channels)
    bias = Weights("bias", (channels,), Initializer.ZEROS, channels, channels)
    return (weight,) if isinstance(layer, RmsNorm) else (weight, bias)


def _flops(layer: Norm, inputs: Shapes) -> Flops:
    elements = size(inputs[0])
    if isinstance(layer, RmsNorm):
        return Flops(4 * elements, 7 * elements, 2 * elements)
    return Flops(7 * elements, 9 * elements, 3 * elements)


def _means(layer: Norm, inputs: Shapes) -> Buffer:
    """One number for each mean."""
    return Buffer((layer.groups,) if isinstance(layer, GroupNorm) else (*inputs[0][:-1], 1))


def _saved(layer: Norm, inputs: Shapes) -> tuple[Buffer, ...]:
    """The normalised input, and what it was multiplied by."""
    return Buffer(inputs[0]), _means(layer, inputs)


def _scratch(layer: Norm, inputs: Shapes) -> tuple[Buffer, ...]:
    """Products, and their means."""
    return Buffer(inputs[0]), _means(layer, inputs)


def _forward(call: Call[Norm], _key: Key | None) -> None:
    hat_NPGC, scale_N1G1 = _views(call, *call.saved)
    x_NPGC, y_NPGC = (_view(call.layer, array) for array in (call.inputs[0], call.output))
    if isinstance(call.layer, RmsNorm):
        np.copyto(hat_NPGC, x_NPGC)
    else:
        _mean(x_NPGC, scale_N1G1)
        np.subtract(x_NPGC, scale_N1G1, out=hat_NPGC)
    np.multiply(hat_NPGC, hat_NPGC, out=y_NPGC)
    _mean(y_NPGC, scale_N1G1)
    np.add(scale_N1G1, call.layer.epsilon, out=scale_N1G1)
    np.sqrt(scale_N1G1, out=scale_N1G1)
    np.divide(1, scale_N1G1, out=scale_N1G1)
    np.multiply(hat_NPGC, scale_N1G1, out=hat_NPGC)
    weight, *bias = call.parameters
    np.multiply(call.saved[0], weight, out=call.output)
    for b in bias:
        np.add(call.output, b, out=call.output)


def _vjp(call: Call[Norm]) -> None:
    """With g = w dy: dx = scale (g - mean g - x̂ mean(g x̂)); mean g drops out of RMS norm."""
    dx = call.input_gradients[0]
    if dx is not None:
        np.multiply(call.output_gradient, call.parameters[0], out=dx)
        _towards_input(call, _view(call.layer, dx))


def _vjp_parameters(call: Call[Norm]) -> None:
    product = call.scratch[0]
    dw, *bias_gradient = call.parameter_gradients
    np.multiply(call.output_gradient, call.saved[0], out=product)
    np.add.reduce(_rows(product), axis=0, out=dw)
    for db in bias_gradient:
        np.add.reduce(_rows(call.output_gradient), axis=0, out=db)


def _towards_input(call: Call[Norm], dx_NPGC: Array) -> None:
    """dx from g, in place."""
    hat_NPGC, scale_N1G1 = _views(call, *call.saved)
    product_NPGC, mean_N1G1 = _views(call, *call.scratch)
    np.multiply(dx_NPGC, hat_NPGC, out=product_NPGC)
    if not isinstance(call.layer, RmsNorm):
        _mean(dx_NPGC, mean_N1G1)
        np.subtract(dx_NPGC, mean_N1G1, out=dx_NPGC)
    _mean(product_NPGC, mean_N1G1)
    np.multiply(hat_NPGC, mean_N1G1, out=product_NPGC)
    np.subtract(dx_NPGC, product_NPGC, out=dx_NPGC)
    np.multiply(dx_NPGC, scale_N1G1, out=dx_NPGC)


def _mean(x_NPGC: Array, out_N1G1: Array) -> None:
    np.add.reduce(x_NPGC, axis=_MEAN_AXES, keepdims=True, out=out_N1G1)
    np.divide(out_N1G1, x_NPGC.shape[1] * x_NPGC.shape[3], out=out_N1G1)


def _views(call: Call[Norm], array: Array, means: Array) -> tuple[Array, Array]:
    array_NPGC = _view(call.layer, array)
    return array_NPGC, means.reshape(array_NPGC.shape[0], 1, array_NPGC.shape[2], 1)


def _view(layer: Norm, array: Array) -> Array:
    if not isinstance(layer, GroupNorm):
        return array.reshape(-1, 1, 1, array.shape[-1])
    channels = array.shape[-1] // layer.groups
    return array.reshape(array.shape[0], size(array.shape[1:-1]), layer.groups, channels)


def _rows(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


LAYER_NORM: Operation[Norm] = Operation(
    forward=_forward,
    vjp=_vjp,
    vjp_parameters=_vjp_parameters,
    rowwise=True,
    flops=_flops,
    shape=_shape("layer_norm"),
    weights=_weights,
    saved=_saved,
    scratch=_scratch,
)
RMS_NORM: Operation[Norm] = replace(LAYER_NORM, shape=_shape("rms_norm"))
GROUP_NORM: Operation[Norm] = replace(LAYER_NORM, shape=_shape("group_norm"))
