"""Operations on tokens and their places: embedding, padding mask, learned positions.

T stands for tokens of a row, D for the width of a token's vector, V for the size of the table.
"""

# Capital letters in names are axes.
# ruff: noqa: N806

from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, size, text
from gradloom.worker.engine.check import UNITS
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
    Weights,
    per_element,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Embedding, Initializer, Positions


def _embedded(layer: Embedding, inputs: Shapes) -> Shape:
    return (*inputs[0], layer.width if layer.width in UNITS else UNKNOWN)


def _table(layer: Embedding, _inputs: Shapes) -> tuple[Weights, ...]:
    shape = (layer.size, layer.width)
    return (Weights("weight", shape, Initializer.NORMAL, layer.size, layer.width),)


def _embedding_flops(layer: Embedding, inputs: Shapes) -> Flops:
    return Flops(0, 0, size(inputs[0]) * layer.width)


def _indices(_layer: Embedding, inputs: Shapes) -> tuple[Buffer, ...]:
    return (Buffer(inputs[0], np.int64),)


def _embed(call: Call[Embedding], _key: Key | None) -> None:
    (indices,) = call.saved
    np.copyto(indices, call.inputs[0], casting="unsafe")
    np.take(call.parameters[0], indices, axis=0, out=call.output, mode="clip")


def _no_gradient(call: Call[Any]) -> None:
    """Whole numbers have no gradient: 0 where somebody asks."""
    for dx in call.input_gradients:
        if dx is not None:
            dx.fill(0)


def _embed_vjp_parameters(call: Call[Embedding]) -> None:
    """Adds up the gradients of a token in the order in which it stands in the rows."""
    (indices,), (dw_VD,) = call.saved, call.parameter_gradients
    dw_VD.fill(0)
    dy_TD = call.output_gradient.reshape(-1, dw_VD.shape[1])
    for index, dy_D in zip(indices.reshape(-1), dy_TD, strict=True):
        np.add(dw_VD[index], dy_D, out=dw_VD[index])


def _mask(call: Call[Embedding], _key: Key | None) -> None:
    padding = call.layer.padding_index
    np.not_equal(call.inputs[0], -1 if padding is None else padding, out=call.output)


def _positioned(layer: Positions, inputs: Shapes) -> Shape:
    (shape,) = inputs
    if len(shape) != 2:
        sentence = f"positions need rows of shape (tokens, width), get {text(shape)}: "
        raise ShapeMismatch(sentence + "put them after an embedding.", shape)
    if layer.length in UNITS and shape[0] > layer.length:
        sentence = f"Windows have {shape[0]} tokens, positions cover {layer.length}: "
        raise ShapeMismatch(sentence + f"set length: {shape[0]}.", shape, field="length")
    return shape


def _position_weights(layer: Positions, inputs: Shapes) -> tuple[Weights, ...]:
    width = inputs[0][-1]
    return (Weights("weight", (layer.length, width), Initializer.NORMAL, layer.length, width),)


def _position_flops(_layer: Positions, inputs: Shapes) -> Flops:
    return Flops(size(inputs[0]), 0, size(inputs[0]))


def _add_positions(call: Call[Positions], _key: Key | None) -> None:
    np.add(call.inputs[0], _used(call, call.parameters[0]), out=call.output)


def _positions_vjp(call: Call[Positions]) -> None:
    (dx,) = call.input_gradients
    if dx is not None:
        np.copyto(dx, call.output_gradient)


def _positions_vjp_parameters(call: Call[Positions]) -> None:
    (dw,) = call.parameter_gradients
    dw.fill(0)
    np.add.reduce(call.output_gradient, axis=0, out=_used(call, dw))


def _used(call: Call[Positions], table: Array) -> Array:
    """The vectors of the positions that a row has."""
    return table[: call.output.shape[1]]


EMBEDDING: Operation[Embedding] = Operation(
    rowwise=True,
    forward=_embed,
    vjp=_no_gradient,
    vjp_parameters=_embed_vjp_parameters,
    flops=_embedding_flops,
    shape=_embedded,
    weights=_table,
    saved=_indices,
    choices=lambda layer: (layer.size,),
)
PADDING_MASK: Operation[Embedding] = Operation(
    rowwise=True,
    forward=_mask,
    vjp=_no_gradient,
    flops=per_element(forward=1, inputs=0),
    choices=lambda layer: (layer.size,),
)
POSITIONS: Operation[Positions] = Operation(
    rowwise=True,
    forward=_add_positions,
    vjp=_positions_vjp,
    vjp_parameters=_positions_vjp_parameters,
    flops=_position_flops,
    shape=_positioned,
    weights=_position_weights,
)
