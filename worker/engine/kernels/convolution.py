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
    def tiled(self) -> int:
        """Numbers of a row, of the input or of the output's gradient, padded to whole tiles."""
        down, along = (2 * -(-max(axis.windows, axis.length) // 2) + 2 for axis in self.axes)
        return down * along * max(self.channels, self.filters)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Down and along."""
        return self.down, self.along

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


@lru_cache(maxsize=256)
def _counted(shape: _Shape, channels: int) -> tuple[Array, Array]:
    """Places from 0 on, and how far as many channels stand from the first."""
    across, lines = shape.tiles
    places = np.arange(max(across * lines, shape.channels, shape.filters))
    return places, places * channels


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
        numbers: tuple[int, ...] = (
            shape.tiled,
            weights,
            widest,
            winograd.PLACES * tiles * widest,
            winograd.PLACES * tiles * STRIP,
            9 * shape.channels * shape.filters,
        )
    elif shape.is_direct:
        _, taps = _places(layer, inputs[0])
        numbers = (shape.padded, len(taps) * shape.filters, shape.filters, ROWS * STRIP)
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
    padded, u, nothing, v, m, staged = call.scratch
    _transform(call.parameters[0], shape, u, staged)
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
        *_counted(shape, shape.channels),
    )


def _winograd_vjp(call: Call[Convolution], shape: _Shape) -> None:
    padded, u, nothing, v, m, staged = call.scratch
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
        *_counted(shape, shape.channels),
    )
    _gather(u, shape, dw, staged)
    if dx is None:
        return
    nothing.fill(0)
    _transform_mirrored(call.parameters[0], shape, u, staged)
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
        *_counted(shape, shape.filters),
    )


def _transform(weight: Array, shape: _Shape, u: Array, staged: Array) -> None:
    """U of the weights."""
    strips = weight.reshape(-1, STRIP, shape.channels, 9).transpose(0, 3, 2, 1)
    _to_places(strips, u, staged, mirrored=False)


def _transform_mirrored(weight: Array, shape: _Shape, u: Array, staged: Array) -> None:
    """U of the weights that lead back to the input."""
    strips = weight.reshape(shape.filters, -1, STRIP, 9).transpose(1, 3, 0, 2)
    _to_places(strips, u, staged, mirrored=True)


def _to_places(strips: Array, u: Array, staged: Array, *, mirrored: bool) -> None:
    """U of weights with the axes strips, taps, inputs, outputs of a strip."""
    np.copyto(staged.reshape(strips.shape), strips)
    matrix = winograd.weights_to_places(u.dtype, mirrored)
    by_tap = staged.reshape(len(strips), 9, -1)
    np.matmul(matrix, by_tap, out=u.reshape(len(strips), winograd.PLACES, -1))


def _gather(u: Array, shape: _Shape, dw: Array, staged: Array) -> None:
    """The gradient of the weights from that of U."""
    matrix = winograd.weights_to_places(u.dtype, False)
    by_place = u.reshape(shape.filters // STRIP, winograd.PLACES, -1)
    np.matmul(matrix.T, by_place, out=staged.reshape(len(by_place), 9, -1))
    strips = staged.reshape(len(by_place), 9, shape.channels, STRIP)
    np.copyto(dw.reshape(-1, STRIP, shape.channels, 9), strips.transpose(0, 3, 2, 1))


def _strips(packed: Array, shape: _Shape) -> Array:
    """Weights in strips as axes strips, filters of one, channels, taps."""
    taps = shape.depth // shape.channels
    strips = packed.reshape(shape.filters // STRIP, -1, STRIP)[:, : shape.depth]
    return strips.reshape(-1, taps, shape.channels, STRIP).transpose(0, 3, 2, 1)


def _in_strips(weight: Array, shape: _Shape) -> Array:
    return weight.reshape(shape.filters // STRIP, STRIP, shape.channels, -1)


def _directly(call: Call[Convolution], shape: _Shape) -> None:
    padded, weights, nothing, tile, *_ = call.scratch
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
        tile,
    )


def _direct_vjp(call: Call[Convolution], shape: _Shape) -> None:
    padded, weights, nothing, tile, *rest = call.scratch
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
        tile,
    )
    np.copyto(_in_strips(dw, shape), _strips(weights, shape))
    if call.input_gradients[0] is not None:
        twin.towards_input(replace(call, scratch=tuple(rest)), call.input_gradients[0])


FAST_CONV1D: Operation[Convolution] = replace(
    twin.CONV1D, forward=_forward, vjp=_vjp, scratch=_scratch
)
FAST_CONV2D: Operation[Convolution] = replace(FAST_CONV1D, shape=twin.CONV2D.shape)
