"""The loss of the best constant answer is that of a model that gives it, and no other is less."""

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.baseline import constant_loss
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.metrics import summarize
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key, uniform
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Dense,
    Huber,
    Joint,
    JointPart,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Model,
    SoftmaxCrossEntropy,
    Target,
)

LABELS = np.repeat(np.arange(4), (30, 5, 9, 6))
NUMBERS = uniform(Key(1, CHECK), 150).reshape(50, 3) ** 3
SHARES = NUMBERS / NUMBERS.sum(axis=1, keepdims=True)


def loss_of(loss: Loss, targets: Array, answer: Array) -> float:
    """What a model's loss is that gives one answer to every row."""
    labels = targets.ndim == 1
    target = Target("labels", classes=4) if labels else Target("numbers", shape=targets.shape[1:])
    graph = build_graph(Model((Dense(len(answer)),)), loss, (1,), target)
    plan = Plan(graph, len(targets), np.float64)
    plan.parameters[graph.parameters[1].place] = answer
    plan.target(len(targets))[...] = targets
    return summarize(loss, plan.evaluate(len(targets)))["loss"]


def logits(shares: Array) -> Array:
    return np.log(shares)


SMOOTH = SoftmaxCrossEntropy(0.2, class_weights=(1.0, 2.0, 0.5, 1.0))


def smooth_truths() -> Array:
    weights, counts = np.array(SMOOTH.class_weights), np.bincount(LABELS)
    truths = weights * (0.8 * counts + 0.2 * counts.sum() / 4)
    return truths / truths.sum()


CASES: list[tuple[Loss, Array, Array]] = [
    (SoftmaxCrossEntropy(), LABELS, logits(np.bincount(LABELS) / len(LABELS))),
    (SMOOTH, LABELS, logits(smooth_truths())),
    (MeanSquaredError(), NUMBERS, NUMBERS.mean(axis=0)),
    (MeanAbsoluteError(), NUMBERS, np.median(NUMBERS, axis=0)),
    (BinaryCrossEntropy(), NUMBERS, logits(NUMBERS.mean(axis=0) / (1 - NUMBERS.mean(axis=0)))),
    (Huber(10.0), NUMBERS, NUMBERS.mean(axis=0)),
    (Huber(1e-3), NUMBERS, np.median(NUMBERS, axis=0)),
    (KlDivergence(), SHARES, logits(SHARES.mean(axis=0))),
]


@pytest.mark.parametrize(("loss", "targets", "answer"), CASES, ids=lambda each: type(each).__name__)
def test_it_is_the_loss_of_the_best_constant_answer(
    loss: Loss, targets: Array, answer: Array
) -> None:
    best = constant_loss(loss, targets)
    assert best == pytest.approx(loss_of(loss, targets, answer), rel=1e-3)
    for nudge in np.eye(len(answer)):
        assert best <= loss_of(loss, targets, answer + 0.3 * nudge)


def test_ignored_labels_do_not_count() -> None:
    loss = SoftmaxCrossEntropy(ignore_index=0)
    assert constant_loss(loss, np.array([0, 0, 1, 1])) == 0
    assert constant_loss(loss, np.array([0, 0])) is None


def test_a_joint_loss_is_the_weighted_sum_of_its_parts() -> None:
    parts = (
        JointPart("a", "a", SoftmaxCrossEntropy(), 2.0),
        JointPart("b", "b", MeanSquaredError()),
    )
    target = Target(
        "joint", shape=(4,), parts=(Target("labels", classes=4), Target("numbers", shape=(3,)))
    )
    both = np.concatenate([LABELS[:, None], NUMBERS], axis=1)
    first, second = (
        constant_loss(part.loss, numbers)
        for part, numbers in zip(parts, (LABELS, NUMBERS), strict=True)
    )
    assert first and second
    assert constant_loss(Joint(parts), both, target) == pytest.approx(2 * first + second)
