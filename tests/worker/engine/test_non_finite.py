"""The first array that is not finite is found: weights, outputs, loss, gradients, with the rows."""

import numpy as np
import pytest

from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.operations import FAST
from gradloom.worker.engine.non_finite import NonFinite
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.spec import (
    Dense,
    LayerNorm,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    Target,
)

MODEL = Model((Dense(4), Residual((LayerNorm(), Dense(4))), Relu(), Dense(1)))
KEY = Key(0, DROPOUT)
ROWS = 6


@pytest.fixture(params=[OPERATIONS, FAST], ids=["numpy", "fast"])
def plan(request: pytest.FixtureRequest) -> Plan:
    operations: Operations = request.param
    graph = build_graph(MODEL, MeanSquaredError(), (3,), Target("numbers", shape=(1,)))
    plan = Plan(graph, ROWS, operations=operations)
    plan.read(initial_parameters(graph, 1))
    plan.inputs(ROWS)[...] = np.arange(ROWS * 3).reshape(ROWS, 3) % 5 - 2
    plan.target(ROWS)[...] = 1
    return plan


def place(plan: Plan, name: str) -> slice:
    return next(part.place for part in plan.graph.parameters if part.name == name)


def test_nothing_is_found_where_all_is_finite(plan: Plan) -> None:
    assert plan.locate(ROWS, KEY) is None


def test_a_walk_that_finds_nothing_computes_what_training_does(plan: Plan) -> None:
    plan.value_and_grad(ROWS, KEY)
    trained = plan.gradient.tobytes()
    plan.gradient[...] = 7
    plan.locate(ROWS, KEY)
    assert plan.gradient.tobytes() == trained


def test_an_input_that_is_no_number_is_named_with_its_rows(plan: Plan) -> None:
    plan.inputs(ROWS)[[1, 4], 2] = np.nan, np.inf
    assert plan.locate(ROWS, KEY) == NonFinite("model.layers[0].dense", "input", (1, 4))


def test_an_output_that_overflows_is_named_with_its_rows(plan: Plan) -> None:
    plan.parameters[place(plan, "layers.0.weight")] = 1e10
    plan.inputs(ROWS)[3] = 3e38
    assert plan.locate(ROWS, KEY) == NonFinite("model.layers[0].dense", "output", (3,))


def test_weights_that_are_no_numbers_are_named(plan: Plan) -> None:
    plan.parameters[place(plan, "layers.1.layers.1.bias")] = np.nan
    found = plan.locate(ROWS, KEY)
    assert found == NonFinite("model.layers[1].residual.layers[1].dense", "weights")


def test_a_loss_that_overflows_is_named(plan: Plan) -> None:
    plan.target(ROWS)[2] = -1e38
    assert plan.locate(ROWS, KEY) == NonFinite("loss", "value")
    plan.target(ROWS)[2] = -3e38
    assert plan.locate(ROWS, KEY) == NonFinite("loss", "value", (2,))


def test_a_gradient_that_overflows_on_the_way_back_is_named(plan: Plan) -> None:
    """The last layer's weights are huge, its input is zero: only the way back overflows."""
    plan.parameters[place(plan, "layers.0.weight")] = 0
    plan.parameters[place(plan, "layers.0.bias")] = 0
    plan.parameters[place(plan, "layers.1.layers.1.weight")] = 0
    plan.parameters[place(plan, "layers.1.layers.1.bias")] = 1e-38
    plan.parameters[place(plan, "layers.3.weight")] = 3e38
    plan.parameters[place(plan, "layers.3.bias")] = 100
    found = plan.locate(ROWS, KEY)
    assert found and found.what == "gradient of the input"
    assert found.path == "model.layers[3].dense"
