"""What an operation is: a row of rules, and a call of them on arrays the plan owns.

N stands for rows, shapes in rules leave the row axis out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Initializer

L = TypeVar("L")
Shapes = tuple[Shape, ...]

# A row's product by NumPy has the same bits wherever its shard begins at a multiple of the width of
# OpenBLAS's kernel in the pinned profile (measured).
NUMPY_BEGINS = 12


class ShapeMismatch(ValueError):
    """Inputs an operation cannot take: a sentence for the user, and the shape to go on with.

    The field is the layer's that is to blame, where it is one alone.
    """

    def __init__(self, sentence: str, assumed: Shape, field: str = "") -> None:
        super().__init__(sentence, assumed, field)
        self.sentence = sentence
        self.assumed = assumed
        self.field = field


@dataclass(frozen=True, slots=True)
class Weights:
    """A trainable array of an operation; fans are the inputs and outputs of one unit.

    shift is added to all that the initializer gives.
    """

    name: str
    shape: Shape
    initializer: Initializer
    fan_in: int
    fan_out: int
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class RunningMean:
    """An array of an operation that is not trained: a mean over rows that runs along with steps.

    After a step it is (1 - momentum) × itself + momentum × the mean over the batch's rows.
    """

    name: str
    shape: Shape
    initializer: Initializer
    momentum: float


@dataclass(frozen=True, slots=True)
class Flops:
    """Arithmetic per row: forward, and backward towards the inputs and the parameters.

    Multiplications and additions count one each, so does a transcendental function.
    """

    forward: int
    inputs: int
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Call(Generic[L]):
    """An operation's arrays for one number of rows; contiguous, and no two share memory.

    saved lasts from the forward pass to the vjp, scratch to the end of either. An input gradient
    is None where nobody needs it. buffers are the running means as they stand, which an operation
    reads outside training; vjp writes into buffer_sums what they are means of, summed over rows.
    """

    number: int
    layer: L
    inputs: tuple[Array, ...]
    output: Array
    parameters: tuple[Array, ...]
    saved: tuple[Array, ...]
    scratch: tuple[Array, ...]
    output_gradient: Array
    input_gradients: tuple[Array | None, ...]
    parameter_gradients: tuple[Array, ...]
    buffers: tuple[Array, ...] = ()
    buffer_sums: tuple[Array, ...] = ()


# A key is None outside training.
Forward = Callable[[Call[L], Key | None], None]


def same_shape(_layer: object, inputs: Shapes) -> Shape:
    """The shape rule of everything elementwise."""
    return inputs[0]


def no_weights(_layer: object, _inputs: Shapes) -> tuple[Weights, ...]:
    """The rule of an operation without parameters."""
    return ()


def no_running_means(_layer: object, _inputs: Shapes) -> tuple[RunningMean, ...]:
    """The rule of an operation without running means."""
    return ()


def no_buffers(_layer: object, _inputs: Shapes) -> tuple[Buffer, ...]:
    """The rule of an operation that needs no memory of its own."""
    return ()


def like_input(
    count: int, dtype: type[np.generic] | None = None
) -> Callable[[object, Shapes], tuple[Buffer, ...]]:
    """The rule of an operation that needs so many buffers of its input's shape."""
    return lambda _layer, inputs: (Buffer(inputs[0], dtype),) * count


def any_numbers(_layer: object) -> tuple[int, ...]:
    """The rule of an operation that takes any numbers."""
    return ()


def per_element(forward: int, inputs: int) -> Callable[[object, Shapes], Flops]:
    """The FLOP rule of everything elementwise."""

    def flops(_layer: object, shapes: Shapes) -> Flops:
        return Flops(forward * size(shapes[0]), inputs * size(shapes[0]))

    return flops


@dataclass(frozen=True, slots=True)
class Operation(Generic[L]):
    """The rules of one operation on a layer's description of type L.

    forward writes call.output; its key is None outside training. vjp reads output_gradient and
    overwrites the input gradients and parameter gradients, sums over the rows. keeps names the
    arrays of the forward pass, beside saved, that vjp reads.

    A rowwise operation makes a row's output and input gradient of that row alone, to the same
    bits whatever rows stand beside it, so that several shards may share a call; vjp_parameters
    goes, shard by shard, towards the parameters, and after it vjp towards the inputs only. With
    products of NumPy's that is so only where shards begin at multiples of begins rows, and a plan
    that joins them checks it. adds does what vjp_parameters does, and adds it to the arrays it is
    given, one for each parameter; what it leaves in parameter_gradients is of no use.

    choices are, for each of the first inputs, how many whole numbers from 0 it may be; 0 for any
    number. The others take any numbers.

    arity is the least and the largest number of inputs.
    """

    forward: Forward[L]
    vjp: Callable[[Call[L]], None]
    flops: Callable[[L, Shapes], Flops]
    shape: Callable[[L, Shapes], Shape] = same_shape
    weights: Callable[[L, Shapes], tuple[Weights, ...]] = no_weights
    buffers: Callable[[L, Shapes], tuple[RunningMean, ...]] = no_running_means
    keeps: tuple[Literal["input", "output"], ...] = ()
    saved: Callable[[L, Shapes], tuple[Buffer, ...]] = no_buffers
    scratch: Callable[[L, Shapes], tuple[Buffer, ...]] = no_buffers
    rowwise: bool = False
    begins: int = 1
    vjp_parameters: Callable[[Call[L]], None] | None = None
    adds: Callable[[Call[L], tuple[Array, ...]], None] | None = None
    choices: Callable[[L], tuple[int, ...]] = any_numbers
    arity: tuple[int, int] = (1, 1)
