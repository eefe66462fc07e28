import math
from collections.abc import Callable

import numpy as np
import pytest

from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Gelu,
    GeluApproximation,
    Layer,
    LeakyRelu,
    MeanSquaredError,
    Model,
    Relu,
    Sigmoid,
    Tanh,
    Target,
)

X = (-30.0, -3.0, -0.5, -0.0, 0.25, 2.0, 30.0)


def gelu(x: float) -> float:
    return x * math.erfc(-x / math.sqrt(2)) / 2


def gelu_tanh(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


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
    ],
    ids=str,
)
def test_an_activation_is_its_function(
    layer: Layer, exact: Callable[[float], float], dtype: type[np.float32] | type[np.float64]
) -> None:
    target = Target("numbers", shape=(len(X),))
    plan = Plan(build_graph(Model((layer,)), MeanSquaredError(), (len(X),), target), 1, dtype)
    plan.inputs(1)[...] = X
    precision = 10 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(plan.predict(1)[0], [exact(x) for x in X], precision, precision)
