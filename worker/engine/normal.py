"""The quantile of the normal distribution from + − × ÷ √ alone: no libm has a say in the bits."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def inverse_normal(probability: Floats) -> Floats:
    """The standard normal quantile, relative error about 1e-16, for 0 < probability < 1.

    Algorithm AS 241, PPND16 (Wichura, Applied Statistics 37, 1988).
    """
    offset = probability - 0.5
    central = 0.180625 - offset * offset
    result = offset * _ratio(_CENTRAL, np.maximum(central, 0.0))
    tail = np.abs(offset) > 0.425
    result[tail] = np.copysign(_tail(probability[tail]), offset[tail])
    return result


def _tail(probability: Floats) -> Floats:
    """The size of quantiles more than 0.425 of probability away from the middle."""
    radius = np.sqrt(-logarithm(np.minimum(probability, 1.0 - probability)))
    near = _ratio(_NEAR, radius - 1.6)
    far = _ratio(_FAR, radius - 5.0)
    return np.where(radius <= 5.0, near, far)


def logarithm(x: Floats) -> Floats:
    """The natural logarithm of normal positive numbers, from + − × ÷ alone.

    x = m 2ᵉ with m from √½ to √2, and log m = 2 artanh((m - 1) / (m + 1)) as a series.
    """
    mantissa, exponent = np.frexp(x)
    small = mantissa < _ROOT_HALF
    mantissa = np.where(small, 2.0 * mantissa, mantissa)
    exponent = np.where(small, exponent - 1, exponent)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    series = _horner(_ARTANH, ratio * ratio)
    return exponent * _LOG_2 + 2.0 * ratio * series


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Floats:
    numerator, denominator = coefficients
    return _horner(numerator, x) / _horner(denominator, x)


def _horner(coefficients: tuple[float, ...], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


_LOG_2 = 0.6931471805599453
_ROOT_HALF = 0.7071067811865476
_ARTANH = tuple(1.0 / (2 * k + 1) for k in range(12))

# Numerators and denominators of AS 241 by rising powers.
_CENTRAL = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_NEAR = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)
