"""Activations with their slope on the way, so that going back is one multiplication.

Each scalar rule gives the value and the slope at x; each kernel applies it to numbers in a line, or
to the lines of a product and a bias, over which the slope is written.
"""

# Capital letters in names are axes.
# ruff: noqa: N803

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gradloom.worker.engine import activations as twins
from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.exponential import exp
from gradloom.worker.engine.kernels.squashing import sigmoid, tanh
from gradloom.worker.engine.numerics import INVERSE_ROOT_TWO_PI, MILLS
from gradloom.worker.engine.operation import Call, Operation, like_input
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Gelu, GeluApproximation

# Any: a NumPy scalar of float32 or float64, by which Numba compiles the function.
Number = Any

_TWICE_SCALE = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715
_SINGLE, _DOUBLE = MILLS[np.float32], MILLS[np.float64]


@inner
def _relu_rule(x: Number) -> tuple[Number, Number]:
    zero = type(x)(0)
    # NaN is not below zero, so it is kept.
    return (zero if x < zero else x), (type(x)(1) if x > zero else zero)


@inner
def _tanh_rule(x: Number) -> tuple[Number, Number]:
    y = tanh(x)
    return y, type(x)(1) - y * y


@inner
def _sigmoid_rule(x: Number) -> tuple[Number, Number]:
    y = sigmoid(x)
    return y, y * (type(x)(1) - y)


@inner
def _silu_rule(x: Number) -> tuple[Number, Number]:
    gate = sigmoid(x)
    y = x * gate
    return y, gate + y * (type(x)(1) - gate)


@inner
def _gelu_tanh_rule(x: Number) -> tuple[Number, Number]:
    """Since (1 + tanh z) / 2 is σ(2z)."""
    square = x * x
    minus = type(x)(-_TWICE_SCALE) * x * (type(x)(1) + type(x)(_CUBIC) * square)
    gate = type(x)(1) / (type(x)(1) + exp(minus))
    y = x * gate
    inner = type(x)(_TWICE_SCALE) * (type(x)(1) + type(x)(3 * _CUBIC) * square)
    return y, gate + y * (type(x)(1) - gate) * inner


@inner
def _mills_single(t: Number) -> Number:
    """R of normal_cdf by Horner's rule, step by step: a loop over it would not vectorise."""
    r = t * np.float32(_SINGLE[10]) + np.float32(_SINGLE[9])
    r = r * t + np.float32(_SINGLE[8])
    r = r * t + np.float32(_SINGLE[7])
    r = r * t + np.float32(_SINGLE[6])
    r = r * t + np.float32(_SINGLE[5])
    r = r * t + np.float32(_SINGLE[4])
    r = r * t + np.float32(_SINGLE[3])
    r = r * t + np.float32(_SINGLE[2])
    r = r * t + np.float32(_SINGLE[1])
    return r * t + np.float32(_SINGLE[0])


@inner
def _mills_double(t: Number) -> Number:
    """Checks of gradients need no speed."""
    r = t * 0.0 + _DOUBLE[-1]
    for k in range(len(_DOUBLE) - 2, -1, -1):
        r = r * t + _DOUBLE[k]
    return r


@inner
def _mills(t: Number) -> Number:
    if isinstance(t, np.float32):
        return _mills_single(t)
    # Numba drops the branch of the other type where it stands in an else.
    else:
        return _mills_double(t)


@inner
def _gelu_rule(x: Number) -> tuple[Number, Number]:
    """By the form of normal_cdf."""
    one, half = type(x)(1), type(x)(0.5)
    away = -x if x < 0 else x
    bell = exp(x * x * -half)
    t = one / (one + away * type(x)(0.25))
    beyond = bell * t * _mills(t + t - one)
    gate = beyond if x < 0 else one - beyond
    return x * gate, gate + x * bell * type(x)(INVERSE_ROOT_TWO_PI)


@kernel
def relu(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _relu_rule(x[i])


@kernel
def relu_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _relu_rule(slope[u] + bias_U[u])


@kernel
def tanh_line(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _tanh_rule(x[i])


@kernel
def tanh_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _tanh_rule(slope[u] + bias_U[u])


@kernel
def sigmoid_line(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _sigmoid_rule(x[i])


@kernel
def sigmoid_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _sigmoid_rule(slope[u] + bias_U[u])


@kernel
def silu(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _silu_rule(x[i])


@kernel
def silu_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _silu_rule(slope[u] + bias_U[u])


@kernel
def gelu_tanh(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _gelu_tanh_rule(x[i])


@kernel
def gelu_tanh_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _gelu_tanh_rule(slope[u] + bias_U[u])


@kernel
def gelu(x: Array, y: Array, slope: Array) -> None:
    """Numbers in a line."""
    for i in range(x.size):
        y[i], slope[i] = _gelu_rule(x[i])


@kernel
def gelu_of_product(slope_MU: Array, bias_U: Array, y_MU: Array) -> None:
    """Lines of products, and a bias."""
    for m in range(len(y_MU)):
        y, slope = y_MU[m], slope_MU[m]
        for u in range(bias_U.size):
            y[u], slope[u] = _gelu_rule(slope[u] + bias_U[u])


Line = Callable[[Array, Array, Array], None]


def _elementwise(twin: Operation[Any], line: Line) -> Operation[Any]:
    def forward(call: Call[Any], _key: Key | None) -> None:
        line(call.inputs[0].reshape(-1), call.output.reshape(-1), call.saved[0].reshape(-1))

    return replace(
        twin,
        forward=forward,
        vjp=_vjp,
        keeps=(),
        saved=like_input(1),
        scratch=like_input(0),
        rowwise=True,
    )


def _vjp(call: Call[Any]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.multiply(call.output_gradient, call.saved[0], out=dx)


RELU = _elementwise(twins.RELU, relu)
TANH = _elementwise(twins.TANH, tanh_line)
SIGMOID = _elementwise(twins.SIGMOID, sigmoid_line)
SILU = _elementwise(twins.SILU, silu)


def _gelu(call: Call[Gelu], _key: Key | None) -> None:
    line = gelu_tanh if call.layer.approximation is GeluApproximation.TANH else gelu
    line(call.inputs[0].reshape(-1), call.output.reshape(-1), call.saved[0].reshape(-1))


GELU = replace(_elementwise(twins.GELU, gelu), forward=_gelu)
