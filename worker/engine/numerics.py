"""Elementwise functions that hold for any finite input, written into arrays that exist.

Of NumPy's transcendental functions they use exp, log and tanh, whose float32 loops give the
same bits on every CPU of a profile.
"""

import math

import numpy as np

from gradloom.worker.engine.arrays import Array

INVERSE_ROOT_TWO_PI = 1 / math.sqrt(2 * math.pi)


def sigmoid(x: Array, out: Array, scratch: Array) -> None:
    """1 / (1 + exp(-x)), as exp(min(x, 0)) / (1 + exp(-|x|)): neither can overflow."""
    np.abs(x, out=scratch)
    np.negative(scratch, out=scratch)
    np.exp(scratch, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.minimum(x, 0, out=out)
    np.exp(out, out=out)
    np.divide(out, scratch, out=out)


def softplus(x: Array, out: Array, scratch: Array) -> None:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)), to the dtype's absolute precision."""
    np.abs(x, out=scratch)
    np.negative(scratch, out=scratch)
    np.exp(scratch, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.log(scratch, out=scratch)
    np.maximum(x, 0, out=out)
    np.add(out, scratch, out=out)


def expm1(x: Array, out: Array, scratch: Array) -> None:
    """exp(x) - 1 for x ≤ 0, as 2 t / (1 - t) with t = tanh(x / 2): precise near 0 as well."""
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    np.subtract(1, out, out=scratch)
    np.divide(out, scratch, out=out)
    np.multiply(out, 2, out=out)


def gaussian(x: Array, out: Array) -> None:
    """exp(-x² / 2)."""
    np.multiply(x, x, out=out)
    np.multiply(out, -0.5, out=out)
    np.exp(out, out=out)


def normal_cdf(x: Array, out: Array, t: Array, bell: Array) -> None:
    """The standard normal distribution function Φ(x), absolute error about one rounding.

    Φ(-|x|) = exp(-x² / 2) t R(2t - 1) with t = 1 / (1 + |x| / 4), the form of Hastings (1955).
    Instead of his five coefficients, R is our own Chebyshev interpolant at 60 digits, cut off
    where a dtype sees no more of it. t and bell are scratch.
    """
    gaussian(x, bell)
    np.abs(x, out=t)
    np.multiply(t, 0.25, out=t)
    np.add(t, 1, out=t)
    np.divide(1, t, out=t)
    np.multiply(bell, t, out=bell)
    np.multiply(t, 2, out=t)
    np.subtract(t, 1, out=t)
    _horner(MILLS[x.dtype.type], t, out)
    np.multiply(out, bell, out=out)
    np.subtract(0.5, out, out=out)
    np.copysign(out, x, out=out)
    np.add(out, 0.5, out=out)


def _horner(coefficients: tuple[float, ...], x: Array, out: Array) -> None:
    out.fill(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        np.multiply(out, x, out=out)
        np.add(out, coefficient, out=out)


# R of normal_cdf by rising powers.
MILLS: dict[type[np.generic], tuple[float, ...]] = {
    np.float32: (
        0.188821283,
        0.151974101,
        0.0967843485,
        0.0466316777,
        0.0150991621,
        0.00187805785,
        -0.000869988659,
        -0.000390946725,
        3.34133468e-05,
        3.93301424e-05,
        -4.32770575e-07,
    ),
    np.float64: (
        0.18882128260393785,
        0.15197416049297308,
        0.09678435018555664,
        0.04663046448990915,
        0.01509914372259023,
        0.001885047241846578,
        -0.0008699230891628756,
        -0.00040770461685247714,
        3.3336052290036945e-05,
        5.7773754340693565e-05,
        -4.769190076797745e-07,
        -8.786277975709413e-06,
        1.7865053828168654e-07,
        1.4804027614809944e-06,
        -1.5623877693912945e-07,
        -2.5619627541381934e-07,
        6.61834320494967e-08,
        3.994349035559805e-08,
        -1.9695900856734096e-08,
        -4.461231943245354e-09,
        4.01684673933235e-09,
        1.4684066912467977e-10,
        -4.221644241696684e-10,
        2.999445507813274e-11,
    ),
}
