"""Convolutions by kernels where their shape suits one, else by their twin.

The rule is one of shape alone. Windows of 3 × 3 with stride 1 over many channels go by Winograd,
those of few numbers by their definition; both write 16 filters at a time.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gradloom.worker.engine import convolution as twin
from gradloom.worker.engine.arrays import Array, Buffer, Shape
from gradloom.worker.engine.kernels import direct, winograd
from gradloom.worker.engine.kernels.products import ROWS, STRIP
from gradloom.worker.engine.operation import Call, Operation, Shapes
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Conv1d, Convolution
from gradloom.worker.engine.window import Axis, windows

# Tiles that Winograd's transforms treat together: what is between them fits the second cache.
_TILES = 96
# Numbers of a window up to which the definition goes before a product of gathered windows.
_SHORT = 64


class _Shape:
    """Lengths of a convolution's axes, a sequence as an image of height 1."""

    def __init__(self, layer: Convolution, row: Shape) -> None:
        axes = windows(layer, row[:-1]).axes
        if isinstance(layer, Conv1d):
            axes = (Axis(1, 1, 1, 1, 0, 0), *axes)
        self.down, self.along = axes
        self.channels, self.filters = row[-1], layer.filters
        self.outputs = self.down.windows * self.along.windows
        self.depth = self.down.size * self.along.size * self.channels
        fills_strips = layer.groups == 1 and self.filters % STRIP == 0
        self.is_winograd = fills_strips and self.channels % STRIP == 0 and _is_three(axes)
        self.is_direct = fills_strips and not self.is_winograd and self.depth <= _SHORT

    @property
    def across(self) -> int:
        """Numbers of a padded line of the input."""
        return (self.along.length + self.along.before + self.along.after) * self.channels

    @property
    def padded(self) -> int:
        """Numbers of a padded row of the input."""
        return (self.down.length + self.down.before + self.down.after) * self.across

    @property
    def tiles(self) -> tuple[int, int]:
        """Winograd's tiles in a line of the output, and of the input, whichever are more."""
        across = max(-(-self.along.windows // 2), -(-self.along.length // 2))
        lines = max(1, _TILES // across)
        return across, lines


def _is_three(axes: tuple[Axis, ...]) -> bool:
    return all(
        (axis.size, axis.stride, axis.dilation) == (3, 1, 1)
        and axis.before <= 2
        and axis.after <= 2
        for axis in axes
    )


_shape_of = lru_cache(maxsize=256)(_Shape)


@lru_cache(maxsize=256)
def _places(layer: Convolution, row: Shape) -> tuple[Array, Array]:
    """Where windows begin in a padded row, and how far their numbers are from there."""
    shape = _shape_of(layer, row)
    down, along = shape.down, shape.along
    lines, columns, taps_down, taps_along = (
        np.arange(count) * step
        for count, step in (
            (down.windows, down.stride * shape.across),
            (along.windows, along.stride * shape.channels),
            (down.size, down.dilation * shape.across),
            (along.size, along.dilation * shape.channels),
        )
    )
    begins = lines[:, None] + columns
    taps = taps_down[:, None, None] + taps_along[:, None] + np.arange(shape.channels)
    return _sixes(begins.reshape(-1)), _sixes(taps.reshape(-1))


def _sixes(places: Array) -> Array:
    return np.pad(places, (0, -len(places) % ROWS), mode="edge")


def _scratch(layer: Convolution, inputs: Shapes) -> tuple[Buffer, ...]:
    """Padded input, weights and their gradient in strips, no bias; what is between transforms."""
    shape = _shape_of(layer, inputs[0])
    if shape.is_winograd:
        across, lines = shape.tiles
        widest = max(shape.channels, shape.filters)
        tiles = -(-lines * across // ROWS) * ROWS
        weights = winograd.PLACES * shape.channels * shape.filters
        numbers = (
            4 * (2 * across + 2) * widest,
            weights,
            widest,
            winograd.PLACES * tiles * widest,
            winograd.PLACES * tiles * STRIP,
        )
    elif shape.is_direct:
        _, taps = _places(layer, inputs[0])
        numbers = (shape.padded, len(taps) * shape.filters, shape.filters)
        own = tuple(Buffer((count,), per_row=False) for count in numbers)
        return (*own, *twin.CONV2D.scratch(layer, inputs))
    else:
        return twin.CONV2D.scratch(layer, inputs)
    return tuple(Buffer((count,), per_row=False) for count in numbers)


def _forward(call: Call[Convolution], key: Key | None) -> None:
    shape = _shape_of(call.layer, call.inputs[0].shape[1:])
    if shape.is_winograd:
        _winograd(call, shape)
    elif shape.is_direct:
        _directly(call, shape)
    else:
        twin.CONV2D.forward(call, key)


def _vjp(call: Call[Convolution]) -> None:
    shape = _shape_of(call.layer, call.inputs[0].shape[1:])
    if shape.is_winograd:
        _winograd_vjp(call, shape)
    elif shape.is_direct:
        _direct_vjp(call, shape)
    else:
        twin.CONV2D.vjp(call)


def _bias(call: Call[Convolution], nothing: Array) -> Array:
    """The bias, or zeros."""
    if call.layer.bias:
        return call.parameters[1]
    nothing.fill(0)
    return nothing


def _winograd(call: Call[Convolution], shape: _Shape) -> None:
    padded, u, nothing, v, m = call.scratch
    weight = call.parameters[0].reshape(-1)
    winograd.transform_weights(weight, u, shape.filters, shape.channels, False)
    down, along = shape.down, shape.along
    winograd.convolve(
        call.inputs[0].reshape(-1),
        len(call.output),
        down.length,
        along.length,
        shape.channels,
        down.before,
        along.before,
        u,
        _bias(call, nothing),
        call.output.reshape(-1),
        down.windows,
        along.windows,
        shape.filters,
        padded,
        v,
        m,
        shape.tiles[1],
    )


def _winograd_vjp(call: Call[Convolution], shape: _Shape) -> None:
    padded, u, nothing, v, m = call.scratch
    down, along = shape.down, shape.along
    dy, dx = call.output_gradient, call.input_gradients[0]
    dw, *db = call.parameter_gradients
    winograd.weight_gradient(
        call.inputs[0].reshape(-1),
        len(dy),
        down.length,
        along.length,
        shape.channels,
        down.before,
        along.before,
        dy.reshape(-1),
        down.windows,
        along.windows,
        shape.filters,
        u,
        db[0] if db else nothing,
        padded,
        v,
        m,
        shape.tiles[1],
    )
    winograd.gather_weights(u, dw.reshape(-1), shape.filters, shape.channels)
    if dx is None:
        return
    nothing.fill(0)
    weight = call.parameters[0].reshape(-1)
    winograd.transform_weights(weight, u, shape.channels, shape.filters, True)
    winograd.convolve(
        dy.reshape(-1),
        len(dy),
        down.windows,
        along.windows,
        shape.filters,
        2 - down.before,
        2 - along.before,
        u,
        nothing,
        dx.reshape(-1),
        down.length,
        along.length,
        shape.channels,
        padded,
        v,
        m,
        shape.tiles[1],
    )


def _strips(packed: Array, shape: _Shape) -> Array:
    """Weights in strips as axes strips, filters of one, channels, taps."""
    taps = shape.depth // shape.channels
    strips = packed.reshape(shape.filters // STRIP, -1, STRIP)[:, : shape.depth]
    return strips.reshape(-1, taps, shape.channels, STRIP).transpose(0, 3, 2, 1)


def _in_strips(weight: Array, shape: _Shape) -> Array:
    return weight.reshape(shape.filters // STRIP, STRIP, shape.channels, -1)


def _directly(call: Call[Convolution], shape: _Shape) -> None:
    padded, weights, nothing, *_ = call.scratch
    begins, taps = _places(call.layer, call.inputs[0].shape[1:])
    used = weights[: shape.depth * shape.filters]
    np.copyto(_strips(used, shape), _in_strips(call.parameters[0], shape))
    direct.convolve(
        call.inputs[0].reshape(-1),
        len(call.output),
        shape.down.length,
        shape.along.length * shape.channels,
        shape.down.before,
        shape.along.before * shape.channels,
        shape.across,
        padded,
        begins,
        shape.outputs,
        taps,
        shape.depth,
        used,
        _bias(call, nothing),
        call.output.reshape(-1),
        shape.filters,
    )


def _direct_vjp(call: Call[Convolution], shape: _Shape) -> None:
    padded, weights, nothing, *rest = call.scratch
    begins, taps = _places(call.layer, call.inputs[0].shape[1:])
    dw, *db = call.parameter_gradients
    direct.weight_gradient(
        call.inputs[0].reshape(-1),
        len(call.output),
        shape.down.length,
        shape.along.length * shape.channels,
        shape.down.before,
        shape.along.before * shape.channels,
        shape.across,
        padded,
        begins,
        shape.outputs,
        taps,
        call.output_gradient.reshape(-1),
        shape.filters,
        weights,
        db[0] if db else nothing,
    )
    np.copyto(_in_strips(dw, shape), _strips(weights, shape))
    if call.input_gradients[0] is not None:
        twin.towards_input(replace(call, scratch=tuple(rest)), call.input_gradients[0])


FAST_CONV1D: Operation[Convolution] = replace(
    twin.CONV1D, forward=_forward, vjp=_vjp, scratch=_scratch
)
FAST_CONV2D: Operation[Convolution] = replace(FAST_CONV1D, shape=twin.CONV2D.shape)
