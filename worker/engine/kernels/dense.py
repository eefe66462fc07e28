"""A dense layer, alone or with what follows it: an activation, or the end of a residual.

M stands for rows times all axes but the last, K for inputs, U for units.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from gradloom.worker.engine import dense as twin
from gradloom.worker.engine.arrays import Array, Buffer, Shape
from gradloom.worker.engine.graph import Fused
from gradloom.worker.engine.kernels import activations
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.dense_products import (
    ROWS,
    input_gradients,
    outputs,
    room,
    weight_gradients,
)
from gradloom.worker.engine.operation import Call, Flops, Operation, Shapes, Weights
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Dense, Gelu, GeluApproximation

# The slope, which holds the product before; the bias; the output.
Product = Callable[[Array, Array, Array], None]
# Arrays of the parameters, or none.
Sums = tuple[Array, ...]
# Any: of a layer alone, or of a chain.
AnyCall = Call[Any]


@kernel
def _through(slope_MU: Array, dy_MU: Array, db_U: Array) -> None:
    """Makes the slope the gradient towards the product, and sums that over the lines."""
    db_U[:] = 0
    for m in range(len(dy_MU)):
        slope, dy = slope_MU[m], dy_MU[m]
        for u in range(db_U.size):
            slope[u] *= dy[u]
        for u in range(db_U.size):
            db_U[u] += slope[u]


@kernel
def _add_bias_and_other(y: Array, bias_U: Array, other: Array) -> None:
    for m in range(len(y)):
        for u in range(bias_U.size):
            y[m, u] = (y[m, u] + bias_U[u]) + other[m, u]


# What the kernels work in, and a line of numbers that nobody asked for.
def _scratch(layer: Dense, inputs: Shapes) -> tuple[Buffer, ...]:
    numbers = room(inputs[0][-1], layer.units)
    return Buffer((numbers,), per_row=False), Buffer((layer.units,), per_row=False)


def _forward(call: Call[Dense], _key: Key | None) -> None:
    y_MU = _matrix(call.output)
    w_UK, *bias = call.parameters
    outputs(_matrix(call.inputs[0]), w_UK, y_MU, call.scratch[0])
    for b_U in bias:
        np.add(y_MU, b_U, out=y_MU)


def _towards_inputs(call: AnyCall, dy: Array) -> None:
    dx = call.input_gradients[0]
    if dx is not None:
        input_gradients(_matrix(dy), call.parameters[0], _matrix(dx), call.scratch[0])


def _towards_parameters(call: AnyCall, sums: Sums) -> None:
    dy_MU = _matrix(call.output_gradient)
    for db_U in call.parameter_gradients[1:]:
        np.add.reduce(dy_MU, axis=0, out=db_U)
    _add_to(sums[1:], call.parameter_gradients[1:])
    _towards_weights(call, dy_MU, sums)


def _towards_weights(call: AnyCall, dy_MU: Array, sums: Sums) -> None:
    """Adds straight to the sum what comes of few rows, which saves a pass over all weights."""
    x_MK, dw_UK = _matrix(call.inputs[0]), call.parameter_gradients[0]
    is_added = bool(sums) and len(x_MK) <= ROWS
    weight_gradients(dy_MU, x_MK, sums[0] if is_added else dw_UK, call.scratch[0], is_added)
    if not is_added:
        _add_to(sums[:1], (dw_UK,))


def _add_to(sums: Sums, addends: Sums) -> None:
    for total, addend in zip(sums, addends, strict=False):
        np.add(total, addend, out=total)


@lru_cache(maxsize=64)
def _no_bias(units: int, dtype: np.dtype[np.generic]) -> Array:
    return np.zeros(units, dtype)


def _dense(layer: Fused) -> Dense:
    """The first layer of the chain."""
    first = layer.layers[0]
    if not isinstance(first, Dense):
        raise TypeError(f"{first} begins no chain of a dense layer")
    return first


def _shape(layer: Fused, inputs: Shapes) -> Shape:
    return twin.DENSE.shape(_dense(layer), inputs)


def _weights(layer: Fused, inputs: Shapes) -> tuple[Weights, ...]:
    return twin.DENSE.weights(_dense(layer), inputs)


def _flops(layer: Fused, inputs: Shapes) -> Flops:
    return twin.DENSE.flops(_dense(layer), inputs)


def _like_output(layer: Fused, inputs: Shapes) -> tuple[Buffer, ...]:
    return (Buffer(_shape(layer, inputs)),)


def _activated(product_of: Callable[[Fused], Product]) -> Operation[Fused]:
    def forward(call: Call[Fused], _key: Key | None) -> None:
        slope_MU, y_MU = _matrix(call.saved[0]), _matrix(call.output)
        w_UK, *bias = call.parameters
        outputs(_matrix(call.inputs[0]), w_UK, slope_MU, call.scratch[0])
        product_of(call.layer)(slope_MU, bias[0] if bias else _no_bias(len(w_UK), w_UK.dtype), y_MU)

    return Operation(
        forward=forward,
        vjp=lambda call: _towards_inputs(call, call.saved[0]),
        vjp_parameters=lambda call: _activated_towards_parameters(call, ()),
        adds=_activated_towards_parameters,
        flops=_flops,
        shape=_shape,
        weights=_weights,
        keeps=("input",),
        saved=_like_output,
        scratch=lambda layer, inputs: _scratch(_dense(layer), inputs),
        rowwise=True,
    )


def _activated_towards_parameters(call: Call[Fused], sums: Sums) -> None:
    slope_MU, dy_MU = _matrix(call.saved[0]), _matrix(call.output_gradient)
    bias_gradient = call.parameter_gradients[1:]
    _through(slope_MU, dy_MU, bias_gradient[0] if bias_gradient else call.scratch[1])
    _add_to(sums[1:], bias_gradient)
    _towards_weights(call, slope_MU, sums)


def _add(call: Call[Fused], _key: Key | None) -> None:
    x, other, *more = call.inputs
    y_MU = _matrix(call.output)
    w_UK, *bias = call.parameters
    outputs(_matrix(x), w_UK, y_MU, call.scratch[0])
    b_U = bias[0] if bias else _no_bias(len(w_UK), w_UK.dtype)
    _add_bias_and_other(y_MU, b_U, _matrix(other))
    for array in more:
        np.add(call.output, array, out=call.output)


def _add_vjp(call: Call[Fused]) -> None:
    _towards_inputs(call, call.output_gradient)
    for other in call.input_gradients[1:]:
        if other is not None:
            np.copyto(other, call.output_gradient)


def _matrix(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _gelu(layer: Fused) -> Product:
    by_tanh = layer.layers[1] == Gelu(GeluApproximation.TANH)
    return activations.gelu_tanh_of_product if by_tanh else activations.gelu_of_product


DENSE: Operation[Dense] = replace(
    twin.DENSE,
    forward=_forward,
    vjp=lambda call: _towards_inputs(call, call.output_gradient),
    vjp_parameters=lambda call: _towards_parameters(call, ()),
    adds=_towards_parameters,
    scratch=_scratch,
    begins=1,
)
DENSE_ADD: Operation[Fused] = Operation(
    forward=_add,
    vjp=_add_vjp,
    vjp_parameters=lambda call: _towards_parameters(call, ()),
    adds=_towards_parameters,
    flops=_flops,
    shape=_shape,
    weights=_weights,
    keeps=("input",),
    scratch=lambda layer, inputs: _scratch(_dense(layer), inputs),
    rowwise=True,
    arity=(2, sys.maxsize),
)
DENSE_RELU = _activated(lambda _layer: activations.relu_of_product)
DENSE_TANH = _activated(lambda _layer: activations.tanh_of_product)
DENSE_SIGMOID = _activated(lambda _layer: activations.sigmoid_of_product)
DENSE_SILU = _activated(lambda _layer: activations.silu_of_product)
DENSE_GELU = _activated(_gelu)
