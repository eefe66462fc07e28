import math

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.numerics import expm1, normal_cdf, sigmoid, softplus

X = np.concatenate([np.linspace(-40, 40, 4001), [-1e4, -745.0, -0.0, 0.0, 745.0, 1e4]])
PRECISION = {np.float32: 3e-7, np.float64: 1e-15}


def buffers(x: Array) -> tuple[Array, Array, Array]:
    return np.empty_like(x), np.empty_like(x), np.empty_like(x)


@pytest.mark.parametrize("dtype", PRECISION)
def test_sigmoid_holds_its_relative_precision_everywhere(dtype: type[np.floating]) -> None:
    x = X[np.abs(X) < 80].astype(dtype)
    out, scratch, _ = buffers(x)
    sigmoid(x, out, scratch)
    exact = [1 / (1 + math.exp(-number)) for number in x.tolist()]
    np.testing.assert_allclose(out, exact, rtol=40 * PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_expm1_holds_its_relative_precision_below_zero(dtype: type[np.floating]) -> None:
    x = np.concatenate([X[X <= 0], [-1e-3, -1e-6, -1e-12]]).astype(dtype)
    out, scratch, _ = buffers(x)
    expm1(x, out, scratch)
    exact = [math.expm1(number) for number in x.tolist()]
    np.testing.assert_allclose(out, exact, rtol=4 * PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_softplus_holds_everywhere(dtype: type[np.floating]) -> None:
    x = X.astype(dtype)
    out, scratch, _ = buffers(x)
    with np.errstate(under="ignore"):
        softplus(x, out, scratch)
    exact = [max(n, 0) + math.log1p(math.exp(-abs(n))) for n in x.tolist()]
    np.testing.assert_allclose(out, exact, rtol=PRECISION[dtype], atol=PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_the_normal_distribution_function_is_exact_to_a_rounding(dtype: type[np.floating]) -> None:
    x = X.astype(dtype)
    out, t, bell = buffers(x)
    with np.errstate(under="ignore"):
        normal_cdf(x, out, t, bell)
    exact = [math.erfc(-number / math.sqrt(2)) / 2 for number in x.tolist()]
    np.testing.assert_allclose(out, exact, rtol=0, atol=PRECISION[dtype])


@pytest.mark.parametrize("function", [sigmoid, softplus, expm1])
def test_numbers_that_are_not_numbers_stay_so(function: object) -> None:
    x = np.array([math.nan], np.float32)
    out, scratch, _ = buffers(x)
    assert callable(function)
    function(x, out, scratch)
    assert math.isnan(out[0])
