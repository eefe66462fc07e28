"""The fully connected operation: three matrix products.

M stands for rows times all axes but the last, K for inputs, U for units.
"""

# Capital letters in names are axes.
# ruff: noqa: N806

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Shape, size, text
from gradloom.worker.engine.check import UNITS
from gradloom.worker.engine.operation import (
    NUMPY_BEGINS,
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    Weights,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Dense, Initializer


def _shape(layer: Dense, inputs: Shapes) -> Shape:
    output = (*inputs[0][:-1], layer.units if layer.units in UNITS else UNKNOWN)
    if not inputs[0] or inputs[0][-1] == 0:
        sentence = f"dense needs at least one number a row, gets {text(inputs[0])}: add inputs."
        raise ShapeMismatch(sentence, output)
    return output


def _weights(layer: Dense, inputs: Shapes) -> tuple[Weights, ...]:
    fan_in, fan_out = inputs[0][-1], layer.units
    weight = Weights("weight", (fan_out, fan_in), layer.initializer, fan_in, fan_out)
    bias = Weights("bias", (fan_out,), Initializer.ZEROS, fan_in, fan_out, layer.bias_initial)
    return (weight, bias) if layer.bias else (weight,)


def _flops(layer: Dense, inputs: Shapes) -> Flops:
    product = 2 * size(inputs[0]) * layer.units
    bias = size(inputs[0][:-1]) * layer.units if layer.bias else 0
    return Flops(product + bias, product, product + bias)


def _forward(call: Call[Dense], _key: Key | None) -> None:
    x_MK, y_MU = _matrix(call.inputs[0]), _matrix(call.output)
    w_UK, *bias = call.parameters
    np.matmul(x_MK, w_UK.T, out=y_MU)
    for b_U in bias:
        np.add(y_MU, b_U, out=y_MU)


def _vjp(call: Call[Dense]) -> None:
    dx = call.input_gradients[0]
    if dx is not None:
        np.matmul(_matrix(call.output_gradient), call.parameters[0], out=_matrix(dx))


def _vjp_parameters(call: Call[Dense]) -> None:
    x_MK, dy_MU = _matrix(call.inputs[0]), _matrix(call.output_gradient)
    dw_UK, *bias_gradient = call.parameter_gradients
    np.matmul(dy_MU.T, x_MK, out=dw_UK)
    for db_U in bias_gradient:
        np.add.reduce(dy_MU, axis=0, out=db_U)


def _matrix(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


DENSE: Operation[Dense] = Operation(
    forward=_forward,
    vjp=_vjp,
    flops=_flops,
    shape=_shape,
    weights=_weights,
    keeps=("input",),
    rowwise=True,
    begins=NUMPY_BEGINS,
    vjp_parameters=_vjp_parameters,
)
