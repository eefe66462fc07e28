"""Sigmoid and hyperbolic tangent as polynomials, so that loops over them vectorise.

To the same bits on every CPU, exact to a rounding or two of float32 or float64, NaN where x is.
"""

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.exponential import (
    FURTHEST,
    LN2_HIGH_DOUBLE,
    LN2_HIGH_SINGLE,
    LN2_LOW_DOUBLE,
    LN2_LOW_SINGLE,
    LOG2_E,
    ROUND_DOUBLE,
    ROUND_SINGLE,
    Number,
)


@kernel
def _expm1_single(x: Number) -> Number:
    """exp(x) - 1 for |x| ≤ 80: of x = n ln 2 + r the Taylor series in r, times 2ⁿ."""
    rounded = x * np.float32(LOG2_E) + ROUND_SINGLE
    n = rounded - ROUND_SINGLE
    r = x - n * LN2_HIGH_SINGLE - n * LN2_LOW_SINGLE
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
    rounded = x * LOG2_E + ROUND_DOUBLE
    n = rounded - ROUND_DOUBLE
    r = x - n * LN2_HIGH_DOUBLE - n * LN2_LOW_DOUBLE
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
    low, high = type(x)(-FURTHEST), type(x)(FURTHEST)
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
