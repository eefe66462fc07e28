"""The table of losses, and what each asks of a model's output."""

from collections.abc import Mapping
from typing import Any

from gradloom.worker.engine.arrays import Shape, fits, size, text
from gradloom.worker.engine.cross_entropy import KL_DIVERGENCE, SOFTMAX_CROSS_ENTROPY
from gradloom.worker.engine.distances import (
    BINARY_CROSS_ENTROPY,
    HUBER,
    MEAN_ABSOLUTE_ERROR,
    MEAN_SQUARED_ERROR,
)
from gradloom.worker.engine.joint import joint_rule
from gradloom.worker.engine.loss import LossRule
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    Joint,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Target,
)

# Any: each rule takes its own loss's description.
Rules = Mapping[type[Loss], LossRule[Any]]

RULES: Rules = {
    SoftmaxCrossEntropy: SOFTMAX_CROSS_ENTROPY,
    MeanSquaredError: MEAN_SQUARED_ERROR,
    BinaryCrossEntropy: BINARY_CROSS_ENTROPY,
    MeanAbsoluteError: MEAN_ABSOLUTE_ERROR,
    Huber: HUBER,
    KlDivergence: KL_DIVERGENCE,
}


def rule_of(loss: Loss, target: Target, rules: Rules = RULES) -> LossRule[Any]:
    """The rule of a loss that is held to this target, from a table of those of one output."""
    if isinstance(loss, Joint):
        return joint_rule(loss, target, lambda part: rules[type(part)])
    return rules[type(loss)]


def fits_target(rule: LossRule[Any], output: Shape, target: Target) -> bool:
    """Whether a model's output has the shape the loss wants, or its numbers in one line."""
    wanted = rule.wanted(target)
    return fits(output, wanted) or fits(output, (size(wanted),))


def describe_target(target: Target) -> str:
    """The target as the subject of a sentence."""
    if target.kind == "labels" and target.shape:
        return f"The data has {target.classes} classes at each of {text(target.shape)} positions"
    if target.kind == "labels":
        return f"The data has {target.classes} classes"
    if target.shape == ():
        return "The target is one number a row"
    return f"The target has shape {text(target.shape)}"
