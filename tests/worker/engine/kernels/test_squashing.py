import numpy as np
import numpy.typing as npt
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.squashing import sigmoid, tanh


@kernel
def tanhs(x: Array, out: Array) -> None:
    for i in range(len(x)):
        out[i] = tanh(x[i])


@kernel
def sigmoids(x: Array, out: Array) -> None:
    for i in range(len(x)):
        out[i] = sigmoid(x[i])


KINDS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def around_zero(dtype: npt.DTypeLike) -> Array:
    sizes = np.logspace(-30, 1.9, 5000)
    return np.concatenate([-sizes, sizes, np.linspace(-20, 20, 5001)]).astype(dtype)


@KINDS
def test_tanh_is_exact_to_some_roundings_even_near_zero(dtype: type[np.floating]) -> None:
    x = around_zero(dtype)
    found = np.empty_like(x)
    tanhs(x, found)
    expected = np.tanh(x.astype(np.longdouble))
    np.testing.assert_allclose(found, expected, rtol=2 * float(np.finfo(dtype).eps), atol=0)


@KINDS
def test_sigmoid_is_exact_to_some_roundings(dtype: type[np.floating]) -> None:
    x = around_zero(dtype)
    x = x[x > -80]
    found = np.empty_like(x)
    sigmoids(x, found)
    expected = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    np.testing.assert_allclose(found, expected, rtol=4 * float(np.finfo(dtype).eps), atol=0)


@KINDS
def test_the_ends_are_reached_and_nan_stays(dtype: type[np.floating]) -> None:
    x = np.array([-np.inf, np.inf, np.nan], dtype)
    found = np.empty_like(x)
    tanhs(x, found)
    np.testing.assert_array_equal(found, [-1, 1, np.nan])
    sigmoids(x, found)
    np.testing.assert_allclose(found, [0, 1, np.nan], atol=1e-30)
