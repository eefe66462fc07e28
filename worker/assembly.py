"""Fits data and model together: what a loss asks of the data, what the data asks of the model."""

import hashlib

from gradloom.worker.data.preparation import Summary
from gradloom.worker.data.target import TargetKind
from gradloom.worker.engine.graph import InputShapes
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Model,
    SoftmaxCrossEntropy,
    Target,
)

# What each loss reads as its target.
TARGET_KINDS: dict[type[Loss], TargetKind] = {
    SoftmaxCrossEntropy: TargetKind.LABELS,
    MeanSquaredError: TargetKind.NUMBERS,
    BinaryCrossEntropy: TargetKind.BINARY,
    MeanAbsoluteError: TargetKind.NUMBERS,
    Huber: TargetKind.NUMBERS,
    KlDivergence: TargetKind.DISTRIBUTION,
}


def joins_inputs(model: Model) -> bool:
    """Whether the data's arrays go into the model as one; into one of nodes they go by name."""
    return not model.nodes


def inputs_of(model: Model, summary: Summary) -> InputShapes:
    """The shape of a row that goes into a model, or its inputs' shapes by their names."""
    if joins_inputs(model):
        (joined,) = summary.input_shapes
        return joined
    return dict(zip(summary.input_names, summary.input_shapes, strict=True))


def target_of(summary: Summary) -> Target:
    """What the model's output has to fit."""
    if summary.classes is not None:
        return Target("labels", classes=summary.classes)
    return Target("numbers", shape=summary.target_shape)


def data_sha256(summary: Summary) -> str:
    """One hash for the data of a job: that of its files, and of its test files if it has any."""
    parts = [summary.sha256, *([summary.test_sha256] if summary.test_sha256 else [])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
