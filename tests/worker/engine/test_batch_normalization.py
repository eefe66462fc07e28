import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    MaxPool2d,
    MeanSquaredError,
    Model,
    Relu,
    SoftmaxCrossEntropy,
    Target,
)

RANDOM = np.random.Generator(np.random.Philox(4))


def alone(layer: Layer, shape: Shape) -> Graph:
    return build_graph(Model((layer,)), MeanSquaredError(), shape, Target("numbers", shape=shape))


def plan_of(layer: Layer, rows: Array) -> Plan:
    plan = Plan(alone(layer, rows.shape[1:]), len(rows), np.float64)
    plan.parameters[...] = initial_parameters(plan.graph, 0)
    plan.inputs(len(rows))[...] = rows
    return plan


def buffer(plan: Plan, vector: Array, name: str) -> Array:
    (place,) = (each.place for each in plan.graph.buffers if each.name == f"layers.0.{name}")
    return vector[place]


@pytest.mark.parametrize("shape", [(3,), (4, 5, 3)])
def test_the_loss_is_that_of_channels_of_mean_0_and_variance_1(shape: Shape) -> None:
    rows = 5 + 3 * RANDOM.normal(size=(6, *shape))
    plan = plan_of(BatchNorm(), rows)
    axes = tuple(range(len(shape)))
    expected = (rows - rows.mean(axis=axes)) / np.sqrt(rows.var(axis=axes) + 1e-5)
    plan.target(6)[...] = expected
    assert plan.value_and_grad(6, Key(0, 0))[1] < 1e-20


def test_running_means_are_told_as_pytorch_keeps_them() -> None:
    rows = 5 + 3 * RANDOM.normal(size=(6, 4, 3))
    plan = plan_of(BatchNorm(), rows)
    plan.value_and_grad(6, Key(0, 0))
    mean, variance = rows.mean(axis=(0, 1)), rows.var(axis=(0, 1), ddof=1)
    np.testing.assert_allclose(buffer(plan, plan.gradient, "running_mean"), 6 * mean)
    np.testing.assert_allclose(buffer(plan, plan.gradient, "running_var"), 6 * variance)
    assert {each.momentum for each in plan.graph.buffers} == {0.1}


def test_evaluation_uses_the_running_means() -> None:
    rows = RANDOM.normal(size=(5, 3))
    plan = plan_of(BatchNorm(epsilon=1.0), rows)
    np.testing.assert_allclose(plan.predict(5), rows / np.sqrt(2))
    buffer(plan, plan.parameters, "running_mean")[...] = 2
    buffer(plan, plan.parameters, "running_var")[...] = 8
    np.testing.assert_allclose(plan.predict(5), (rows - 2) / 3)


def test_one_number_a_channel_has_variance_0() -> None:
    plan = plan_of(BatchNorm(), RANDOM.normal(size=(1, 3)))
    plan.value_and_grad(1, Key(0, 0))
    assert not buffer(plan, plan.gradient, "running_var").any()


def test_numbers_far_from_0_keep_their_variance() -> None:
    rows = (1000 + RANDOM.normal(size=(64, 100, 2))).astype(np.float32)
    plan = Plan(alone(BatchNorm(), (100, 2)), 64)
    plan.parameters[...] = initial_parameters(plan.graph, 0)
    plan.inputs(64)[...] = rows
    plan.value_and_grad(64, Key(0, 0))
    expected = 64 * rows.astype(np.float64).var(axis=(0, 1), ddof=1)
    np.testing.assert_allclose(buffer(plan, plan.gradient, "running_var"), expected, rtol=1e-4)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    rows=st.integers(1, 5),
    epsilon=st.sampled_from([1e-5, 0.1]),
    seed=st.integers(0, 2**64 - 1),
)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_the_vjp_is_the_gradient(shape: Shape, rows: int, epsilon: float, seed: int) -> None:
    errors = check_gradients(alone(BatchNorm(epsilon=epsilon), shape), rows=rows, seed=seed)
    assert max(error.relative_error for error in errors) < 1e-6


def test_the_gradient_of_a_small_network_of_images_is_right() -> None:
    layers = (
        Conv2d(4, (3,), pads=(1,)),
        BatchNorm(),
        Relu(),
        MaxPool2d((2,)),
        Conv2d(6, (3,)),
        BatchNorm(),
        Relu(),
        Flatten(),
        Dense(3),
    )
    target = Target("labels", classes=3)
    graph = build_graph(Model(layers), SoftmaxCrossEntropy(), (8, 8, 2), target)
    errors = check_gradients(graph, rows=4, most_elements=24)
    assert max(error.relative_error for error in errors) < 1e-6


def test_a_row_without_axes_cannot_be_normalized() -> None:
    with pytest.raises(ModelError, match=r"batch_norm needs at least one number a row, gets \(\)"):
        alone(BatchNorm(), ())
