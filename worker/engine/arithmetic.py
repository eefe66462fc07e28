"""Scalar functions of + − × ÷ √ alone, so that no libm version has a say in the bits."""

import math

# π^(2k+1) (-1)^k / (2k+1)!: the Taylor series of sin(πv), exact to 1e-18 for |v| ≤ 1/4.
_SINE_OF_HALF_TURNS = (
    3.141592653589793,
    -5.16771278004997,
    2.5501640398773455,
    -0.5992645293207921,
    0.08214588661112823,
    -0.0073704309457143504,
    0.00046630280576761255,
    -2.1915353447830217e-05,
    7.952054001475513e-07,
)


def power(base: float, exponent: int) -> float:
    """base ** exponent for exponent ≥ 0, by repeated squaring."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def root_power(base: float, share: float) -> float:
    """base ** share for a share from 0 up to but not 1: a product of repeated square roots."""
    result = 1.0
    while share > 0:
        base, share = math.sqrt(base), share * 2
        if share >= 1:
            result, share = result * base, share - 1
    return result


def cosine(half_turns: float) -> float:
    """cos(π × half_turns) for half_turns from 0 to 1; exactly 1 and -1 at the ends.

    1 - 2 sin²(πv / 2) up to a quarter turn, mirrored beyond.
    """
    if half_turns > 0.5:
        return -cosine(1.0 - half_turns)
    sine = _sine(half_turns / 2)
    return 1.0 - 2.0 * sine * sine


def _sine(half_turns: float) -> float:
    total = 0.0
    for coefficient in reversed(_SINE_OF_HALF_TURNS):
        total = total * (half_turns * half_turns) + coefficient
    return half_turns * total
