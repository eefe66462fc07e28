"""Update rules in one pass over the vectors, and the norm of a gradient.

Each reads the gradient and the state of a step and writes the state of the next, element by
element, so that slices updated apart come to the same bits; the new vectors are vectorised only
where they share no memory with the old ones. Divisions by what all elements have in common are
multiplications here: an element costs Adam one division and one root.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from gradloom.worker.engine.arithmetic import power
from gradloom.worker.engine.arrays import BLOCK, Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.optimizers import Moment, Vectors, trust, update_by_blocks
from gradloom.worker.engine.spec import (
    Adagrad,
    Adam,
    AdamW,
    Lamb,
    Lion,
    RmsProp,
    Sgd,
    UpdateRule,
)


@kernel
def sum_of_squares(gradient: Array) -> float:
    """Σ g² in float64: eight lanes, element i in lane i mod 8, the last few in the first."""
    a = b = c = d = e = f = g = h = 0.0
    whole = gradient.size // 8 * 8
    for i in range(0, whole, 8):
        part = gradient[i : i + 8]
        x = np.float64(part[0])
        a += x * x
        x = np.float64(part[1])
        b += x * x
        x = np.float64(part[2])
        c += x * x
        x = np.float64(part[3])
        d += x * x
        x = np.float64(part[4])
        e += x * x
        x = np.float64(part[5])
        f += x * x
        x = np.float64(part[6])
        g += x * x
        x = np.float64(part[7])
        h += x * x
    for i in range(whole, gradient.size):
        x = np.float64(gradient[i])
        a += x * x
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@kernel
def _sgd(
    gradient: Array,
    parameters: Array,
    new_parameters: Array,
    scale: float,
    decay: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale + decay * parameters[i]
        new_parameters[i] = parameters[i] - rate * g


@kernel
def _sgd_with_momentum(
    gradient: Array,
    parameters: Array,
    momentum: Array,
    new_parameters: Array,
    new_momentum: Array,
    scale: float,
    decay: float,
    kept: float,
    of_gradient: float,
    of_momentum: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale + decay * parameters[i]
        b = kept * momentum[i] + g
        new_momentum[i] = b
        new_parameters[i] = parameters[i] - rate * (of_gradient * g + of_momentum * b)


@kernel
def _adam(
    gradient: Array,
    parameters: Array,
    first: Array,
    second: Array,
    new_parameters: Array,
    new_first: Array,
    new_second: Array,
    scale: float,
    decay: float,
    shrunk: float,
    rest1: float,
    beta2: float,
    rest2: float,
    correction: float,
    epsilon: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale + decay * parameters[i]
        m = first[i] + rest1 * (g - first[i])
        v = beta2 * second[i] + rest2 * (g * g)
        new_first[i] = m
        new_second[i] = v
        step = m / (math.sqrt(v) * correction + epsilon)
        new_parameters[i] = shrunk * parameters[i] - rate * step


@kernel
def _adagrad(
    gradient: Array,
    parameters: Array,
    squares: Array,
    new_parameters: Array,
    new_squares: Array,
    scale: float,
    decay: float,
    epsilon: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale + decay * parameters[i]
        s = squares[i] + g * g
        new_squares[i] = s
        new_parameters[i] = parameters[i] - rate * (g / (math.sqrt(s) + epsilon))


@kernel
def _rmsprop(
    gradient: Array,
    parameters: Array,
    second: Array,
    new_parameters: Array,
    new_second: Array,
    scale: float,
    decay: float,
    kept: float,
    rest: float,
    epsilon: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale + decay * parameters[i]
        v = kept * second[i] + rest * (g * g)
        new_second[i] = v
        new_parameters[i] = parameters[i] - rate * (g / (math.sqrt(v) + epsilon))


@kernel
def _lion(
    gradient: Array,
    parameters: Array,
    momentum: Array,
    new_parameters: Array,
    new_momentum: Array,
    scale: float,
    shrunk: float,
    rest1: float,
    rest2: float,
    rate: float,
) -> None:
    for i in range(gradient.size):
        difference = gradient[i] * scale - momentum[i]
        direction = momentum[i] + rest1 * difference
        step = rate if direction > 0 else -rate if direction < 0 else rate - rate
        new_momentum[i] = momentum[i] + rest2 * difference
        new_parameters[i] = shrunk * parameters[i] - step


@kernel
def _lamb(
    gradient: Array,
    parameters: Array,
    first: Array,
    second: Array,
    direction: Array,
    new_first: Array,
    new_second: Array,
    scale: float,
    rest1: float,
    beta2: float,
    rest2: float,
    correction: float,
    epsilon: float,
    share: float,
    decay: float,
) -> None:
    for i in range(gradient.size):
        g = gradient[i] * scale
        m = first[i] + rest1 * (g - first[i])
        v = beta2 * second[i] + rest2 * (g * g)
        new_first[i] = m
        new_second[i] = v
        step = share * m / (math.sqrt(v) * correction + epsilon)
        direction[i] = step + decay * parameters[i]


@kernel
def _descend(direction: Array, parameters: Array, rate: float) -> None:
    for i in range(direction.size):
        direction[i] = parameters[i] - rate * direction[i]


@kernel
def _average(parameters: Array, average: Array, new_average: Array, share: float) -> None:
    for i in range(parameters.size):
        new_average[i] = average[i] + share * (parameters[i] - average[i])


def _run(function: Callable[..., None], vectors: Vectors, *numbers: float) -> None:
    """Calls a kernel with a segment's vectors, and with numbers of their type.

    Raises ValueError where the vectors differ in length, since a kernel does not look.
    """
    old = (vectors.gradient, vectors.parameters, *vectors.slots)
    new = (vectors.new_parameters, *vectors.new_slots)
    for vector in (*old, *new):
        if vector.shape != vectors.gradient.shape:
            raise ValueError(f"shapes {vectors.gradient.shape} and {vector.shape} in one update")
    function(*old, *new, *_typed(vectors.gradient.dtype, numbers))


@lru_cache(maxsize=64)
def _typed(dtype: "np.dtype[Any]", numbers: tuple[float, ...]) -> tuple[Any, ...]:
    """The numbers as that type; all blocks of a step have the same."""
    return tuple(map(dtype.type, numbers))


def _update_sgd(kind: Sgd, vectors: Vectors, moment: Moment) -> None:
    scale, rate = moment.gradient_scale, moment.learning_rate
    if not kind.momentum:
        _run(_sgd, vectors, scale, kind.weight_decay, rate)
        return
    shares = (1.0, kind.momentum) if kind.nesterov else (0.0, 1.0)
    _run(_sgd_with_momentum, vectors, scale, kind.weight_decay, kind.momentum, *shares, rate)


def _update_adam(kind: Adam, vectors: Vectors, moment: Moment) -> None:
    _adam_like(kind, vectors, moment, kind.weight_decay, 1.0)


def _update_adamw(kind: AdamW, vectors: Vectors, moment: Moment) -> None:
    _adam_like(kind, vectors, moment, 0.0, 1 - moment.learning_rate * kind.weight_decay)


def _adam_like(
    kind: Adam | AdamW, vectors: Vectors, moment: Moment, decay: float, shrunk: float
) -> None:
    first, second = (_power(beta, moment.step) for beta in (kind.beta1, kind.beta2))
    _run(
        _adam,
        vectors,
        moment.gradient_scale,
        decay,
        shrunk,
        1 - kind.beta1,
        kind.beta2,
        1 - kind.beta2,
        1 / math.sqrt(1 - second),
        kind.epsilon,
        moment.learning_rate / (1 - first),
    )


# All blocks of a step ask for the same.
_power = lru_cache(maxsize=16)(power)


def _update_adagrad(kind: Adagrad, vectors: Vectors, moment: Moment) -> None:
    numbers = (moment.gradient_scale, kind.weight_decay, kind.epsilon, moment.learning_rate)
    _run(_adagrad, vectors, *numbers)


def _update_rmsprop(kind: RmsProp, vectors: Vectors, moment: Moment) -> None:
    """The plain form; the others are NumPy's."""
    if kind.centered or kind.momentum:
        update_by_blocks(kind, vectors, moment)
        return
    _run(
        _rmsprop,
        vectors,
        moment.gradient_scale,
        kind.weight_decay,
        kind.decay,
        1 - kind.decay,
        kind.epsilon,
        moment.learning_rate,
    )


def _update_lion(kind: Lion, vectors: Vectors, moment: Moment) -> None:
    shrunk = 1 - moment.learning_rate * kind.weight_decay
    numbers = (moment.gradient_scale, shrunk, 1 - kind.beta1, 1 - kind.beta2)
    _run(_lion, vectors, *numbers, moment.learning_rate)


def _update_lamb(kind: Lamb, vectors: Vectors, moment: Moment) -> None:
    """The direction stands where the new parameters will; so in place, NumPy does it."""
    if np.may_share_memory(vectors.parameters, vectors.new_parameters):
        update_by_blocks(kind, vectors, moment)
        return
    _run(
        _lamb,
        vectors,
        moment.gradient_scale,
        1 - kind.beta1,
        kind.beta2,
        1 - kind.beta2,
        1 / math.sqrt(1 - power(kind.beta2, moment.step)),
        kind.epsilon,
        1 / (1 - power(kind.beta1, moment.step)),
        kind.weight_decay,
    )
    direction = vectors.new_parameters
    ratio = trust(sum_of_squares(vectors.parameters), sum_of_squares(direction))
    rate = direction.dtype.type(moment.learning_rate * ratio)
    _descend(direction, vectors.parameters, rate)


# What jobs are updated by; a rule that is not here is NumPy's.
# Any: each function takes its own rule.
FAST_UPDATES: Mapping[type[UpdateRule], Callable[[Any, Vectors, Moment], None]] = MappingProxyType(
    {
        Sgd: _update_sgd,
        Adam: _update_adam,
        AdamW: _update_adamw,
        Adagrad: _update_adagrad,
        RmsProp: _update_rmsprop,
        Lion: _update_lion,
        Lamb: _update_lamb,
    }
)


def average(decay: float, step: int, parameters: Array, old: Array, new: Array) -> None:
    """Write the moving average after an update, counted from 1, that came to the parameters."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    _average(parameters, old, new, parameters.dtype.type(share))


@kernel
def _squares_by_block(gradient: Array, sums: Array) -> None:
    for block in range(sums.size):
        sums[block] = sum_of_squares(gradient[block * BLOCK : (block + 1) * BLOCK])


def squares_by_block(gradient: Array) -> Array:
    """Σ g² of each block of BLOCK elements, float64: in parts of a vector as in the whole.

    That is so where the parts begin at multiples of BLOCK.
    """
    sums: Array = np.empty(-(-gradient.size // BLOCK))
    _squares_by_block(gradient, sums)
    return sums


def norm_of(squares: Array) -> float:
    """The Euclidean norm from the sums of the squares of its blocks, added in their order."""
    total = 0.0
    for value in squares.tolist():
        total += value
    return math.sqrt(total)


def global_norm(gradient: Array) -> float:
    """The Euclidean norm; finite where all elements are."""
    return norm_of(squares_by_block(gradient))
