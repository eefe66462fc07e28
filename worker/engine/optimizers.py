"""Update rules as pure functions of flat vectors, and the clipping of gradients before them.

A rule reads gradient, parameters and slots and writes new parameters and slots, so that a step
that dies half-way leaves the old state whole. Everything is elementwise: slices of the vectors,
updated apart, come to the same bits. Formulas and their order are PyTorch's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from gradloom.worker.engine.arithmetic import power
from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.spec import Adam, AdamW, Sgd, UpdateRule

R = TypeVar("R")

_BLOCK = 8192  # elements updated at a time: all arrays of a block stay in the L2 cache


@dataclass(frozen=True, slots=True)
class Moment:
    """What an update knows beside arrays: the learning rate, and the step counted from 1."""

    learning_rate: float
    step: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block of every vector; gradient and scratch may be overwritten."""

    gradient: Array
    parameters: Array
    slots: tuple[Array, ...]
    new_parameters: Array
    new_slots: tuple[Array, ...]
    scratch: Array


@dataclass(frozen=True, slots=True)
class Rule(Generic[R]):
    """The names of a rule's slots, in order, and its update of one block."""

    slots: Callable[[R], tuple[str, ...]]
    update: Callable[[R, Block, Moment], None]


def slots(kind: UpdateRule) -> tuple[str, ...]:
    """The names of the vectors, each as long as the parameters, that a rule keeps."""
    return _RULES[type(kind)].slots(kind)


def init(kind: UpdateRule, parameters: Array) -> tuple[Array, ...]:
    """The slots before the first step: all zero."""
    return tuple(np.zeros_like(parameters) for _ in slots(kind))


def update(
    kind: UpdateRule,
    gradient: Array,
    parameters: Array,
    slots: Sequence[Array],
    new_parameters: Array,
    new_slots: Sequence[Array],
    *,
    learning_rate: float,
    step: int,
) -> None:
    """Write the parameters and slots after a step, counted from 1, with the batch's mean gradient.

    The new vectors may be the old ones, or share no memory with them.
    """
    moment = Moment(learning_rate, step)
    rule = _RULES[type(kind)]
    work = np.empty((2, min(_BLOCK, gradient.size)), gradient.dtype)
    for start in range(0, gradient.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        count = gradient[part].size
        np.copyto(work[0, :count], gradient[part])
        block = Block(
            gradient=work[0, :count],
            parameters=parameters[part],
            slots=tuple(slot[part] for slot in slots),
            new_parameters=new_parameters[part],
            new_slots=tuple(slot[part] for slot in new_slots),
            scratch=work[1, :count],
        )
        rule.update(kind, block, moment)


def global_norm(gradient: Array) -> float:
    """The Euclidean norm: float64 sums of blocks of 8192, added from the first to the last."""
    work = np.empty(min(_BLOCK, gradient.size))
    total = 0.0
    for start in range(0, gradient.size, _BLOCK):
        block = gradient[start : start + _BLOCK]
        squares = work[: block.size]
        np.copyto(squares, block)
        np.multiply(squares, squares, out=squares)
        total += float(np.add.reduce(squares))
    return math.sqrt(total)


def clip_scale(norm: float, clip_norm: float | None) -> float:
    """What to multiply a gradient of this norm by so that it is no longer than clip_norm."""
    if clip_norm is None or not norm > clip_norm:
        return 1.0
    return clip_norm / norm


def _sgd_slots(kind: Sgd) -> tuple[str, ...]:
    return ("momentum",) if kind.momentum else ()


def _sgd(kind: Sgd, block: Block, moment: Moment) -> None:
    """b ← momentum b + g; p ← p - rate b, or p - rate (g + momentum b) in Nesterov's form."""
    _add_decay(block, kind.weight_decay)
    direction = _momentum(kind, block) if kind.momentum else block.gradient
    np.multiply(direction, moment.learning_rate, out=block.scratch)
    np.subtract(block.parameters, block.scratch, out=block.new_parameters)


def _momentum(kind: Sgd, block: Block) -> Array:
    (old,), (new,) = block.slots, block.new_slots
    np.multiply(old, kind.momentum, out=new)
    np.add(new, block.gradient, out=new)
    if not kind.nesterov:
        return new
    np.multiply(new, kind.momentum, out=block.scratch)
    np.add(block.gradient, block.scratch, out=block.scratch)
    return block.scratch


def _adam_slots(_kind: Adam | AdamW) -> tuple[str, ...]:
    return ("first_moment", "second_moment")


def _adam(kind: Adam, block: Block, moment: Moment) -> None:
    """Adam with weight decay as part of the gradient."""
    _add_decay(block, kind.weight_decay)
    _average_moments(kind, block)
    _adam_step(kind, block, moment, block.parameters)


def _adamw(kind: AdamW, block: Block, moment: Moment) -> None:
    """Adam, of which the weights shrink by rate × weight_decay first."""
    _average_moments(kind, block)
    shrunk = 1 - moment.learning_rate * kind.weight_decay
    np.multiply(block.parameters, shrunk, out=block.new_parameters)
    _adam_step(kind, block, moment, block.new_parameters)


def _average_moments(kind: Adam | AdamW, block: Block) -> None:
    """m ← m + (1 - β₁) (g - m); v ← β₂ v + (1 - β₂) g²."""
    (first, second), (new_first, new_second) = block.slots, block.new_slots
    np.subtract(block.gradient, first, out=block.scratch)
    np.multiply(block.scratch, 1 - kind.beta1, out=block.scratch)
    np.add(first, block.scratch, out=new_first)
    np.multiply(block.gradient, block.gradient, out=block.scratch)
    np.multiply(block.scratch, 1 - kind.beta2, out=block.scratch)
    np.multiply(second, kind.beta2, out=new_second)
    np.add(new_second, block.scratch, out=new_second)


def _adam_step(kind: Adam | AdamW, block: Block, moment: Moment, parameters: Array) -> None:
    """p ← p - rate / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)."""
    first, second = block.new_slots
    rate = moment.learning_rate / (1 - power(kind.beta1, moment.step))
    correction = math.sqrt(1 - power(kind.beta2, moment.step))
    np.sqrt(second, out=block.scratch)
    np.divide(block.scratch, correction, out=block.scratch)
    np.add(block.scratch, kind.epsilon, out=block.scratch)
    np.divide(first, block.scratch, out=block.scratch)
    np.multiply(block.scratch, rate, out=block.scratch)
    np.subtract(parameters, block.scratch, out=block.new_parameters)


def _add_decay(block: Block, weight_decay: float) -> None:
    if weight_decay:
        np.multiply(block.parameters, weight_decay, out=block.scratch)
        np.add(block.gradient, block.scratch, out=block.gradient)


# Any: each rule takes its own description.
_RULES: Mapping[type[UpdateRule], Rule[Any]] = {
    Sgd: Rule(_sgd_slots, _sgd),
    Adam: Rule(_adam_slots, _adam),
    AdamW: Rule(_adam_slots, _adamw),
}
