"""What a loss is: a row of rules, and a call of them on arrays the plan owns.

Sums over rows leave in float64, N stands for rows, J for the numbers a row puts out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Labels, Shape, size
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.spec import Target

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class LossCall(Generic[K]):
    """A loss's arrays for one number of rows; scratch lasts from the forward pass to the vjp.

    label_numbers count the labels, of which a row may have several.
    """

    loss: K
    label_numbers: Labels
    output: Array
    target: Array
    scratch: tuple[Array, ...]
    output_gradient: Array


@dataclass(frozen=True, slots=True)
class LossRule(Generic[K]):
    """The rules of one loss on a description of type K.

    forward returns the loss's statistics, sums over rows: metrics.STATISTICS says which. vjp,
    called after it, writes the gradient of the summed loss with respect to the model's output.
    scratch takes the numbers a row puts out, and the target. measure, called after forward where a
    model is evaluated and not in training, counts what metrics.MEASURES says.
    """

    forward: Callable[[LossCall[K]], Statistics]
    vjp: Callable[[LossCall[K]], None]
    target: str
    wanted: Callable[[Target], Shape]
    scratch: Callable[[int, Target], tuple[Buffer, ...]]
    measure: Callable[[LossCall[K]], Statistics] | None = None


def numbers(target: Target) -> Shape:
    """The shape wanted by a loss that compares number by number."""
    return target.shape


def matrix(array: Array) -> Array:
    """A view of shape (N, J)."""
    return array.reshape(array.shape[0], size(array.shape[1:]))


def summed(values: Array, wide: Array) -> float:
    """The sum of a contiguous array in float64; wide is scratch of its size."""
    np.copyto(wide.reshape(values.shape), values)
    return float(np.add.reduce(wide.reshape(-1)))
