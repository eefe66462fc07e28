import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key, normal
from gradloom.worker.engine.spec import Dense, MeanSquaredError, Model, Target


def numbers(stream: int, *shape: int) -> Array:
    return normal(Key(0, 0, layer=stream), int(np.prod(shape))).reshape(shape)


def plan(rows: int, inputs: int, units: int, dtype: type[np.float32] | type[np.float64]) -> Plan:
    target = Target("numbers", shape=(units,))
    graph = build_graph(Model((Dense(units),)), MeanSquaredError(), (inputs,), target)
    made = Plan(graph, rows, dtype)
    made.parameters[...] = numbers(1, made.parameters.size)
    made.inputs(rows)[...] = numbers(2, rows, inputs)
    return made


@given(rows=st.integers(1, 30), inputs=st.integers(1, 30), units=st.integers(1, 30))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_dense_is_x_times_w_transposed_plus_b(rows: int, inputs: int, units: int) -> None:
    dense = plan(rows, inputs, units, np.float64)
    weight = dense.parameters[: units * inputs].reshape(units, inputs)
    bias = dense.parameters[units * inputs :]
    expected = np.sum(dense.inputs(rows)[:, None] * weight, axis=2) + bias
    np.testing.assert_allclose(dense.predict(rows), expected, rtol=1e-12, atol=1e-12)


@given(rows=st.integers(1, 40), spare=st.integers(0, 9), inputs=st.integers(1, 99))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_the_bits_do_not_depend_on_the_plan_they_are_computed_in(
    rows: int, spare: int, inputs: int
) -> None:
    exact, larger = plan(rows, inputs, 7, np.float32), plan(rows + spare, inputs, 7, np.float32)
    larger.inputs(rows)[...] = exact.inputs(rows)
    for made in (exact, larger):
        made.value_and_grad(rows, Key(0, 0))
    assert exact.gradient.tobytes() == larger.gradient.tobytes()
