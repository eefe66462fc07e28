"""Fits data and model together: what a loss asks of the data, what the data asks of the model."""

import hashlib
from collections.abc import Iterator

from gradloom.worker.data.indices import Indices
from gradloom.worker.data.prepared import Asked, Summary
from gradloom.worker.data.target import Answer, TargetKind
from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.graph import Graph, InputShapes, Node
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Fault,
    Huber,
    Joint,
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


def asked_of(loss: Loss) -> Asked:
    """What a loss asks of the data's target, or of the targets that it names."""
    if not isinstance(loss, Joint):
        return TARGET_KINDS[type(loss)]
    return tuple(
        # A joint loss inside is a fault of the model, told by its check.
        Answer(
            part.target,
            TARGET_KINDS.get(type(part.loss), TargetKind.NUMBERS),
            f"loss.joint.parts[{place}].target",
        )
        for place, part in enumerate(loss.parts)
    )


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
    """What the model's output has to fit, or its outputs."""
    if summary.targets:
        parts = tuple(_target(each.shape, each.classes) for each in summary.targets)
        return Target("joint", shape=summary.target_shape, parts=parts)
    return _target(summary.target_shape, summary.classes)


def _target(shape: Shape, classes: int | None) -> Target:
    if classes is not None:
        return Target("labels", classes=classes, shape=shape)
    return Target("numbers", shape=shape)


def data_sha256(summary: Summary) -> str:
    """One hash for the data of a job: that of its files, and of its test files if it has any."""
    parts = [summary.sha256, *([summary.test_sha256] if summary.test_sha256 else [])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def token_faults(graph: Graph, summary: Summary) -> tuple[Fault, ...]:
    """Numbers of the data that are no entry of the embedding that reads them."""
    readers = [node for node in graph.nodes if node.operation == "embedding"]
    if readers and summary.indices is None:
        return (Fault("data.normalize", _SCALED),)
    return tuple(
        fault
        for node in readers
        # The graph's first nodes are the data's inputs.
        for fault in _embedding_faults(node, (summary.indices or ())[node.inputs[0]])
    )


def _embedding_faults(node: Node, indices: Indices) -> Iterator[Fault]:
    (size, _), largest, odd = node.parameters[0].shape, indices.largest, indices.odd
    if odd is not None:
        sentence = f"{odd.row} holds {odd.value:g}: an embedding reads whole numbers from 0."
        yield Fault(node.path, sentence)
    elif largest.value >= size:
        index = int(largest.value)
        sentence = (
            f"{largest.row} holds index {index}, the embedding has {size} entries (0 to "
            f"{size - 1}): set size: {index + 1}."
        )
        yield Fault(f"{node.path}.size", sentence)


_SCALED = "The embedding reads token numbers, which scaling changes: set normalize: none."
