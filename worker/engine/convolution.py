"""Convolutions as matrix products of gathered windows, a block of rows at a time.

N stands for the rows of a block, P for windows of a row, M for N times P, G for groups, C for
channels of a group, T for taps of a window, K for T times C, O for filters of a group.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, divisors_near, size
from gradloom.worker.engine.check import UNITS, check_layer
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    Weights,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Convolution, Initializer
from gradloom.worker.engine.window import Tap, Windows, check_axes, slide, windows

Index = tuple[slice | int, ...]

# Gathered windows of a block of rows: so many numbers stay in a core's second cache.
_BLOCK_NUMBERS = 1 << 16


def _shape(name: str, axes: tuple[str, ...]) -> Callable[[Convolution, Shapes], Shape]:
    def shape(layer: Convolution, inputs: Shapes) -> Shape:
        filters = layer.filters if layer.filters in UNITS else UNKNOWN
        check_axes(name, axes, inputs[0], (UNKNOWN,) * len(axes) + (filters,))
        *lengths, channels = inputs[0]
        try:
            output = (*slide(layer, tuple(lengths)), filters)
        except ShapeMismatch as mismatch:
            assumed = (*mismatch.assumed, filters)
            raise ShapeMismatch(mismatch.sentence, assumed, mismatch.field) from None
        _check_groups(layer.groups, "channels", channels, output)
        _check_groups(layer.groups, "filters", filters, output)
        return output

    return shape


def _check_groups(groups: int, what: str, count: int, output: Shape) -> None:
    if groups > 0 and count != UNKNOWN and count % groups:
        sentence = f"{count} {what} are not divisible by {groups} groups: "
        remedy = f"use {divisors_near(groups, count)}."
        raise ShapeMismatch(sentence + remedy, output, "groups")


def _weights(layer: Convolution, inputs: Shapes) -> tuple[Weights, ...]:
    if UNKNOWN in inputs[0] or any(check_layer("", layer)):
        return ()
    kernel = tuple(axis.size for axis in windows(layer, inputs[0][:-1]).axes)
    channels = inputs[0][-1] // layer.groups
    fan_in, fan_out = size(kernel) * channels, size(kernel) * (layer.filters // layer.groups)
    shape = (layer.filters, channels, *kernel)
    weight = Weights("weight", shape, layer.initializer, fan_in, fan_out)
    bias = Weights("bias", (layer.filters,), Initializer.ZEROS, fan_in, fan_out)
    return (weight, bias) if layer.bias else (weight,)


def _flops(layer: Convolution, inputs: Shapes) -> Flops:
    sizes = _sizes(layer, inputs[0])
    product = 2 * sizes.P * sizes.G * sizes.K * sizes.O
    bias = sizes.P * layer.filters if layer.bias else 0
    return Flops(product + bias, product, product + bias)


class _Sizes:
    """The lengths of the axes of a convolution of rows of this shape."""

    def __init__(self, layer: Convolution, row: Shape) -> None:
        self.windows: Windows = windows(layer, row[:-1])
        self.P = size(self.windows.shape)
        self.G = layer.groups
        self.C = row[-1] // layer.groups
        self.T = size(tuple(axis.size for axis in self.windows.axes))
        self.K = self.T * self.C
        self.O = layer.filters // layer.groups
        self.gathered = (-1, *self.windows.shape, self.G, self.T, self.C)
        self.grouped = (-1, *row[:-1], self.G, self.C)
        self.outputs = (-1, self.G, self.O)
        self.taps = tuple(map(_tap, range(self.T), self.windows.taps))
        self.N = max(1, _BLOCK_NUMBERS // (self.P * self.G * self.K))


@dataclass(frozen=True, slots=True)
class _Tap:
    """Where a tap stands in gathered windows of axes N, windows, G, T, C, and in the input."""

    windows: Index
    inputs: Index


def _tap(place: int, tap: Tap) -> _Tap:
    rows = slice(None)
    return _Tap((rows, *tap.windows, slice(None), place), (rows, *tap.inputs))


_sizes = lru_cache(maxsize=256)(_Sizes)


def _scratch(layer: Convolution, inputs: Shapes) -> tuple[Buffer, ...]:
    """Gathered windows of a block, weights as products want them, a gradient of those."""
    sizes = _sizes(layer, inputs[0])
    weights = Buffer((sizes.G, sizes.K, sizes.O), per_row=False)
    return (
        Buffer((sizes.N * sizes.P, sizes.G, sizes.K), per_row=False),
        weights,
        weights,
        weights,
    )


def _forward(call: Call[Convolution], _key: Key | None) -> None:
    sizes = _sizes(call.layer, call.inputs[0].shape[1:])
    columns, weights_GKO, *_ = call.scratch
    weight, *bias = call.parameters
    np.copyto(_as_parameter(weights_GKO, sizes), _as_taps(weight, sizes))
    for block in _blocks(sizes, len(call.output)):
        columns_MGK = _gather(sizes, call.inputs[0][block], columns)
        y_GMO = call.output[block].reshape(sizes.outputs).transpose(1, 0, 2)
        np.matmul(columns_MGK.transpose(1, 0, 2), weights_GKO, out=y_GMO)
    for b in bias:
        np.add(call.output, b, out=call.output)


def _vjp(call: Call[Convolution]) -> None:
    sizes = _sizes(call.layer, call.inputs[0].shape[1:])
    _towards_parameters(call, sizes)
    if call.input_gradients[0] is not None:
        towards_input(call, call.input_gradients[0])


def _towards_parameters(call: Call[Convolution], sizes: _Sizes) -> None:
    columns, _, total_GKO, product_GKO = call.scratch
    total_GKO.fill(0)
    for block in _blocks(sizes, len(call.output)):
        columns_MGK = _gather(sizes, call.inputs[0][block], columns)
        dy_GMO = call.output_gradient[block].reshape(sizes.outputs).transpose(1, 0, 2)
        np.matmul(columns_MGK.transpose(1, 2, 0), dy_GMO, out=product_GKO)
        np.add(total_GKO, product_GKO, out=total_GKO)
    dw, *bias_gradient = call.parameter_gradients
    np.copyto(_as_taps(dw, sizes), _as_parameter(total_GKO, sizes))
    for db in bias_gradient:
        np.add.reduce(call.output_gradient.reshape(-1, len(db)), axis=0, out=db)


def towards_input(call: Call[Convolution], dx: Array) -> None:
    """Writes the gradient of the input."""
    sizes = _sizes(call.layer, dx.shape[1:])
    columns, weights_GKO, *_ = call.scratch
    np.copyto(_as_parameter(weights_GKO, sizes), _as_taps(call.parameters[0], sizes))
    for block in _blocks(sizes, len(dx)):
        dy_GMO = call.output_gradient[block].reshape(sizes.outputs).transpose(1, 0, 2)
        columns_MGK = columns[: dy_GMO.shape[1]]
        np.matmul(dy_GMO, weights_GKO.transpose(0, 2, 1), out=columns_MGK.transpose(1, 0, 2))
        _scatter(sizes, columns_MGK, dx[block])


def _blocks(sizes: _Sizes, rows: int) -> Iterator[slice]:
    for first in range(0, rows, sizes.N):
        yield slice(first, first + sizes.N)


def _as_parameter(weights_GKO: Array, sizes: _Sizes) -> Array:
    """Axes G, T, C, O."""
    return weights_GKO.reshape(sizes.G, sizes.T, sizes.C, sizes.O)


def _as_taps(weight: Array, sizes: _Sizes) -> Array:
    """Axes G, T, C, O too."""
    return weight.reshape(sizes.G, sizes.O, sizes.C, sizes.T).transpose(0, 3, 2, 1)


def _gather(sizes: _Sizes, x: Array, columns: Array) -> Array:
    """The inputs of every window, zero where it reaches over the end."""
    columns_MGK = columns[: len(x) * sizes.P]
    columns_MGK.fill(0)
    windowed, grouped = columns_MGK.reshape(sizes.gathered), x.reshape(sizes.grouped)
    for tap in sizes.taps:
        np.copyto(windowed[tap.windows], grouped[tap.inputs])
    return columns_MGK


def _scatter(sizes: _Sizes, columns_MGK: Array, dx: Array) -> None:
    """The sums over all windows that an input is part of."""
    dx.fill(0)
    windowed, grouped = columns_MGK.reshape(sizes.gathered), dx.reshape(sizes.grouped)
    for tap in sizes.taps:
        np.add(grouped[tap.inputs], windowed[tap.windows], out=grouped[tap.inputs])


CONV1D: Operation[Convolution] = Operation(
    forward=_forward,
    vjp=_vjp,
    flops=_flops,
    shape=_shape("conv1d", ("length",)),
    weights=_weights,
    keeps=("input",),
    scratch=_scratch,
)
CONV2D: Operation[Convolution] = replace(CONV1D, shape=_shape("conv2d", ("height", "width")))
