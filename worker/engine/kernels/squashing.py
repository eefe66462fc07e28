"""Sigmoid and hyperbolic tangent as polynomials, so that loops over them vectorise.

To the same bits on every CPU, exact to a rounding or two of float32 or float64, NaN where x is.
"""

from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel

# Any: a NumPy scalar of float32 or float64, by which Numba compiles the function.
Number = Any

# Adding 1.5 × 2^mantissa rounds to a whole number, which then stands in the low bits.
_ROUND_SINGLE = np.float32(1.5 * 2**23)
_ROUND_DOUBLE = 1.5 * 2**52
_LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first short enough that its product with a whole number is exact.
_LN2_HIGH_SINGLE = np.float32(0.693145751953125)
_LN2_LOW_SINGLE = np.float32(1.428606765330187e-06)
_LN2_HIGH_DOUBLE = 0.69314718036912382
_LN2_LOW_DOUBLE = 1.9082149292705877e-10
_FURTHEST = 80.0


@kernel
def _expm1_single(x: Number) -> Number:
    """exp(x) - 1 for |x| ≤ 80: of x = n ln 2 + r the Taylor series in r, times 2ⁿ."""
    rounded = x * np.float32(_LOG2_E) + _ROUND_SINGLE
    n = rounded - _ROUND_SINGLE
    r = x - n * _LN2_HIGH_SINGLE - n * _LN2_LOW_SINGLE
    p = r * np.float32(1 / 5040) + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r * r + r
    bits = (np.float32(rounded).view(np.int32) << np.int32(23)) + np.int32(127 << 23)
    power = np.int32(bits).view(np.float32)
    return p * power + (power - np.float32(1))


@kernel
def _expm1_double(x: Number) -> Number:
    rounded = x * _LOG2_E + _ROUND_DOUBLE
    n = rounded - _ROUND_DOUBLE
    r = x - n * _LN2_HIGH_DOUBLE - n * _LN2_LOW_DOUBLE
    p = r * (1 / 6227020800) + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r * r + r
    bits = (np.float64(rounded).view(np.int64) << 52) + (1023 << 52)
    power = np.int64(bits).view(np.float64)
    return p * power + (power - 1.0)


@kernel
def _expm1(x: Number) -> Number:
    """exp(x) - 1, where |x| > 80 as if it were 80."""
    low, high = type(x)(-_FURTHEST), type(x)(_FURTHEST)
    # Comparisons with NaN are false, so it is kept.
    x = low if x < low else x
    x = high if x > high else x
    if isinstance(x, np.float32):
        return _expm1_single(x)
    # Numba drops the branch of the other type where it stands in an else.
    else:
        return _expm1_double(x)


@kernel
def tanh(x: Number) -> Number:
    """(exp(2x) - 1) / (exp(2x) + 1), precise near 0 as well."""
    e = _expm1(x + x)
    return e / (e + type(x)(2))


@kernel
def sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x)); below -80 what it is there, 2e-35."""
    return type(x)(1) / (type(x)(2) + _expm1(-x))


@kernel
def add_and_squash(x: Array, y: Array, z: Array) -> None:
    """x = σ(x + y + z) for arrays of one axis."""
    for i in range(len(x)):
        x[i] = sigmoid(x[i] + y[i] + z[i])
