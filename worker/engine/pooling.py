"""Pooling: the largest number or the mean of every window, channel by channel, tap by tap.

Where several numbers of a window are the largest, the gradient goes to the first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, size, text
from gradloom.worker.engine.operation import (
    Call,
    Flops,
    Operation,
    ShapeMismatch,
    Shapes,
)
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import GlobalAveragePool, GlobalMaxPool, Pool
from gradloom.worker.engine.window import (
    Tap,
    Windows,
    check_axes,
    global_windows,
    slide,
    windows,
)

Pooling = Pool | GlobalAveragePool | GlobalMaxPool


def _shape(name: str, axes: tuple[str, ...]) -> Callable[[Pool, Shapes], Shape]:
    def shape(layer: Pool, inputs: Shapes) -> Shape:
        (row,) = inputs
        channels = row[-1] if row else UNKNOWN
        check_axes(name, axes, row, (UNKNOWN,) * len(axes) + (channels,))
        try:
            return (*slide(layer, row[:-1]), channels)
        except ShapeMismatch as mismatch:
            assumed = (*mismatch.assumed, channels)
            raise ShapeMismatch(mismatch.sentence, assumed, mismatch.field) from None

    return shape


def _global_shape(name: str) -> Callable[[Pooling, Shapes], Shape]:
    def shape(_layer: Pooling, inputs: Shapes) -> Shape:
        (row,) = inputs
        if len(row) < 2 or 0 in row:
            sentence = f"{name} needs (positions, channels) or more axes, gets {text(row)}: "
            raise ShapeMismatch(sentence + "remove it or add reshape.", row[-1:])
        return row[-1:]

    return shape


def _windows(layer: Pooling, row: Shape) -> Windows:
    return windows(layer, row[:-1]) if isinstance(layer, Pool) else global_windows(row[:-1])


def _flops(layer: Pooling, inputs: Shapes) -> Flops:
    found = _windows(layer, inputs[0])
    taps = size((*found.shape, *(axis.size for axis in found.axes), inputs[0][-1]))
    return Flops(taps, taps)


def _outputs(layer: Pooling, inputs: Shapes) -> Shape:
    return (*_windows(layer, inputs[0]).shape, inputs[0][-1])


@dataclass(frozen=True, slots=True)
class _Met:
    """What one tap meets: inputs, outputs, and the same part of other arrays of their shapes."""

    tap: Tap

    def inputs(self, array: Array) -> Array:
        """Of an array shaped as the input."""
        part: Array = array[(slice(None), *self.tap.inputs)]
        return part

    def outputs(self, array: Array) -> Array:
        """Of an array shaped as the output, with an axis for every axis of the windows."""
        part: Array = array[(slice(None), *self.tap.windows)]
        return part


def _met(call: Call[Pooling]) -> Iterator[_Met]:
    yield from map(_Met, _windows(call.layer, call.inputs[0].shape[1:]).taps)


def _windowed(call: Call[Pooling], array: Array) -> Array:
    """An output with its axes of windows, which a global pooling leaves out."""
    return array.reshape(len(array), *_outputs(call.layer, (call.inputs[0].shape[1:],)))


def _max_forward(call: Call[Pooling], _key: Key | None) -> None:
    y = _windowed(call, call.output)
    y.fill(-np.inf)
    for met in _met(call):
        np.maximum(met.outputs(y), met.inputs(call.inputs[0]), out=met.outputs(y))


def _max_scratch(layer: Pooling, inputs: Shapes) -> tuple[Buffer, ...]:
    """Gradients on their way, where a tap is the largest, and where one was before."""
    shape = _outputs(layer, inputs)
    return Buffer(shape), Buffer(shape, np.bool_), Buffer(shape, np.bool_)


def _max_vjp(call: Call[Pooling]) -> None:
    dx = call.input_gradients[0]
    if dx is None:
        return
    share, largest, found = (_windowed(call, array) for array in call.scratch)
    y, dy = _windowed(call, call.output), _windowed(call, call.output_gradient)
    dx.fill(0)
    found.fill(False)
    for met in _met(call):
        here, before, part = (met.outputs(array) for array in (largest, found, share))
        np.equal(met.inputs(call.inputs[0]), met.outputs(y), out=here)
        np.greater(here, before, out=here)
        np.logical_or(before, here, out=before)
        np.multiply(met.outputs(dy), here, out=part)
        np.add(met.inputs(dx), part, out=met.inputs(dx))


def _average_scratch(layer: Pooling, inputs: Shapes) -> tuple[Buffer, ...]:
    """How many taps of each window meet the input, and gradients on their way."""
    shape = _outputs(layer, inputs)
    return Buffer((1, *shape[:-1], 1), per_row=False), Buffer(shape)


def _average_forward(call: Call[Pooling], _key: Key | None) -> None:
    y = _windowed(call, call.output)
    y.fill(0)
    for met in _met(call):
        np.add(met.outputs(y), met.inputs(call.inputs[0]), out=met.outputs(y))
    np.divide(y, _counted(call), out=y)


def _average_vjp(call: Call[Pooling]) -> None:
    dx = call.input_gradients[0]
    if dx is None:
        return
    share = _windowed(call, call.scratch[1])
    np.divide(_windowed(call, call.output_gradient), _counted(call), out=share)
    dx.fill(0)
    for met in _met(call):
        np.add(met.inputs(dx), met.outputs(share), out=met.inputs(dx))


def _counted(call: Call[Pooling]) -> Array:
    counts = call.scratch[0]
    counts.fill(0)
    for met in _met(call):
        np.add(met.outputs(counts), 1, out=met.outputs(counts))
    return counts


def _max_pool(shape: Callable[..., Shape]) -> Operation[Pooling]:
    return Operation(
        rowwise=True,
        forward=_max_forward,
        vjp=_max_vjp,
        flops=_flops,
        shape=shape,
        keeps=("input", "output"),
        scratch=_max_scratch,
    )


def _average_pool(shape: Callable[..., Shape]) -> Operation[Pooling]:
    return Operation(
        rowwise=True,
        forward=_average_forward,
        vjp=_average_vjp,
        flops=_flops,
        shape=shape,
        scratch=_average_scratch,
    )


MAX_POOL1D = _max_pool(_shape("max_pool1d", ("length",)))
MAX_POOL2D = _max_pool(_shape("max_pool2d", ("height", "width")))
AVERAGE_POOL1D = _average_pool(_shape("average_pool1d", ("length",)))
AVERAGE_POOL2D = _average_pool(_shape("average_pool2d", ("height", "width")))
GLOBAL_AVERAGE_POOL = _average_pool(_global_shape("global_average_pool"))
GLOBAL_MAX_POOL = _max_pool(_global_shape("global_max_pool"))
