"""Operations that only carry numbers along: flatten, and the sum at the end of a residual."""

import numpy as np

from gradloom.worker.engine.arrays import Shape, fits, size, text
from gradloom.worker.engine.operation import (
    Call,
    Operation,
    ShapeMismatch,
    Shapes,
    per_element,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Flatten, Residual


def _flat(_layer: Flatten, inputs: Shapes) -> Shape:
    return (size(inputs[0]),)


def _flatten(call: Call[Flatten], _key: Key | None) -> None:
    (x,) = call.inputs
    np.copyto(call.output.reshape(x.shape), x)


def _flatten_vjp(call: Call[Flatten]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.copyto(dx, call.output_gradient.reshape(dx.shape))


def _sum_shape(_layer: Residual, inputs: Shapes) -> Shape:
    before, after = inputs
    if not fits(before, after):
        raise ShapeMismatch(
            f"The block turns {text(before)} into {text(after)}, but a residual adds them: "
            f"{_remedy(before, after)}.",
            before,
        )
    return before


def _remedy(before: Shape, after: Shape) -> str:
    if before[:-1] == after[:-1]:
        return f"end the block with dense units {before[-1]}"
    return "flatten before the block"


def _add(call: Call[Residual], _key: Key | None) -> None:
    before, after = call.inputs
    np.add(before, after, out=call.output)


def _add_vjp(call: Call[Residual]) -> None:
    for dx in call.input_gradients:
        if dx is not None:
            np.copyto(dx, call.output_gradient)


FLATTEN: Operation[Flatten] = Operation(
    rowwise=True,
    forward=_flatten,
    vjp=_flatten_vjp,
    flops=per_element(forward=0, inputs=0),
    shape=_flat,
)
ADD: Operation[Residual] = Operation(
    rowwise=True,
    forward=_add,
    vjp=_add_vjp,
    flops=per_element(forward=1, inputs=0),
    shape=_sum_shape,
)
