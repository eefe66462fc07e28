"""LSTM and GRU: against PyTorch's formulas step by step, their twins, and central differences."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.gradient_check import check_gradients, fill_rows
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.joining import come_to_the_same
from gradloom.worker.engine.kernels.operations import FAST
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.spec import (
    Dense,
    Gru,
    Initializer,
    Lstm,
    MeanSquaredError,
    Model,
    Residual,
    SoftmaxCrossEntropy,
    Target,
)

Layer = Lstm | Gru
TABLES = {"twin": OPERATIONS, "kernels": FAST}
TABLE = pytest.mark.parametrize("operations", TABLES.values(), ids=TABLES)

LAYERS = st.builds(
    lambda kind, *fields: kind(*fields),
    st.sampled_from([Lstm, Gru]),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def alone(layer: Layer, steps: int, inputs: int) -> Graph:
    output = OPERATIONS["lstm"].shape(layer, ((steps, inputs),))
    target = Target("numbers", shape=output)
    return build_graph(Model((layer,)), MeanSquaredError(), (steps, inputs), target)


def plan_of(graph: Graph, rows: int, operations: Operations, seed: int = 0) -> Plan:
    plan = Plan(graph, rows, np.float32, input_gradient=True, operations=operations)
    fill_rows(plan, rows, seed)
    plan.parameters[...] = initial_parameters(graph, seed)
    return plan


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_states(x: Array, w_in: Array, w_state: Array, b_in: Array, b_state: Array) -> list[Array]:
    h = c = np.zeros(w_state.shape[1])
    states = []
    for x_t in x:
        i, f, g, o = np.split(w_in @ x_t + b_in + w_state @ h + b_state, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


def gru_states(x: Array, w_in: Array, w_state: Array, b_in: Array, b_state: Array) -> list[Array]:
    h = np.zeros(w_state.shape[1])
    states = []
    for x_t in x:
        from_input, from_state = np.split(w_in @ x_t + b_in, 3), np.split(w_state @ h + b_state, 3)
        r, z = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        n = np.tanh(from_input[2] + r * from_state[2])
        h = (1 - z) * n + z * h
        states.append(h)
    return states


STATES: dict[type[Layer], Callable[..., list[Array]]] = {Lstm: lstm_states, Gru: gru_states}
ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@TABLE
@pytest.mark.parametrize("kind", STATES)
def test_states_follow_pytorchs_formulas(kind: type[Layer], operations: Operations) -> None:
    graph = alone(kind(4, return_sequences=True, bidirectional=True), 5, 3)
    plan = plan_of(graph, 2, operations)
    plan.parameters += 0.1
    named = {
        parameter.name.removeprefix("layers.0."): plan.parameters[parameter.place]
        .reshape(parameter.shape)
        .astype(np.float64)
        for parameter in graph.parameters
    }
    found = plan.predict(2)
    for x, y in zip(plan.inputs(2).astype(np.float64), found, strict=True):
        forward = STATES[kind](x, *(named[f"{name}_l0"] for name in ORDER))
        backward = STATES[kind](x[::-1], *(named[f"{name}_l0_reverse"] for name in ORDER))
        expected = np.concatenate([forward, backward[::-1]], axis=1)
        np.testing.assert_allclose(y, expected, atol=1e-6)


@TABLE
@pytest.mark.parametrize("kind", STATES)
def test_the_last_states_are_those_read_last(kind: type[Layer], operations: Operations) -> None:
    whole = plan_of(alone(kind(4, True, True), 5, 3), 2, operations)
    last = plan_of(alone(kind(4, False, True), 5, 3), 2, operations)
    last.inputs(2)[...] = whole.inputs(2)
    states = whole.predict(2).copy()
    expected = np.concatenate([states[:, -1, :4], states[:, 0, 4:]], axis=1)
    np.testing.assert_array_equal(last.predict(2), expected)


def test_parameters_have_pytorchs_names_and_layouts() -> None:
    (node,) = alone(Lstm(4, bidirectional=True), 5, 3).nodes[1:]
    shapes = {p.name.removeprefix("layers.0."): p.shape for p in node.parameters}
    one = {"weight_ih": (16, 3), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
    assert list(shapes.items()) == [
        (f"{name}_{ending}", shape)
        for ending in ("l0", "l0_reverse")
        for name, shape in one.items()
    ]


def test_fans_are_those_of_one_gate() -> None:
    of_inputs, of_states, *biases = alone(Gru(4), 5, 3).parameters
    assert (of_inputs.fan_in, of_inputs.fan_out) == (3, 4)
    assert (of_states.fan_in, of_states.fan_out) == (4, 4)
    assert {bias.initializer for bias in biases} == {Initializer.ZEROS}


@TABLE
@given(
    layer=LAYERS,
    steps=st.integers(1, 6),
    inputs=st.integers(1, 5),
    rows=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_the_vjp_is_the_gradient(
    operations: Operations, layer: Layer, steps: int, inputs: int, rows: int, seed: int
) -> None:
    errors = check_gradients(
        alone(layer, steps, inputs), rows=rows, seed=seed, most_elements=24, operations=operations
    )
    assert max(error.relative_error for error in errors) < 1e-6


@TABLE
def test_the_gradient_of_a_composed_model_is_right(operations: Operations) -> None:
    layers = (
        Residual((Lstm(5, return_sequences=True), Dense(3))),
        Gru(3, return_sequences=True, bidirectional=True),
        Lstm(4, bidirectional=True),
        Dense(4),
    )
    graph = build_graph(Model(layers), SoftmaxCrossEntropy(), (4, 3), Target("labels", classes=4))
    errors = check_gradients(graph, most_elements=12, operations=operations)
    assert max(error.relative_error for error in errors) < 1e-6


@pytest.mark.parametrize("units", [1, 8, 13, 32])
@pytest.mark.parametrize("kind", STATES)
def test_a_kernel_computes_what_its_twin_does(kind: type[Layer], units: int) -> None:
    graph = alone(kind(units, True, True), 7, 5)
    twin, fast = (plan_of(graph, 6, table) for table in (OPERATIONS, FAST))
    statistics = [plan.value_and_grad(6, Key(0, 0)) for plan in (twin, fast)]
    np.testing.assert_allclose(*statistics, rtol=1e-5)
    np.testing.assert_allclose(fast.gradient, twin.gradient, atol=2e-5)
    np.testing.assert_allclose(fast.input_gradient(6), twin.input_gradient(6), atol=2e-6)


@TABLE
@pytest.mark.parametrize("kind", STATES)
def test_shards_of_a_multiple_of_twelve_rows_may_share_a_call(
    kind: type[Layer], operations: Operations
) -> None:
    graph = alone(kind(8, True, True), 4, 5)
    plan = Plan(graph, 48, registers=2, operations=operations)
    plan.parameters[...] = initial_parameters(graph, 1)
    assert come_to_the_same(plan, (Shard(24, 0), Shard(24, 1)))


@TABLE
@pytest.mark.parametrize("kind", STATES)
def test_what_is_not_finite_is_not_hidden(kind: type[Layer], operations: Operations) -> None:
    plan = plan_of(alone(kind(8), 4, 5), 3, operations)
    plan.inputs(3)[1, 2, 3] = np.nan
    assert np.isnan(plan.predict(3)).any(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize("layer", [Lstm(4), Gru(4, return_sequences=True)])
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_a_row_that_is_no_sequence_is_refused(layer: Layer, shape: tuple[int, ...]) -> None:
    target = Target("numbers", shape=(3,))
    with pytest.raises(ModelError, match="reads a sequence") as caught:
        build_graph(Model((layer, Dense(3))), MeanSquaredError(), shape, target)
    assert caught.value.faults[0].field.startswith("model.layers[0]")
