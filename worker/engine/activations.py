"""The elementwise activations, each a forward and a vjp over whole arrays."""

import math

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.numerics import INVERSE_ROOT_TWO_PI, gaussian, normal_cdf, sigmoid
from gradloom.worker.engine.operation import Call, Operation, like_input, per_element
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Gelu, GeluApproximation, LeakyRelu, Relu, Sigmoid, Tanh


def _relu(call: Call[Relu], _key: Key | None) -> None:
    np.maximum(call.inputs[0], 0, out=call.output)


def _relu_vjp(call: Call[Relu]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.greater(call.output, 0, out=dx)
        np.multiply(dx, call.output_gradient, out=dx)


def _leaky_relu(call: Call[LeakyRelu], _key: Key | None) -> None:
    np.multiply(call.inputs[0], call.layer.slope, out=call.output)
    np.maximum(call.inputs[0], call.output, out=call.output)


def _leaky_relu_vjp(call: Call[LeakyRelu]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        (positive,) = call.scratch
        np.greater(call.output, 0, out=positive)
        np.multiply(call.output_gradient, call.layer.slope, out=dx)
        np.copyto(dx, call.output_gradient, where=positive)


def _tanh(call: Call[Tanh], _key: Key | None) -> None:
    np.tanh(call.inputs[0], out=call.output)


def _tanh_vjp(call: Call[Tanh]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        _one_minus_square(call.output, dx)
        np.multiply(dx, call.output_gradient, out=dx)


def _sigmoid(call: Call[Sigmoid], _key: Key | None) -> None:
    sigmoid(call.inputs[0], call.output, call.scratch[0])


def _sigmoid_vjp(call: Call[Sigmoid]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.subtract(1, call.output, out=dx)
        np.multiply(dx, call.output, out=dx)
        np.multiply(dx, call.output_gradient, out=dx)


def _gelu(call: Call[Gelu], _key: Key | None) -> None:
    (x,), (gate,) = call.inputs, call.saved
    if call.layer.approximation is GeluApproximation.TANH:
        _tanh_gate(x, gate)
    else:
        normal_cdf(x, gate, *call.scratch)
    np.multiply(x, gate, out=call.output)


def _gelu_vjp(call: Call[Gelu]) -> None:
    """(Φ(x) + x Φ'(x)) dy, Φ(x) being the gate that the forward pass saved."""
    (x,), (gate,), (slope, scratch) = call.inputs, call.saved, call.scratch
    (dx,) = call.input_gradients
    if dx is None:
        return
    if call.layer.approximation is GeluApproximation.TANH:
        _tanh_gate_slope(x, gate, slope, scratch)
    else:
        gaussian(x, slope)
        np.multiply(slope, INVERSE_ROOT_TWO_PI, out=slope)
    np.multiply(slope, x, out=slope)
    np.add(slope, gate, out=slope)
    np.multiply(slope, call.output_gradient, out=dx)


# Hendrycks and Gimpel (2016): Φ(x) is near (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
_SCALE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _tanh_gate(x: Array, gate: Array) -> None:
    np.multiply(x, x, out=gate)
    np.multiply(gate, _SCALE * _CUBIC, out=gate)
    np.add(gate, _SCALE, out=gate)
    np.multiply(gate, x, out=gate)
    np.tanh(gate, out=gate)
    np.add(gate, 1, out=gate)
    np.multiply(gate, 0.5, out=gate)


def _tanh_gate_slope(x: Array, gate: Array, slope: Array, scratch: Array) -> None:
    """2 gate (1 - gate) √(2/π) (1 + 3 · 0.044715 x²), the derivative of the gate."""
    np.subtract(1, gate, out=slope)
    np.multiply(slope, gate, out=slope)
    np.multiply(x, x, out=scratch)
    np.multiply(scratch, 6 * _SCALE * _CUBIC, out=scratch)
    np.add(scratch, 2 * _SCALE, out=scratch)
    np.multiply(slope, scratch, out=slope)


def _one_minus_square(x: Array, out: Array) -> None:
    np.multiply(x, x, out=out)
    np.subtract(1, out, out=out)


RELU: Operation[Relu] = Operation(
    forward=_relu, vjp=_relu_vjp, flops=per_element(forward=1, inputs=1), keeps=("output",)
)
LEAKY_RELU: Operation[LeakyRelu] = Operation(
    forward=_leaky_relu,
    vjp=_leaky_relu_vjp,
    flops=per_element(forward=2, inputs=2),
    keeps=("output",),
    scratch=like_input(1, np.bool_),
)
TANH: Operation[Tanh] = Operation(
    forward=_tanh, vjp=_tanh_vjp, flops=per_element(forward=1, inputs=3), keeps=("output",)
)
SIGMOID: Operation[Sigmoid] = Operation(
    forward=_sigmoid,
    vjp=_sigmoid_vjp,
    flops=per_element(forward=7, inputs=3),
    keeps=("output",),
    scratch=like_input(1),
)
GELU: Operation[Gelu] = Operation(
    forward=_gelu,
    vjp=_gelu_vjp,
    flops=per_element(forward=8, inputs=8),
    keeps=("input",),
    saved=like_input(1),
    scratch=like_input(2),
)
