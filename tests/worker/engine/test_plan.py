import itertools
import math
import pickle
import tracemalloc
from itertools import count

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.optimizers import init, update
from gradloom.worker.engine.plan import Plan, TooManyRows
from gradloom.worker.engine.random import DROPOUT, Key, normal
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Dropout,
    Gelu,
    LeakyRelu,
    Model,
    Relu,
    Residual,
    Sigmoid,
    SoftmaxCrossEntropy,
    Target,
)

KEY = Key(1, DROPOUT)
INPUTS, CLASSES = 12, 4
EVERYTHING = Model(
    (
        Dense(16),
        Relu(),
        Dropout(0.3),
        Residual((Dense(16), Gelu(), Residual((Sigmoid(),)), Dense(16), LeakyRelu())),
        Dense(CLASSES),
    )
)


def graph(model: Model = EVERYTHING) -> Graph:
    return build_graph(model, SoftmaxCrossEntropy(), (INPUTS,), Target("labels", classes=CLASSES))


def data(rows: int) -> tuple[Array, Array]:
    """Rows whose class is where the largest of their first numbers stands."""
    inputs = normal(Key(3, 0), rows * INPUTS).reshape(rows, INPUTS).astype(np.float32)
    return inputs, np.argmax(inputs[:, :CLASSES], axis=1)


def plan_with(rows: int, most: int | None = None, model: Model = EVERYTHING) -> Plan:
    plan = Plan(graph(model), most or rows)
    plan.parameters[...] = initial_parameters(plan.graph, 5)
    fill(plan, *data(rows))
    return plan


def fill(plan: Plan, inputs: Array, labels: Array) -> None:
    plan.inputs(len(inputs))[...] = inputs
    plan.target(len(inputs))[...] = labels


def trained(plan: Plan, rows: int, key: Key = KEY) -> tuple[Statistics, bytes]:
    statistics = plan.value_and_grad(rows, key)
    return statistics, plan.gradient.tobytes()


def test_the_same_rows_and_key_come_to_the_same_bits() -> None:
    plan = plan_with(20)
    assert trained(plan, 20) == trained(plan, 20)


def test_another_step_drops_other_units() -> None:
    plan = plan_with(20)
    assert trained(plan, 20, Key(1, DROPOUT, step=1)) != trained(plan, 20)


def test_fewer_rows_come_to_the_bits_of_a_plan_made_for_them() -> None:
    larger, exact = plan_with(7, most=50), plan_with(7)
    assert trained(larger, 7) == trained(exact, 7)


def test_what_an_earlier_step_left_in_memory_has_no_effect() -> None:
    plan = plan_with(20, most=30)
    clean = trained(plan, 20)
    fill(plan, np.full((30, INPUTS), math.nan), np.zeros(30))
    plan.value_and_grad(30, KEY)
    fill(plan, *data(20))
    assert trained(plan, 20) == clean


def test_a_shard_given_up_at_any_operation_leaves_nothing_behind() -> None:
    inputs, labels = data(4)
    plan = plan_with(4)
    fill(plan, inputs, labels)
    expected = trained(plan, 4)
    asked = 0
    while True:
        left = count(-asked)
        if plan.train_unless(Shard(4), KEY, lambda left=left: next(left) == 0) is not None:
            break
        assert trained(plan, 4) == expected
        asked += 1
    assert asked > len(plan.graph.nodes)


def test_a_shard_that_is_not_given_up_comes_to_the_bits_of_any_other() -> None:
    inputs, labels = data(4)
    plan = plan_with(4)
    fill(plan, inputs, labels)
    expected = trained(plan, 4)
    plan.gradient.fill(np.nan)
    statistics = plan.train_unless(Shard(4), KEY, lambda: False)
    assert (statistics, plan.gradient.tobytes()) == expected


def test_the_gradient_is_a_sum_over_rows() -> None:
    model = Model((Dense(16), Relu(), Dense(CLASSES)))
    plan = plan_with(6, model=model)
    statistics = plan.value_and_grad(6, KEY)
    whole, parts, counted = plan.gradient.copy(), np.zeros_like(plan.gradient), np.zeros(4)
    for inputs, label in zip(*data(6), strict=True):
        fill(plan, inputs[None], label[None])
        counted += plan.value_and_grad(1, KEY)
        parts += plan.gradient
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    np.testing.assert_allclose(counted, statistics, rtol=1e-6)


def test_no_rows_give_exact_zeros() -> None:
    plan = plan_with(4)
    plan.value_and_grad(4, KEY)
    assert plan.value_and_grad(0, KEY) == plan.evaluate(0) == (0.0,) * 4
    assert not plan.gradient.any()


def test_evaluation_drops_nothing() -> None:
    without = Model(tuple(layer for layer in EVERYTHING.layers if not isinstance(layer, Dropout)))
    with_dropout = plan_with(20)
    plain = Plan(graph(without), 20)
    plain.parameters[...] = with_dropout.parameters
    fill(plain, *data(20))
    assert with_dropout.evaluate(20) == plain.evaluate(20)


def test_a_prediction_is_the_models_output_for_each_row() -> None:
    plan = plan_with(20)
    *_, correct = plan.evaluate(20)
    hits = np.argmax(plan.predict(20), axis=1) == data(20)[1]
    assert plan.predict(20).shape == (20, CLASSES)
    assert np.count_nonzero(hits) == correct


def test_statistics_are_plain_numbers() -> None:
    statistics = plan_with(5).value_and_grad(5, KEY)
    assert [type(value) for value in statistics] == [float] * len(graph().statistics)


def test_numbers_that_are_not_numbers_show_in_the_loss_and_warn_nobody() -> None:
    plan = plan_with(5)
    plan.inputs(5)[2, 3] = math.inf
    _, loss, *_ = plan.value_and_grad(5, KEY)
    assert math.isnan(loss)


def test_the_parts_of_a_step_are_timed() -> None:
    ticks = itertools.accumulate([100.0, 2.0, 3.0])
    plan = Plan(graph(), 4, clock=lambda: next(ticks))
    plan.value_and_grad(4, KEY)
    assert (plan.forward_seconds, plan.backward_seconds) == (2.0, 3.0)


def test_more_rows_than_planned_are_refused() -> None:
    with pytest.raises(TooManyRows) as caught:
        plan_with(4).inputs(5)
    assert str(caught.value) == "The plan is for at most 4 rows, not 5: make a larger plan."
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_a_step_allocates_nothing_that_grows_with_the_rows() -> None:
    few, many = (peak_bytes(rows) for rows in (2048, 8192))
    assert many < few + 1000
    assert many < 100_000


def test_the_memory_of_a_plan_is_known_before_it_is_made() -> None:
    rows, wanted = 10_000, 10_000 * row_bytes(graph())
    tracemalloc.start()
    try:
        plan = Plan(graph(), rows)
        taken = tracemalloc.get_traced_memory()[0] - 2 * plan.parameters.nbytes
    finally:
        tracemalloc.stop()
    assert taken == pytest.approx(wanted, rel=0.03)


def peak_bytes(rows: int) -> int:
    plan = plan_with(rows)
    plan.value_and_grad(rows, KEY)
    tracemalloc.start()
    try:
        plan.value_and_grad(rows, KEY)
        plan.evaluate(rows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_network_with_dropout_learns() -> None:
    rows, plan = 64, plan_with(64)
    rule = Adam(0.01)
    state = init(rule, plan.parameters)
    before = plan.evaluate(rows)
    for step in range(1, 101):
        plan.value_and_grad(rows, Key(1, DROPOUT, step=step))
        gradient = plan.gradient / np.float32(rows)
        arrays = (gradient, plan.parameters, state, plan.parameters, state)
        update(rule, *arrays, learning_rate=0.01, step=step)
    _, loss, _, correct = plan.evaluate(rows)
    assert loss < 0.2 * before[1]
    assert correct > 0.95 * rows
