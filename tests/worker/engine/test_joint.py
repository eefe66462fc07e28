"""Several outputs, each with a loss of its own: one weighted sum, a mean over rows."""

from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.metrics import summarize
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Concat,
    Dense,
    Huber,
    Joint,
    JointPart,
    KlDivergence,
    Loss,
    MeanSquaredError,
    Model,
    ModelNode,
    Reshape,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)

LABELS = Target("labels", classes=3)
NUMBERS = Target("numbers", shape=(2,))

# The first output is read by the second as well.
MODEL = Model(
    nodes=(
        ModelNode("kind", ("trunk",), (Dense(3),)),
        ModelNode("place", ("trunk", "kind"), (Concat(), Dense(2))),
        ModelNode("trunk", ("data",), (Dense(4), Tanh())),
    ),
    outputs=("kind", "place"),
)
JOINT = Joint(
    (
        JointPart("kind", "labels", SoftmaxCrossEntropy()),
        JointPart("place", "xy", MeanSquaredError(), weight=0.25),
    )
)


def joined(*targets: Target) -> Target:
    numbers = sum(int(np.prod(target.shape)) for target in targets)
    return Target("joint", shape=(numbers,), parts=targets)


def built(joint: Joint = JOINT, model: Model = MODEL, *targets: Target) -> Graph:
    target = joined(*(targets or (LABELS, NUMBERS)))
    return build_graph(model, joint, {"data": (5,)}, target)


LOSSES = {
    "labels and numbers": (SoftmaxCrossEntropy(), LABELS, MeanSquaredError(), NUMBERS),
    "weights and smoothing": (
        SoftmaxCrossEntropy(0.1, class_weights=(1.0, 0.2, 3.0)),
        LABELS,
        Huber(),
        NUMBERS,
    ),
    "ignored labels": (SoftmaxCrossEntropy(ignore_index=1), LABELS, BinaryCrossEntropy(), NUMBERS),
    "distributions": (
        KlDivergence(),
        Target("numbers", shape=(3,)),
        SoftmaxCrossEntropy(),
        Target("labels", classes=2),
    ),
}


@pytest.mark.parametrize(("first", "its", "second", "others"), LOSSES.values(), ids=LOSSES)
def test_the_gradient_of_several_losses_is_right(
    first: Loss, its: Target, second: Loss, others: Target
) -> None:
    parts = (JointPart("kind", "a", first, 0.7), JointPart("place", "b", second, 2.0))
    errors = check_gradients(built(Joint(parts), MODEL, its, others), rows=5)
    assert max(error.relative_error for error in errors) < 1e-6


def test_the_gradient_of_labels_at_every_position_is_right() -> None:
    nodes = (
        ModelNode("kind", ("data",), (Dense(12), Reshape((4, 3)))),
        ModelNode("place", ("data",), (Dense(2),)),
    )
    labels = Target("labels", classes=3, shape=(4,))
    graph = built(JOINT, replace(MODEL, nodes=nodes), labels, NUMBERS)
    errors = check_gradients(graph, rows=3)
    assert max(error.relative_error for error in errors) < 1e-6


def test_the_gradient_of_several_losses_is_right_with_the_kernels_that_jobs_run() -> None:
    errors = check_gradients(built(), rows=5, losses=FAST_RULES)
    assert max(error.relative_error for error in errors) < 1e-6


def filled(graph: Graph, rows: int = 4) -> Plan:
    plan = Plan(graph, rows)
    plan.parameters[...] = np.linspace(-1, 1, plan.parameters.size)
    plan.inputs(rows)[...] = np.arange(5 * rows).reshape(rows, 5) / 10
    plan.target(rows)[...] = np.column_stack([np.arange(rows) % 3, np.ones((rows, 2))])
    return plan


def alone(name: str, loss: Loss, target: Target, columns: slice) -> dict[str, float]:
    """What the same model says of one output alone."""
    nodes = MODEL.nodes if name == "place" else (MODEL.nodes[0], MODEL.nodes[2])
    graph = build_graph(Model(nodes=nodes, outputs=(name,)), loss, {"data": (5,)}, target)
    whole = filled(built())
    values = {part.name: whole.parameters[part.place] for part in whole.graph.parameters}
    plan = Plan(graph, 4)
    for part in graph.parameters:
        plan.parameters[part.place] = values[part.name]
    plan.inputs(4)[...] = whole.inputs(4)
    plan.target(4)[...] = whole.target(4)[:, columns].reshape(plan.target(4).shape)
    return summarize(loss, plan.evaluate(4))


def test_the_loss_is_the_weighted_sum_and_every_output_has_its_own_metrics() -> None:
    summary = summarize(JOINT, filled(built()).evaluate(4))
    kind = alone("kind", SoftmaxCrossEntropy(), LABELS, slice(0, 1))
    place = alone("place", MeanSquaredError(), NUMBERS, slice(1, 3))
    assert summary["loss"] == pytest.approx(kind["loss"] + 0.25 * place["loss"])
    assert summary["kind_loss"] == pytest.approx(kind["loss"])
    assert summary["kind_accuracy"] == kind["accuracy"]
    assert summary["place_rmse"] == pytest.approx(place["rmse"])


def test_a_loss_is_divided_by_the_rows_whatever_they_weigh() -> None:
    weighted = SoftmaxCrossEntropy(class_weights=(0.5, 0.5, 0.5))
    half = Joint((replace(JOINT.parts[0], loss=weighted), JOINT.parts[1]))
    full, halved = (summarize(each, filled(built(each)).evaluate(4)) for each in (JOINT, half))
    assert halved["kind_loss"] == pytest.approx(full["kind_loss"])
    assert full["loss"] - halved["loss"] == pytest.approx(full["kind_loss"] / 2)


def test_training_lowers_the_sum() -> None:
    plan = filled(built())
    losses = []
    for step in range(30):
        rows, loss, *_ = plan.value_and_grad(4, Key(0, 0, step))
        losses.append(loss / rows)
        plan.parameters -= 0.1 * plan.gradient / rows
    assert losses[-1] < losses[0] / 2


def faults(joint: Joint, model: Model = MODEL, *targets: Target) -> dict[str, str]:
    with pytest.raises(ModelError) as caught:
        built(joint, model, *targets)
    return {fault.field: fault.description for fault in caught.value.faults}


def test_b034_every_output_fits_its_own_target() -> None:
    assert faults(JOINT, MODEL, Target("labels", classes=7), Target("numbers", shape=(4,))) == {
        "model.nodes[0].layers[0].dense.units": "The data has 7 classes, the last layer 3 outputs: "
        "set units: 7.",
        "model.nodes[1].layers[1].dense.units": "The target has shape (4), the last layer 2 "
        "outputs: set units: 4.",
    }


def test_b031_every_output_has_one_loss() -> None:
    first, second = JOINT.parts
    assert faults(Joint((first, first)))["model.outputs[1]"] == (
        'Output "place" has no loss: add it to loss.joint.parts or take it out.'
    )
    assert faults(Joint((first, second, first)), MODEL, LABELS, NUMBERS, LABELS) == {
        "loss.joint.parts[2].output": 'Output "kind" has a loss already: keep one.'
    }
    other = replace(second, output="trunk")
    assert faults(Joint((first, second, other)), MODEL, LABELS, NUMBERS, NUMBERS) == {
        "loss.joint.parts[2].output": '"trunk" is not among model.outputs: kind, place.'
    }


def test_b031_several_outputs_need_several_losses() -> None:
    with pytest.raises(ModelError) as caught:
        build_graph(MODEL, SoftmaxCrossEntropy(), {"data": (5,)}, LABELS)
    assert "give each its own target and loss with joint" in str(caught.value)


def test_joint_is_for_models_of_nodes() -> None:
    with pytest.raises(ModelError) as caught:
        build_graph(Model((Dense(3),)), JOINT, (5,), joined(LABELS, NUMBERS))
    assert "loss.joint: joint is for models of nodes" in str(caught.value)


def test_parts_are_checked_like_losses() -> None:
    first, second = JOINT.parts
    wrong = replace(first, weight=0, loss=SoftmaxCrossEntropy(label_smoothing=1.5))
    assert faults(Joint((wrong, replace(second, target="")))).keys() == {
        "loss.joint.parts[0].weight",
        "loss.joint.parts[0].loss.softmax_cross_entropy.label_smoothing",
        "loss.joint.parts[1].target",
    }
    assert "loss.joint.parts[1].loss" in faults(Joint((first, replace(second, loss=JOINT))))


def test_b035_softmax_before_its_own_loss() -> None:
    nodes = (replace(MODEL.nodes[0], layers=(Dense(3), Softmax())), *MODEL.nodes[1:])
    assert faults(JOINT, replace(MODEL, nodes=nodes)) == {
        "model.nodes[0].layers[1].softmax": "The loss applies softmax itself: remove this layer."
    }
