"""Cross-entropy in one pass against its twin and central differences."""

from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.gradient_check import check_gradients, fill_rows
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Dropout, Model, SoftmaxCrossEntropy, Target

ROWS = 7
LOSSES = (
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(label_smoothing=0.2),
    SoftmaxCrossEntropy(ignore_index=1),
    SoftmaxCrossEntropy(class_weights=(2.0, 0.0, 1.0)),
    SoftmaxCrossEntropy(0.3, 0, (0.5, 3.0)),
)
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES, ids=str)
EVERY_SHAPE = pytest.mark.parametrize("shape", [(1,), (3,), (10,), (4, 5), (2, 3, 19)], ids=str)


def graph(loss: SoftmaxCrossEntropy, shape: tuple[int, ...]) -> Graph:
    """A model that puts out what comes in."""
    classes = shape[-1]
    weights = (*loss.class_weights, *(0.7,) * classes)[:classes] if loss.class_weights else ()
    target = Target("labels", classes, shape[:-1])
    return build_graph(Model((Dropout(0.0),)), replace(loss, class_weights=weights), shape, target)


@EVERY_LOSS
@EVERY_SHAPE
def test_one_pass_comes_to_what_the_twin_does(
    loss: SoftmaxCrossEntropy, shape: tuple[int, ...]
) -> None:
    made = graph(loss, shape)
    found = []
    for rules in (RULES, FAST_RULES):
        plan = Plan(made, ROWS, input_gradient=True, losses=rules)
        fill_rows(plan, ROWS, seed=5)
        statistics = plan.value_and_grad(ROWS, Key(0, 0))
        found.append((statistics, plan.input_gradient(ROWS).copy()))
    (expected, gradient), (statistics, compiled) = found
    assert statistics == pytest.approx(expected, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(compiled, gradient, rtol=1e-5, atol=1e-6)


@EVERY_LOSS
@EVERY_SHAPE
def test_the_gradient_is_right(loss: SoftmaxCrossEntropy, shape: tuple[int, ...]) -> None:
    (error,) = check_gradients(graph(loss, shape), losses=FAST_RULES)
    assert error.relative_error < 1e-6


def test_ties_go_to_the_first() -> None:
    logits = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 3 + [[0.0] * 6])
    plan = Plan(graph(SoftmaxCrossEntropy(), (6,)), 4, losses=FAST_RULES)
    plan.inputs(4)[...], plan.target(4)[...] = logits, [0, 4, 5, 0]
    *_, correct, in_top = plan.evaluate(4)
    assert (correct, in_top) == (2, 2)


def test_huge_logits_do_not_overflow() -> None:
    plan = Plan(graph(SoftmaxCrossEntropy(), (2,)), 1, losses=FAST_RULES)
    plan.inputs(1)[...], plan.target(1)[...] = [1e30, -1e30], [0]
    assert plan.evaluate(1)[1] == 0
