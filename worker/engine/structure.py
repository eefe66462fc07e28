"""Operations that only carry numbers along: other shapes, several inputs side by side, sums."""

from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Shape, fits, size, text
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    per_element,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Add, Concat, Flatten, Reshape, Residual

# The most inputs one node may have.
MOST_INPUTS = 100
# The axis of a reshape whose length follows from the others.
REST = -1


def _flat(_layer: Flatten, inputs: Shapes) -> Shape:
    return (size(inputs[0]),)


def _reshaped(layer: Reshape, inputs: Shapes) -> Shape:
    """The shape asked for; an axis that nobody can know is UNKNOWN."""
    (before,) = inputs
    whole, given = size(before), size(tuple(axis for axis in layer.shape if axis != REST))
    if whole == UNKNOWN or given < 1 or layer.shape.count(REST) > 1:
        return _with_rest(layer.shape, UNKNOWN)
    fitting = whole % given == 0 if REST in layer.shape else whole == given
    if not fitting:
        misfit = _misfit(layer.shape, given, before)
        raise ShapeMismatch(misfit, _with_rest(layer.shape, UNKNOWN))
    return _with_rest(layer.shape, whole // given)


def _with_rest(shape: Shape, rest: int) -> Shape:
    return tuple(rest if axis == REST else axis for axis in shape)


def _misfit(shape: Shape, given: int, before: Shape) -> str:
    wanted = f"a multiple of {given:,}" if REST in shape else f"{given:,}"
    asked = f"({', '.join(map(str, shape))})"
    return (
        f"reshape {asked} needs {wanted} numbers a row, gets {text(before)}, which is "
        f"{size(before):,}: give a shape of as many."
    )


# Any: neither layer matters here.
def _carry(call: Call[Any], _key: Key | None) -> None:
    (x,) = call.inputs
    np.copyto(call.output.reshape(x.shape), x)


def _carry_vjp(call: Call[Any]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.copyto(dx, call.output_gradient.reshape(dx.shape))


def _joined_shape(_layer: Concat, inputs: Shapes) -> Shape:
    first = inputs[0]
    joined = sum(shape[-1] for shape in inputs)
    known = UNKNOWN if any(shape[-1] == UNKNOWN for shape in inputs) else joined
    for shape in inputs[1:]:
        if not fits(shape[:-1], first[:-1]):
            raise ShapeMismatch(
                f"concat joins {_listed(inputs)} along the last axis, but all others must be "
                "equal: flatten or reshape before.",
                (*first[:-1], UNKNOWN),
            )
    return (*first[:-1], known)


def _concat(call: Call[Concat], _key: Key | None) -> None:
    begin = 0
    for x in call.inputs:
        end = begin + x.shape[-1]
        np.copyto(call.output[..., begin:end], x)
        begin = end


def _concat_vjp(call: Call[Concat]) -> None:
    begin = 0
    for x, dx in zip(call.inputs, call.input_gradients, strict=True):
        end = begin + x.shape[-1]
        if dx is not None:
            np.copyto(dx, call.output_gradient[..., begin:end])
        begin = end


def _sum_shape(layer: Residual | Add, inputs: Shapes) -> Shape:
    first = inputs[0]
    for shape in inputs[1:]:
        if not fits(first, shape):
            raise ShapeMismatch(_UNEQUAL[type(layer)](inputs, shape), first)
    return first


def _block_adds(inputs: Shapes, after: Shape) -> str:
    before = inputs[0]
    end = f"end the block with dense units {before[-1]}"
    remedy = end if before[:-1] == after[:-1] else "flatten before the block"
    return f"The block turns {text(before)} into {text(after)}, but a residual adds them: {remedy}."


def _node_adds(inputs: Shapes, other: Shape) -> str:
    first = inputs[0]
    dense = f"bring them to it with dense units {first[-1]}"
    remedy = dense if first[:-1] == other[:-1] else "flatten or reshape before, or use concat"
    return f"add needs inputs of one shape, gets {_listed(inputs)}: {remedy}."


_UNEQUAL = {Residual: _block_adds, Add: _node_adds}


def _listed(shapes: Shapes) -> str:
    return f"{', '.join(map(text, shapes[:-1]))} and {text(shapes[-1])}"


def _add(call: Call[Residual | Add], _key: Key | None) -> None:
    first, second, *others = call.inputs
    np.add(first, second, out=call.output)
    for x in others:
        np.add(call.output, x, out=call.output)


def _add_vjp(call: Call[Residual | Add]) -> None:
    for dx in call.input_gradients:
        if dx is not None:
            np.copyto(dx, call.output_gradient)


def _add_flops(_layer: Residual | Add, inputs: Shapes) -> Flops:
    return Flops((len(inputs) - 1) * size(inputs[0]), 0)


FLATTEN: Operation[Flatten] = Operation(
    rowwise=True,
    forward=_carry,
    vjp=_carry_vjp,
    flops=per_element(forward=0, inputs=0),
    shape=_flat,
)
RESHAPE: Operation[Reshape] = Operation(
    rowwise=True,
    forward=_carry,
    vjp=_carry_vjp,
    flops=per_element(forward=0, inputs=0),
    shape=_reshaped,
)
CONCAT: Operation[Concat] = Operation(
    rowwise=True,
    forward=_concat,
    vjp=_concat_vjp,
    flops=per_element(forward=0, inputs=0),
    shape=_joined_shape,
    arity=(2, MOST_INPUTS),
)
ADD: Operation[Residual | Add] = Operation(
    rowwise=True,
    forward=_add,
    vjp=_add_vjp,
    flops=_add_flops,
    shape=_sum_shape,
    arity=(2, MOST_INPUTS),
)
