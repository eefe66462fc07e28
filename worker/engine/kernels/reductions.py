"""Sums and maxima along a line in 8 lanes: element i in lane i mod 8, the last few in the first.

The lanes are variables, which the compiler puts side by side without any reassociation.
"""

from typing import Any

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner

# Any: a NumPy scalar of float32 or float64, by which Numba compiles the function.
Number = Any


@inner
def total(x: Array) -> Number:
    """Σ x."""
    a = b = c = d = e = f = g = h = type(x[0])(0)
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        part = x[i : i + 8]
        a += part[0]
        b += part[1]
        c += part[2]
        d += part[3]
        e += part[4]
        f += part[5]
        g += part[6]
        h += part[7]
    for i in range(whole, x.size):
        a += x[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@inner
def dot(x: Array, y: Array) -> Number:
    """Σ x y."""
    a = b = c = d = e = f = g = h = type(x[0])(0)
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        left, right = x[i : i + 8], y[i : i + 8]
        a += left[0] * right[0]
        b += left[1] * right[1]
        c += left[2] * right[2]
        d += left[3] * right[3]
        e += left[4] * right[4]
        f += left[5] * right[5]
        g += left[6] * right[6]
        h += left[7] * right[7]
    for i in range(whole, x.size):
        a += x[i] * y[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@inner
def largest(x: Array) -> Number:
    """The largest element, -3e38 if it is less; NaN counts as less."""
    a = b = c = d = e = f = g = h = type(x[0])(-3e38)
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        part = x[i : i + 8]
        a = part[0] if part[0] > a else a
        b = part[1] if part[1] > b else b
        c = part[2] if part[2] > c else c
        d = part[3] if part[3] > d else d
        e = part[4] if part[4] > e else e
        f = part[5] if part[5] > f else f
        g = part[6] if part[6] > g else g
        h = part[7] if part[7] > h else h
    for i in range(whole, x.size):
        a = x[i] if x[i] > a else a
    a = b if b > a else a
    c = d if d > c else c
    e = f if f > e else e
    g = h if h > g else g
    a = c if c > a else a
    e = g if g > e else e
    return e if e > a else a
