import numpy as np

from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Flatten,
    Layer,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    Target,
)


def predict(layer: Layer, rows: np.ndarray, width: int) -> np.ndarray:
    target = Target("numbers", shape=(width,))
    plan = Plan(build_graph(Model((layer,)), MeanSquaredError(), rows.shape[1:], target), len(rows))
    plan.inputs(len(rows))[...] = rows
    return plan.predict(len(rows))


def test_flatten_keeps_the_order_of_a_rows_numbers() -> None:
    rows = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(predict(Flatten(), rows, 12), rows.reshape(2, 12))


def test_a_residual_adds_what_its_layers_make_of_its_input() -> None:
    rows = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal(predict(Residual((Relu(),)), rows, 2), [[-1.0, 4.0]])
