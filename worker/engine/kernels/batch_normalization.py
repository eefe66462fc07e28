"""Batch normalisation by kernels, with a relu and a pooling after it where they follow."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size
from gradloom.worker.engine.batch_normalization import BATCH_NORM
from gradloom.worker.engine.graph import Fused
from gradloom.worker.engine.kernels import normalization
from gradloom.worker.engine.kernels.lanes import LANES, WIDE
from gradloom.worker.engine.operation import Call, Operation, Shapes
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import BatchNorm, Pool, Relu
from gradloom.worker.engine.window import windows

Normalized = BatchNorm | Fused


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a chain does to rows of one shape: the inputs of its windows, the least it puts out."""

    norm: BatchNorm
    positions: int
    windows: int
    taps: int
    met: Array
    floor: float

    @property
    def pools(self) -> bool:
        """Whether windows are more than one number each."""
        return self.taps > 1


@lru_cache(maxsize=256)
def _reach(layer: Normalized, row: Shape) -> _Reach:
    layers = layer.layers if isinstance(layer, Fused) else (layer,)
    met = np.arange(size(row[:-1])).reshape(-1, 1)
    for each in layers:
        if isinstance(each, Pool):
            met = _met(each, row[:-1])
    floor = 0.0 if any(isinstance(each, Relu) for each in layers) else -np.inf
    (norm,) = (each for each in layers if isinstance(each, BatchNorm))
    return _Reach(norm, size(row[:-1]), *met.shape, met.reshape(-1), floor)


def _met(pool: Pool, lengths: Shape) -> Array:
    """The position in a row that every tap of every window meets, -1 for none."""
    found = windows(pool, lengths)
    positions = np.arange(size(lengths)).reshape(lengths)
    # Two taps at least, since one alone stands for no pooling at all.
    met = np.full((*found.shape, max(len(found.taps), 2)), -1)
    for place, tap in enumerate(found.taps):
        met[..., place][tap.windows] = positions[tap.inputs]
    return met.reshape(size(found.shape), -1)


def _saved(layer: Normalized, inputs: Shapes) -> tuple[Buffer, ...]:
    """Mean, variance, one over its root, weight times that; what pooling let through."""
    channel = Buffer(inputs[0][-1:], per_row=False)
    reach = _reach(layer, inputs[0])
    passed = (Buffer((reach.windows, inputs[0][-1])),) if reach.pools else ()
    return (channel, channel, channel, channel, *passed)


def _scratch(_layer: Normalized, inputs: Shapes) -> tuple[Buffer, ...]:
    """What a gradient has of x and of all numbers of a channel."""
    return (Buffer(inputs[0][-1:], per_row=False),) * 2


def _parts(channels: int) -> tuple[tuple[int, int, bool | None], ...]:
    """The channels that fill lanes, and the rest."""
    full = channels - channels % LANES
    parts = ((0, full, WIDE), (full, channels, None))
    return tuple(part for part in parts if part[0] < part[1])


def _forward(call: Call[Normalized], key: Key | None) -> None:
    x, reach = call.inputs[0], _reach(call.layer, call.inputs[0].shape[1:])
    mean, variance, scale, slope, *passed = call.saved
    channels, line = x.shape[-1], x.reshape(-1)
    if key is None:
        np.copyto(mean, call.buffers[0])
        np.copyto(variance, call.buffers[1])
    else:
        for first, last, wide in _parts(channels):
            normalization.measure(
                line, len(x), reach.positions, channels, first, last, mean, variance, wide
            )
    np.add(variance, reach.norm.epsilon, out=scale)
    np.sqrt(scale, out=scale)
    np.divide(1, scale, out=scale)
    np.multiply(call.parameters[0], scale, out=slope)
    kept = passed[0] if passed else x
    for first, last, wide in _parts(channels):
        normalization.put_out(
            line,
            len(x),
            reach.positions,
            channels,
            first,
            last,
            mean,
            slope,
            call.parameters[1],
            reach.floor,
            reach.met,
            reach.windows,
            reach.taps,
            call.output.reshape(-1),
            kept.reshape(-1),
            wide,
        )


def _vjp(call: Call[Normalized]) -> None:
    """dx = w scale (dy - mean dy - x̂ mean(dy x̂)), dy being what came back to each x."""
    x, reach = call.inputs[0], _reach(call.layer, call.inputs[0].shape[1:])
    mean, variance, scale, _, *passed = call.saved
    dw, db = call.parameter_gradients
    kept = (passed[0] if passed else x).reshape(-1)
    y, dy = call.output.reshape(-1), call.output_gradient.reshape(-1)
    channels = x.shape[-1]
    _write_sums(call, len(x), len(x) * reach.positions, mean, variance)
    for first, last, wide in _parts(channels):
        normalization.sum_gradients(
            kept,
            y,
            dy,
            len(x),
            reach.windows,
            channels,
            first,
            last,
            mean,
            reach.floor,
            dw,
            db,
            wide,
        )
    np.multiply(dw, scale, out=dw)
    if call.input_gradients[0] is not None:
        _towards_input(call, reach, kept, call.input_gradients[0])


def _towards_input(call: Call[Normalized], reach: _Reach, kept: Array, dx: Array) -> None:
    x, (mean, _, scale, slope, *_) = call.inputs[0], call.saved
    along, shared = call.scratch
    dw, db = call.parameter_gradients
    count = len(x) * reach.positions
    np.divide(dw, -count, out=along)
    np.multiply(along, scale, out=along)
    np.multiply(along, slope, out=along)
    np.divide(db, -count, out=shared)
    np.multiply(shared, slope, out=shared)
    channels = x.shape[-1]
    for first, last, wide in _parts(channels):
        normalization.input_gradient(
            x.reshape(-1),
            kept,
            call.output.reshape(-1),
            call.output_gradient.reshape(-1),
            len(x),
            reach.positions,
            channels,
            first,
            last,
            mean,
            slope,
            along,
            shared,
            reach.floor,
            reach.met,
            reach.windows,
            reach.taps,
            dx.reshape(-1),
            wide,
        )


def _write_sums(
    call: Call[Normalized], rows: int, count: int, mean: Array, variance: Array
) -> None:
    """The shard's mean and unbiased variance, as many times as it has rows."""
    mean_sum, variance_sum = call.buffer_sums
    np.multiply(mean, rows, out=mean_sum)
    np.multiply(variance, rows * count / max(count - 1, 1), out=variance_sum)


# Any: a layer, or a chain of them.
FAST_BATCH_NORM: Operation[Any] = Operation(
    forward=_forward,
    vjp=_vjp,
    flops=BATCH_NORM.flops,
    shape=BATCH_NORM.shape,
    weights=BATCH_NORM.weights,
    buffers=BATCH_NORM.buffers,
    keeps=("input", "output"),
    saved=_saved,
    scratch=_scratch,
)
