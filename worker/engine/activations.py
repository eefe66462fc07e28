"""The activations, elementwise but for softmax: each a forward and a vjp over whole arrays."""

import math

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, text
from gradloom.worker.engine.numerics import (
    INVERSE_ROOT_TWO_PI,
    expm1,
    gaussian,
    normal_cdf,
    sigmoid,
    softplus,
)
from gradloom.worker.engine.operation import (
    Call,
    Operation,
    ShapeMismatch,
    Shapes,
    like_input,
    per_element,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    Elu,
    Gelu,
    GeluApproximation,
    Hardswish,
    LeakyRelu,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
)


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


# Klambauer et al. (2017): the fixed point at mean 0 and variance 1.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def _elu(call: Call[Elu], _key: Key | None) -> None:
    _exponential(call.inputs[0], call.output, call.scratch[0], 1.0, call.layer.alpha)


def _elu_vjp(call: Call[Elu]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        _exponential_slope(call.output, dx, call.scratch[1], 1.0, call.layer.alpha)
        np.multiply(dx, call.output_gradient, out=dx)


def _selu(call: Call[Selu], _key: Key | None) -> None:
    low = _SELU_SCALE * _SELU_ALPHA
    _exponential(call.inputs[0], call.output, call.scratch[0], _SELU_SCALE, low)


def _selu_vjp(call: Call[Selu]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        low = _SELU_SCALE * _SELU_ALPHA
        _exponential_slope(call.output, dx, call.scratch[1], _SELU_SCALE, low)
        np.multiply(dx, call.output_gradient, out=dx)


def _exponential(x: Array, out: Array, scratch: Array, high: float, low: float) -> None:
    """high × x where positive, low × (exp(x) - 1) elsewhere."""
    np.minimum(x, 0, out=out)
    expm1(out, out, scratch)
    np.multiply(out, low, out=out)
    np.maximum(x, 0, out=scratch)
    np.multiply(scratch, high, out=scratch)
    np.add(out, scratch, out=out)


def _exponential_slope(y: Array, out: Array, positive: Array, high: float, low: float) -> None:
    """high where y is positive, elsewhere low × exp(x), which is y + low."""
    np.greater(y, 0, out=positive)
    np.add(y, low, out=out)
    np.copyto(out, high, where=positive)


def _silu(call: Call[Silu], _key: Key | None) -> None:
    (x,), (gate,) = call.inputs, call.saved
    sigmoid(x, gate, call.scratch[0])
    np.multiply(x, gate, out=call.output)


def _silu_vjp(call: Call[Silu]) -> None:
    """σ (1 + x (1 - σ)) dy."""
    (x,), (gate,), (dx,) = call.inputs, call.saved, call.input_gradients
    if dx is not None:
        np.subtract(1, gate, out=dx)
        np.multiply(dx, x, out=dx)
        np.add(dx, 1, out=dx)
        np.multiply(dx, gate, out=dx)
        np.multiply(dx, call.output_gradient, out=dx)


def _softplus(call: Call[Softplus], _key: Key | None) -> None:
    softplus(call.inputs[0], call.output, call.scratch[0])


def _softplus_vjp(call: Call[Softplus]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        sigmoid(call.inputs[0], dx, call.scratch[0])
        np.multiply(dx, call.output_gradient, out=dx)


def _hardswish(call: Call[Hardswish], _key: Key | None) -> None:
    (x,) = call.inputs
    np.add(x, 3, out=call.output)
    np.maximum(call.output, 0, out=call.output)
    np.minimum(call.output, 6, out=call.output)
    np.multiply(call.output, x, out=call.output)
    np.multiply(call.output, 1 / 6, out=call.output)


def _hardswish_vjp(call: Call[Hardswish]) -> None:
    """(2 x + 3) / 6 between -3 and 3, 0 below, 1 above."""
    (x,), (outside,), (dx,) = call.inputs, call.scratch, call.input_gradients
    if dx is not None:
        np.multiply(x, 1 / 3, out=dx)
        np.add(dx, 0.5, out=dx)
        np.copyto(dx, 0, where=np.less_equal(x, -3, out=outside))
        np.copyto(dx, 1, where=np.greater_equal(x, 3, out=outside))
        np.multiply(dx, call.output_gradient, out=dx)


def _softmax_shape(_layer: Softmax, inputs: Shapes) -> Shape:
    if not inputs[0] or inputs[0][-1] == 0:
        sentence = f"softmax needs at least one number a row, gets {text(inputs[0])}: add inputs."
        raise ShapeMismatch(sentence, inputs[0])
    return inputs[0]


def _softmax_scratch(_layer: Softmax, inputs: Shapes) -> tuple[Buffer, ...]:
    """A column, and an array like the input."""
    return Buffer((*inputs[0][:-1], 1)), Buffer(inputs[0])


def _softmax(call: Call[Softmax], _key: Key | None) -> None:
    """exp(x - max x) / Σ: cannot overflow."""
    (x,), y, (column, _) = call.inputs, call.output, call.scratch
    np.maximum.reduce(x, axis=-1, keepdims=True, out=column)
    np.subtract(x, column, out=y)
    np.exp(y, out=y)
    np.add.reduce(y, axis=-1, keepdims=True, out=column)
    np.divide(y, column, out=y)


def _softmax_vjp(call: Call[Softmax]) -> None:
    """y (dy - Σ y dy)."""
    (column, product), (dx,) = call.scratch, call.input_gradients
    if dx is not None:
        np.multiply(call.output, call.output_gradient, out=product)
        np.add.reduce(product, axis=-1, keepdims=True, out=column)
        np.subtract(call.output_gradient, column, out=dx)
        np.multiply(dx, call.output, out=dx)


def _number_and_truth(_layer: object, inputs: Shapes) -> tuple[Buffer, ...]:
    """An array like the input, and one of truth."""
    return Buffer(inputs[0]), Buffer(inputs[0], np.bool_)


RELU: Operation[Relu] = Operation(
    rowwise=True,
    forward=_relu,
    vjp=_relu_vjp,
    flops=per_element(forward=1, inputs=1),
    keeps=("output",),
)
LEAKY_RELU: Operation[LeakyRelu] = Operation(
    rowwise=True,
    forward=_leaky_relu,
    vjp=_leaky_relu_vjp,
    flops=per_element(forward=2, inputs=2),
    keeps=("output",),
    scratch=like_input(1, np.bool_),
)
TANH: Operation[Tanh] = Operation(
    rowwise=True,
    forward=_tanh,
    vjp=_tanh_vjp,
    flops=per_element(forward=1, inputs=3),
    keeps=("output",),
)
SIGMOID: Operation[Sigmoid] = Operation(
    rowwise=True,
    forward=_sigmoid,
    vjp=_sigmoid_vjp,
    flops=per_element(forward=7, inputs=3),
    keeps=("output",),
    scratch=like_input(1),
)
GELU: Operation[Gelu] = Operation(
    rowwise=True,
    forward=_gelu,
    vjp=_gelu_vjp,
    flops=per_element(forward=8, inputs=8),
    keeps=("input",),
    saved=like_input(1),
    scratch=like_input(2),
)
ELU: Operation[Elu] = Operation(
    rowwise=True,
    forward=_elu,
    vjp=_elu_vjp,
    flops=per_element(forward=9, inputs=3),
    keeps=("output",),
    scratch=_number_and_truth,
)
SELU: Operation[Selu] = Operation(
    rowwise=True,
    forward=_selu,
    vjp=_selu_vjp,
    flops=per_element(forward=9, inputs=3),
    keeps=("output",),
    scratch=_number_and_truth,
)
SILU: Operation[Silu] = Operation(
    rowwise=True,
    forward=_silu,
    vjp=_silu_vjp,
    flops=per_element(forward=8, inputs=5),
    keeps=("input",),
    saved=like_input(1),
    scratch=like_input(1),
)
SOFTPLUS: Operation[Softplus] = Operation(
    rowwise=True,
    forward=_softplus,
    vjp=_softplus_vjp,
    flops=per_element(forward=7, inputs=8),
    keeps=("input",),
    scratch=like_input(1),
)
HARDSWISH: Operation[Hardswish] = Operation(
    rowwise=True,
    forward=_hardswish,
    vjp=_hardswish_vjp,
    flops=per_element(forward=5, inputs=5),
    keeps=("input",),
    scratch=like_input(1, np.bool_),
)
SOFTMAX: Operation[Softmax] = Operation(
    rowwise=True,
    forward=_softmax,
    vjp=_softmax_vjp,
    flops=per_element(forward=5, inputs=4),
    shape=_softmax_shape,
    keeps=("output",),
    scratch=_softmax_scratch,
)
