"""Update rules as pure functions of flat vectors, and the clipping of gradients before them.

A rule reads gradient, parameters and slots and writes new parameters and slots, so that a step
that dies half-way leaves the old state whole. All but LAMB is elementwise: slices of the vectors,
updated apart, come to the same bits; LAMB needs whole parameters, as segments say. Formulas and
their order are PyTorch's where it has the rule.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np

from gradloom.worker.engine.arithmetic import power
from gradloom.worker.engine.arrays import BLOCK, Array
from gradloom.worker.engine.spec import (
    Adagrad,
    Adam,
    AdamW,
    Lamb,
    Lion,
    Optimizer,
    RmsProp,
    Sgd,
    UpdateRule,
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Moment:
    """What an update knows beside arrays: the learning rate, and the step counted from 1.

    The gradient is gradient_scale times what the vectors hold. trust is what a rule that prepares
    multiplies the rate by.
    """

    learning_rate: float
    step: int
    gradient_scale: float = 1.0
    trust: float = 1.0


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
    """The names of a rule's slots, in order, and its update of one block.

    prepare, where there is one, sees all blocks of a segment before update does, and writes the
    new slots; it returns the sums of squares of the parameters and of the step. update, which
    then finds the new slots written, has the learning rate scaled by the ratio of their roots.
    """

    slots: Callable[[R], tuple[str, ...]]
    update: Callable[[R, Block, Moment], None]
    prepare: Callable[[R, Block, Moment], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the flat vectors: one parameter, or several that a rule need not tell apart."""

    place: slice
    decays: bool = True


@dataclass(frozen=True, slots=True)
class Vectors:
    """A segment of every vector."""

    gradient: Array
    parameters: Array
    slots: tuple[Array, ...]
    new_parameters: Array
    new_slots: tuple[Array, ...]

    def blocks(self, scale: float) -> Iterator[Block]:
        """Its blocks, one after the other in the same working memory, the gradient scaled."""
        work = np.empty((2, min(BLOCK, self.gradient.size)), self.gradient.dtype)
        for start in range(0, self.gradient.size, BLOCK):
            part = slice(start, start + BLOCK)
            count = self.gradient[part].size
            np.multiply(self.gradient[part], scale, out=work[0, :count])
            yield Block(
                gradient=work[0, :count],
                parameters=self.parameters[part],
                slots=tuple(slot[part] for slot in self.slots),
                new_parameters=self.new_parameters[part],
                new_slots=tuple(slot[part] for slot in self.new_slots),
                scratch=work[1, :count],
            )


# Any: each function takes its own rule.
Updates = Mapping[type[UpdateRule], Callable[[Any, Vectors, Moment], None]]

_EVERYTHING = (Segment(slice(None)),)


def segments(
    optimizer: Optimizer, places: Sequence[tuple[slice, tuple[int, ...]]]
) -> tuple[Segment, ...]:
    """How an optimiser cuts the vectors, given places and shapes of the parameters in order."""
    excludes = optimizer.no_decay_on_bias_and_norm
    if not needs_whole_parameters(optimizer.kind) and not excludes:
        return _EVERYTHING
    return tuple(Segment(place, not excludes or len(shape) > 1) for place, shape in places)


def needs_whole_parameters(kind: UpdateRule) -> bool:
    """Whether a rule has to see all elements of a parameter to update any of them."""
    return _RULES[type(kind)].prepare is not None


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
    gradient_scale: float = 1.0,
    segments: Sequence[Segment] = _EVERYTHING,
    updates: Updates = MappingProxyType({}),
) -> None:
    """Write the parameters and slots after a step, counted from 1.

    gradient_scale × gradient is the clipped mean of the batch. The new vectors may be the old
    ones, or share no memory with them. The segments cover them. updates are taken for the rules
    they know; NumPy does the others.
    """
    moment = Moment(learning_rate, step, gradient_scale)
    one_update = updates.get(type(kind), update_by_blocks)
    for segment in segments:
        vectors = Vectors(
            gradient[segment.place],
            parameters[segment.place],
            tuple(slot[segment.place] for slot in slots),
            new_parameters[segment.place],
            tuple(slot[segment.place] for slot in new_slots),
        )
        one_update(kind if segment.decays else replace(kind, weight_decay=0.0), vectors, moment)


def update_by_blocks(kind: UpdateRule, vectors: Vectors, moment: Moment) -> None:
    """One update of a segment in NumPy."""
    rule = _RULES[type(kind)]
    if rule.prepare is not None:
        sums = [
            rule.prepare(kind, block, moment) for block in vectors.blocks(moment.gradient_scale)
        ]
        ratio = trust(sum(size for size, _ in sums), sum(step for _, step in sums))
        moment = replace(moment, trust=ratio)
    for block in vectors.blocks(moment.gradient_scale):
        rule.update(kind, block, moment)


def trust(size: float, step: float) -> float:
    """The root of a parameter's sum of squares over that of its step; 1 where either is 0."""
    return math.sqrt(size) / math.sqrt(step) if size > 0 and step > 0 else 1.0


def global_norm(gradient: Array) -> float:
    """The Euclidean norm: float64 sums of blocks, added from the first to the last."""
    total = 0.0
    for start in range(0, gradient.size, BLOCK):
        total += _sum_of_squares(gradient[start : start + BLOCK])
    return math.sqrt(total)


def _sum_of_squares(block: Array) -> float:
    squares = block.astype(np.float64)
    np.multiply(squares, squares, out=squares)
    return float(np.add.reduce(squares))


def clip_elements(gradient: Array, clip_value: float) -> None:
    """Cut the gradient's elements off at ±clip_value; what is not a number stays."""
    np.minimum(gradient, clip_value, out=gradient)
    np.maximum(gradient, -clip_value, out=gradient)


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


def _adam_slots(_kind: Adam | AdamW | Lamb) -> tuple[str, ...]:
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


def _average_moments(kind: Adam | AdamW | Lamb, block: Block) -> None:
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
    _adam_direction(kind, block, moment)
    rate = moment.learning_rate / (1 - power(kind.beta1, moment.step))
    np.multiply(block.scratch, rate, out=block.scratch)
    np.subtract(parameters, block.scratch, out=block.new_parameters)


def _adam_direction(kind: Adam | AdamW | Lamb, block: Block, moment: Moment) -> None:
    """m / (√v / √(1 - β₂ᵗ) + ε), in scratch."""
    first, second = block.new_slots
    correction = math.sqrt(1 - power(kind.beta2, moment.step))
    np.sqrt(second, out=block.scratch)
    np.divide(block.scratch, correction, out=block.scratch)
    np.add(block.scratch, kind.epsilon, out=block.scratch)
    np.divide(first, block.scratch, out=block.scratch)


def _lamb_prepare(kind: Lamb, block: Block, moment: Moment) -> tuple[float, float]:
    _average_moments(kind, block)
    _lamb_direction(kind, block, moment)
    return _sum_of_squares(block.parameters), _sum_of_squares(block.scratch)


def _lamb(kind: Lamb, block: Block, moment: Moment) -> None:
    """p ← p - rate ‖p‖ / ‖u‖ u; the norms are over a whole parameter."""
    _lamb_direction(kind, block, moment)
    np.multiply(block.scratch, moment.learning_rate * moment.trust, out=block.scratch)
    np.subtract(block.parameters, block.scratch, out=block.new_parameters)


def _lamb_direction(kind: Lamb, block: Block, moment: Moment) -> None:
    """u = m / (1 - β₁ᵗ) / (√v / √(1 - β₂ᵗ) + ε) + weight_decay p, in scratch."""
    _adam_direction(kind, block, moment)
    np.divide(block.scratch, 1 - power(kind.beta1, moment.step), out=block.scratch)
    if kind.weight_decay:
        np.multiply(block.parameters, kind.weight_decay, out=block.gradient)
        np.add(block.scratch, block.gradient, out=block.scratch)


def _adagrad_slots(_kind: Adagrad) -> tuple[str, ...]:
    return ("sum_of_squares",)


def _adagrad(kind: Adagrad, block: Block, moment: Moment) -> None:
    """s ← s + g²; p ← p - rate g / (√s + ε)."""
    _add_decay(block, kind.weight_decay)
    (old,), (new,) = block.slots, block.new_slots
    np.multiply(block.gradient, block.gradient, out=block.scratch)
    np.add(old, block.scratch, out=new)
    np.sqrt(new, out=block.scratch)
    np.add(block.scratch, kind.epsilon, out=block.scratch)
    np.divide(block.gradient, block.scratch, out=block.scratch)
    np.multiply(block.scratch, moment.learning_rate, out=block.scratch)
    np.subtract(block.parameters, block.scratch, out=block.new_parameters)


def _rmsprop_slots(kind: RmsProp) -> tuple[str, ...]:
    return (
        "second_moment",
        *(("first_moment",) if kind.centered else ()),
        *(("momentum",) if kind.momentum else ()),
    )


def _rmsprop(kind: RmsProp, block: Block, moment: Moment) -> None:
    """v ← α v + (1 - α) g²; g / (√(v - ḡ²) + ε) or g / (√v + ε), or the momentum of these."""
    _add_decay(block, kind.weight_decay)
    new_second = block.new_slots[0]
    np.multiply(block.gradient, block.gradient, out=block.scratch)
    np.multiply(block.scratch, 1 - kind.decay, out=block.scratch)
    np.multiply(block.slots[0], kind.decay, out=new_second)
    np.add(new_second, block.scratch, out=new_second)
    if kind.centered:
        _variance(kind, block)
    else:
        np.copyto(block.scratch, new_second)
    np.sqrt(block.scratch, out=block.scratch)
    np.add(block.scratch, kind.epsilon, out=block.scratch)
    np.divide(block.gradient, block.scratch, out=block.scratch)
    if kind.momentum:
        np.multiply(block.slots[-1], kind.momentum, out=block.new_slots[-1])
        np.add(block.new_slots[-1], block.scratch, out=block.new_slots[-1])
        np.copyto(block.scratch, block.new_slots[-1])
    np.multiply(block.scratch, moment.learning_rate, out=block.scratch)
    np.subtract(block.parameters, block.scratch, out=block.new_parameters)


def _variance(kind: RmsProp, block: Block) -> None:
    """ḡ ← ḡ + (1 - α) (g - ḡ); v - ḡ² in scratch, at least 0 whatever was rounded."""
    old, new = block.slots[1], block.new_slots[1]
    np.subtract(block.gradient, old, out=block.scratch)
    np.multiply(block.scratch, 1 - kind.decay, out=block.scratch)
    np.add(old, block.scratch, out=new)
    np.multiply(new, new, out=block.scratch)
    np.subtract(block.new_slots[0], block.scratch, out=block.scratch)
    np.maximum(block.scratch, 0, out=block.scratch)


def _lion_slots(_kind: Lion) -> tuple[str, ...]:
    return ("momentum",)


def _lion(kind: Lion, block: Block, moment: Moment) -> None:
    """p ← p - rate (sign(m + (1 - β₁) (g - m)) + weight_decay p); m ← m + (1 - β₂) (g - m)."""
    (old,), (new,) = block.slots, block.new_slots
    shrunk = 1 - moment.learning_rate * kind.weight_decay
    np.subtract(block.gradient, old, out=block.gradient)
    np.multiply(block.gradient, 1 - kind.beta1, out=block.scratch)
    np.add(old, block.scratch, out=block.scratch)
    np.sign(block.scratch, out=block.scratch)
    np.multiply(block.gradient, 1 - kind.beta2, out=block.gradient)
    np.add(old, block.gradient, out=new)
    np.multiply(block.scratch, moment.learning_rate, out=block.scratch)
    np.multiply(block.parameters, shrunk, out=block.new_parameters)
    np.subtract(block.new_parameters, block.scratch, out=block.new_parameters)


def _add_decay(block: Block, weight_decay: float) -> None:
    if weight_decay:
        np.multiply(block.parameters, weight_decay, out=block.scratch)
        np.add(block.gradient, block.scratch, out=block.gradient)


# Any: each rule takes its own description.
_RULES: Mapping[type[UpdateRule], Rule[Any]] = {
    Sgd: Rule(_sgd_slots, _sgd),
    Adam: Rule(_adam_slots, _adam),
    AdamW: Rule(_adam_slots, _adamw),
    Adagrad: Rule(_adagrad_slots, _adagrad),
    RmsProp: Rule(_rmsprop_slots, _rmsprop),
    Lion: Rule(_lion_slots, _lion),
    Lamb: Rule(_adam_slots, _lamb, _lamb_prepare),
}
