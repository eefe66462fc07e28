import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.plan import Float, Plan
from gradloom.worker.engine.spec import (
    Elu,
    Gelu,
    GeluApproximation,
    Hardswish,
    Layer,
    LeakyRelu,
    MeanSquaredError,
    Model,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
    Target,
)

X = (-30.0, -3.0, -0.5, -0.0, 0.25, 2.0, 30.0)


def gelu(x: float) -> float:
    return x * math.erfc(-x / math.sqrt(2)) / 2


def gelu_tanh(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def selu(x: float) -> float:
    return 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x))


def put_out(
    layer: Layer, rows: Sequence[Sequence[float]] | Array, dtype: Float = np.float32
) -> Array:
    shape = np.shape(rows)[1:]
    target = Target("numbers", shape=shape)
    plan = Plan(build_graph(Model((layer,)), MeanSquaredError(), shape, target), len(rows), dtype)
    plan.inputs(len(rows))[...] = rows
    return plan.predict(len(rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("layer", "exact"),
    [
        (Relu(), lambda x: max(x, 0.0)),
        (LeakyRelu(0.1), lambda x: x if x > 0 else 0.1 * x),
        (LeakyRelu(0.0), lambda x: max(x, 0.0)),
        (Tanh(), math.tanh),
        (Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
        (Gelu(), gelu),
        (Gelu(GeluApproximation.TANH), gelu_tanh),
        (Elu(), lambda x: x if x > 0 else math.expm1(x)),
        (Elu(0.3), lambda x: x if x > 0 else 0.3 * math.expm1(x)),
        (Selu(), selu),
        (Silu(), lambda x: x / (1 + math.exp(-x))),
        (Softplus(), lambda x: math.log1p(math.exp(x))),
        (Hardswish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    ],
    # Its address is no name for a function.
    ids=lambda value: "" if callable(value) else str(value),
)
def test_an_activation_is_its_function(
    layer: Layer, exact: Callable[[float], float], dtype: Float
) -> None:
    precision = 10 * float(np.finfo(dtype).eps)
    exactly = [exact(x) for x in X]
    np.testing.assert_allclose(put_out(layer, [X], dtype)[0], exactly, precision, precision)


def test_an_elu_is_precise_near_zero() -> None:
    x = -1e-6
    assert put_out(Elu(), [(x,)])[0, 0] == pytest.approx(math.expm1(x), rel=1e-6)


def test_softmax_makes_shares_of_each_row() -> None:
    rows = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    expected = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(put_out(Softmax(), rows), expected, rtol=1e-6)


def test_softmax_of_huge_numbers_does_not_overflow() -> None:
    assert put_out(Softmax(), [(1e30, -1e30)]).tolist() == [[1.0, 0.0]]
