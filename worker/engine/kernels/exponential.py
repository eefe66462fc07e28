"""exp as a polynomial, so that loops over it vectorise, to the same bits on every CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

# Any: a NumPy scalar of float32 or float64, by which Numba compiles the function.
Number = Any

# Adding 1.5 × 2^mantissa rounds to a whole number, which then stands in the low bits.
ROUND_SINGLE = np.float32(1.5 * 2**23)
ROUND_DOUBLE = 1.5 * 2**52
LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first short enough that its product with a whole number is exact.
LN2_HIGH_SINGLE = np.float32(0.693145751953125)
LN2_LOW_SINGLE = np.float32(1.428606765330187e-06)
LN2_HIGH_DOUBLE = 0.69314718036912382
LN2_LOW_DOUBLE = 1.9082149292705877e-10
FURTHEST = 80.0


def _single(x: Number) -> Number:
    """Of x = n ln 2 + r the Taylor series in r, times 2ⁿ."""
    low, high = np.float32(-FURTHEST), np.float32(FURTHEST)
    # Comparisons with NaN are false, so it is kept.
    x = low if x < low else x
    x = high if x > high else x
    rounded = x * np.float32(LOG2_E) + ROUND_SINGLE
    n = rounded - ROUND_SINGLE
    r = x - n * LN2_HIGH_SINGLE - n * LN2_LOW_SINGLE
    p = r * np.float32(1 / 720) + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r + np.float32(1)
    p = p * r + np.float32(1)
    bits = (np.float32(rounded).view(np.int32) << np.int32(23)) + np.int32(127 << 23)
    return p * np.int32(bits).view(np.float32)


def _double(x: Number) -> Number:
    x = -FURTHEST if x < -FURTHEST else x
    x = FURTHEST if x > FURTHEST else x
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
    p = p * r + 1.0
    p = p * r + 1.0
    bits = (np.float64(rounded).view(np.int64) << 52) + (1023 << 52)
    return p * np.int64(bits).view(np.float64)


def exp(x: Number) -> Number:
    """exp(x) inside of kernels, where |x| > 80 as if it were 80; NaN where x is."""
    return _single(x) if isinstance(x, np.float32) else _double(x)


# Any: Numba's types have no types.
@overload(exp)
def _of_type(x: Any) -> Callable[[Number], Number]:
    """Only what the type needs is compiled."""
    return _single if x == types.float32 else _double
