"""A dense layer and what follows it: an activation, or the sum at the end of a residual.

M stands for rows times all axes but the last, K for inputs, U for units.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

import sys
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape
from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.graph import Fused
from gradloom.worker.engine.kernels import activations
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.operation import Call, Flops, Operation, Shapes, Weights
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Dense, Gelu, GeluApproximation

# The slope, which holds the product before; the bias; the output.
Product = Callable[[Array, Array, Array], None]


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
    return DENSE.shape(_dense(layer), inputs)


def _weights(layer: Fused, inputs: Shapes) -> tuple[Weights, ...]:
    return DENSE.weights(_dense(layer), inputs)


def _flops(layer: Fused, inputs: Shapes) -> Flops:
    return DENSE.flops(_dense(layer), inputs)


def _like_output(layer: Fused, inputs: Shapes) -> tuple[Buffer, ...]:
    return (Buffer(_shape(layer, inputs)),)


def _one_line(layer: Fused, _inputs: Shapes) -> tuple[Buffer, ...]:
    """Where the gradient of a bias goes that there is not."""
    return (Buffer((_dense(layer).units,), per_row=False),)


def _activated(product_of: Callable[[Fused], Product]) -> Operation[Fused]:
    def forward(call: Call[Fused], _key: Key | None) -> None:
        slope_MU, y_MU = _matrix(call.saved[0]), _matrix(call.output)
        w_UK, *bias = call.parameters
        np.matmul(_matrix(call.inputs[0]), w_UK.T, out=slope_MU)
        product_of(call.layer)(slope_MU, bias[0] if bias else _no_bias(len(w_UK), w_UK.dtype), y_MU)

    return Operation(
        forward=forward,
        vjp=_activated_vjp,
        vjp_parameters=_activated_vjp_parameters,
        flops=_flops,
        shape=_shape,
        weights=_weights,
        keeps=("input",),
        saved=_like_output,
        scratch=_one_line,
        rowwise=True,
    )


def _activated_vjp_parameters(call: Call[Fused]) -> None:
    slope_MU, dy_MU = _matrix(call.saved[0]), _matrix(call.output_gradient)
    dw_UK, *bias_gradient = call.parameter_gradients
    _through(slope_MU, dy_MU, bias_gradient[0] if bias_gradient else call.scratch[0])
    np.matmul(slope_MU.T, _matrix(call.inputs[0]), out=dw_UK)


def _activated_vjp(call: Call[Fused]) -> None:
    dx = call.input_gradients[0]
    if dx is not None:
        np.matmul(_matrix(call.saved[0]), call.parameters[0], out=_matrix(dx))


def _add(call: Call[Fused], _key: Key | None) -> None:
    x, other, *more = call.inputs
    y_MU = _matrix(call.output)
    w_UK, *bias = call.parameters
    np.matmul(_matrix(x), w_UK.T, out=y_MU)
    b_U = bias[0] if bias else _no_bias(len(w_UK), w_UK.dtype)
    _add_bias_and_other(y_MU, b_U, _matrix(other))
    for array in more:
        np.add(call.output, array, out=call.output)


def _add_vjp(call: Call[Fused]) -> None:
    dx, *others = call.input_gradients
    if dx is not None:
        np.matmul(_matrix(call.output_gradient), call.parameters[0], out=_matrix(dx))
    for other in others:
        if other is not None:
            np.copyto(other, call.output_gradient)


def _matrix(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _gelu(layer: Fused) -> Product:
    by_tanh = layer.layers[1] == Gelu(GeluApproximation.TANH)
    return activations.gelu_tanh_of_product if by_tanh else activations.gelu_of_product


def _add_vjp_parameters(call: Call[Fused]) -> None:
    dy_MU = _matrix(call.output_gradient)
    dw_UK, *bias_gradient = call.parameter_gradients
    np.matmul(dy_MU.T, _matrix(call.inputs[0]), out=dw_UK)
    for db_U in bias_gradient:
        np.add.reduce(dy_MU, axis=0, out=db_U)


DENSE_ADD: Operation[Fused] = Operation(
    forward=_add,
    vjp=_add_vjp,
    vjp_parameters=_add_vjp_parameters,
    flops=_flops,
    shape=_shape,
    weights=_weights,
    keeps=("input",),
    rowwise=True,
    arity=(2, sys.maxsize),
)
DENSE_RELU = _activated(lambda _layer: activations.relu_of_product)
DENSE_TANH = _activated(lambda _layer: activations.tanh_of_product)
DENSE_SIGMOID = _activated(lambda _layer: activations.sigmoid_of_product)
DENSE_SILU = _activated(lambda _layer: activations.silu_of_product)
DENSE_GELU = _activated(_gelu)
