"""Several losses as one: each reads its columns of the output and of the target.

N stands for rows. What is minimised is the mean over the batch's rows of the weighted sum of the
parts, so that a register of gradients has one divisor. A part's labels of one row share it evenly;
labels that are ignored and class weights change what a row adds, not what is divided by.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size
from gradloom.worker.engine.loss import LossCall, LossRule
from gradloom.worker.engine.metrics import Statistics, kept_statistics
from gradloom.worker.engine.spec import Joint, Loss, Target

# Any: a rule takes its own loss's description.
Rules = Callable[[Loss], LossRule[Any]]


@dataclass(frozen=True, slots=True)
class _Part:
    """A loss and its columns of output, target and scratch; share is what a unit of it adds."""

    loss: Loss
    rule: LossRule[Any]
    share: float
    wanted: Shape
    labels: int
    output: slice
    target: slice
    scratch: slice
    buffers: tuple[Buffer, ...]


def joint_rule(joint: Joint, target: Target, rule_of: Rules) -> LossRule[Joint]:
    """The rule of losses whose targets are parts of this one."""
    parts = tuple(_parts(joint, target, rule_of))

    def forward(call: LossCall[Joint]) -> Statistics:
        total = 0.0
        kept: list[float] = []
        for part in parts:
            inner = _call(part, call)
            np.copyto(_flat(inner.output), call.output[:, part.output])
            np.copyto(_flat(inner.target), call.target[:, part.target], casting="unsafe")
            found = part.rule.forward(inner)
            total += part.share * found[1]
            kept += kept_statistics(part.loss, found)
        return float(len(call.output)), total, *kept

    def vjp(call: LossCall[Joint]) -> None:
        for part in parts:
            inner = _call(part, call)
            part.rule.vjp(inner)
            gradient = _flat(inner.output_gradient)
            np.multiply(gradient, part.share, out=gradient)
            np.copyto(call.output_gradient[:, part.output], gradient)

    def scratch(_outputs: int, _target: Target) -> tuple[Buffer, ...]:
        return tuple(buffer for part in parts for buffer in part.buffers)

    def wanted(_target: Target) -> Shape:
        return (sum(size(part.wanted) for part in parts),)

    return LossRule(forward, vjp, "joint", wanted, scratch)


def _parts(joint: Joint, target: Target, rule_of: Rules) -> Iterator[_Part]:
    outputs = answers = places = 0
    for each, its_target in zip(joint.parts, target.parts, strict=True):
        rule = rule_of(each.loss)
        wanted, labels = rule.wanted(its_target), size(its_target.shape)
        is_labels = its_target.kind == "labels"
        buffers = (
            Buffer(wanted),
            Buffer(wanted),
            Buffer(its_target.shape, np.int64 if is_labels else None),
            *rule.scratch(size(wanted), its_target),
        )
        yield _Part(
            loss=each.loss,
            rule=rule,
            share=each.weight / labels if is_labels else each.weight,
            wanted=wanted,
            labels=labels,
            output=slice(outputs, outputs + size(wanted)),
            target=slice(answers, answers + labels),
            scratch=slice(places, places + len(buffers)),
            buffers=buffers,
        )
        outputs, answers = outputs + size(wanted), answers + labels
        places += len(buffers)


def _call(part: _Part, call: LossCall[Joint]) -> LossCall[Any]:
    output, gradient, target, *scratch = call.scratch[part.scratch]
    return LossCall(
        loss=part.loss,
        label_numbers=call.label_numbers[: len(output) * part.labels],
        output=output,
        target=target,
        scratch=tuple(scratch),
        output_gradient=gradient,
    )


def _flat(array: Array) -> Array:
    return array.reshape(len(array), size(array.shape[1:]))
