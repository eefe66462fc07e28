import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.metrics import STATISTICS, Statistics
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    LOSSES,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Loss,
    MeanSquaredError,
    Model,
    SoftmaxCrossEntropy,
    Target,
)


def through(loss: Loss, target: Target, shape: Shape) -> Graph:
    """A model that puts out what comes in, so that the loss stands alone."""
    return build_graph(Model((Dropout(0.0),)), loss, shape, target)


def measured(loss: Loss, outputs: Array, answers: Array) -> Statistics:
    classes = outputs.shape[1]
    labels = Target("labels", classes=classes)
    wanted = labels if answers.dtype == np.int64 else Target("numbers", shape=answers.shape[1:])
    plan = Plan(through(loss, wanted, outputs.shape[1:]), len(outputs))
    plan.inputs(len(outputs))[...] = outputs
    plan.target(len(outputs))[...] = answers
    return plan.evaluate(len(outputs))


GRAPHS = {
    SoftmaxCrossEntropy: lambda size: (Target("labels", classes=size), (size,)),
    MeanSquaredError: lambda size: (Target("numbers", shape=(size, 2)), (size, 2)),
    BinaryCrossEntropy: lambda size: (Target("numbers", shape=(size, 2)), (size, 2)),
}


def test_every_loss_has_rules_statistics_and_a_check() -> None:
    assert set(LOSSES.values()) == RULES.keys() == STATISTICS.keys() == GRAPHS.keys()


@pytest.mark.parametrize("loss", GRAPHS)
@given(size=st.integers(1, 7), rows=st.integers(1, 5), seed=st.integers(0, 2**64 - 1))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_the_vjp_is_the_gradient(loss: type[Loss], size: int, rows: int, seed: int) -> None:
    target, shape = GRAPHS[loss](size)
    (error,) = check_gradients(through(loss(), target, shape), rows=rows, seed=seed)
    assert error.relative_error < 1e-6


@pytest.mark.parametrize("loss", [MeanSquaredError(), BinaryCrossEntropy()])
def test_one_output_answers_a_target_without_axes(loss: Loss) -> None:
    graph = build_graph(Model((Dense(1),)), loss, (3,), Target("numbers"))
    assert max(error.relative_error for error in check_gradients(graph)) < 1e-6


def test_cross_entropy_is_minus_the_log_of_the_labels_probability() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    rows, loss, correct = measured(SoftmaxCrossEntropy(), logits, np.array([1, 0]))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -math.log(probabilities[0, 1]) - math.log(probabilities[1, 0])
    assert (rows, loss, correct) == pytest.approx((2, expected, 1), rel=1e-6)


def test_squared_error_is_a_mean_over_outputs_and_a_sum_over_rows() -> None:
    outputs, answers = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert measured(MeanSquaredError(), outputs, answers) == (2.0, 0.5 + 8.0, 0.5 + 2.0)


def test_binary_cross_entropy_takes_logits() -> None:
    outputs, answers = np.array([[2.0], [-1.0]]), np.array([[1.0], [1.0]])
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(1))
    rows, loss, correct = measured(BinaryCrossEntropy(), outputs, answers)
    assert (rows, loss, correct) == pytest.approx((2, expected, 1), rel=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    _, loss, _ = measured(SoftmaxCrossEntropy(), np.array([[1e30, -1e30]]), np.array([0]))
    assert loss == 0
    _, loss, _ = measured(BinaryCrossEntropy(), np.array([[1e30]]), np.array([[0.0]]))
    assert loss == pytest.approx(1e30)


def test_the_gradient_of_cross_entropy_sums_to_nothing_in_every_row() -> None:
    plan = Plan(through(SoftmaxCrossEntropy(), Target("labels", 3), (3,)), 4, input_gradient=True)
    plan.inputs(4)[...] = np.arange(12).reshape(4, 3)
    plan.value_and_grad(4, Key(0, 0))
    np.testing.assert_allclose(plan.input_gradient(4).sum(axis=1), np.zeros(4), atol=1e-6)
