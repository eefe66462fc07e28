"""Convolutions of 3 × 3 by Winograd's F(2 × 2, 3 × 3) (Lavin and Gray, 2016), and their gradients.

Four outputs take 16 products where the definition takes 36. An input tile d of 4 × 4 becomes
v = Bᵀ d B, weights g become u = G g Gᵀ, and outputs are Aᵀ (Σ over channels of u v) A. Lines of
tiles are treated in groups, so that what is between the transforms stays in the second cache.

V is (16, tiles, channels); U is (strips of 16 filters, 16, channels, 16); M, of one strip, is
(16, tiles, 16). All arrays are in one line.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.lanes import WIDE, Eight, load, store
from gradloom.worker.engine.kernels.products import ROWS, pad
from gradloom.worker.engine.kernels.tiles import add_four_rows, six_rows

# Outputs along a side of a tile.
SIDE = 2
# Numbers of a transformed tile.
PLACES = 16


# G ⊗ G: what makes 16 places of u of 9 weights.
_SIDE_WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_WEIGHTS = np.kron(_SIDE_WEIGHTS, _SIDE_WEIGHTS)


@lru_cache(maxsize=8)
def weights_to_places(dtype: np.dtype[Any], mirrored: bool) -> Array:
    """The matrix (16, 9) that makes u of weights, or of weights turned by half a turn."""
    matrix = _WEIGHTS[:, ::-1] if mirrored else _WEIGHTS
    return np.ascontiguousarray(matrix, dtype)


@inner
def _transform_inputs(
    padded: Array, at: int, down: int, tiles: int, channels: int, v: Array, to: int, step: int
) -> None:
    """V of a line of tiles, Bᵀ d B; lines of the input are down apart, places of V step."""
    begin = at
    for tile in range(tiles):
        for c in range(0, channels, 8):
            at = begin + 2 * tile * channels + c
            a0, a1, a2, a3 = _column(padded, at, down)
            b0, b1, b2, b3 = _column(padded, at + channels, down)
            c0, c1, c2, c3 = _column(padded, at + 2 * channels, down)
            d0, d1, d2, d3 = _column(padded, at + 3 * channels, down)
            place = to + tile * channels + c
            _store_inputs(v, place, step, a0, b0, c0, d0)
            _store_inputs(v, place + 4 * step, step, a1, b1, c1, d1)
            _store_inputs(v, place + 8 * step, step, a2, b2, c2, d2)
            _store_inputs(v, place + 12 * step, step, a3, b3, c3, d3)


@inner
def _transform_lines(
    x: Array,
    first: int,
    last: int,
    lines: int,
    height: int,
    width: int,
    top: int,
    left: int,
    across: int,
    channels: int,
    padded: Array,
    v: Array,
    step: int,
) -> None:
    """V of the lines of tiles first … last-1, counted over all rows; width and left in numbers."""
    down = (2 * across + 2) * channels
    for line in range(first, last):
        row, inside = line // lines, line % lines
        if inside == 0:
            pad(x, row, height, width, top, left, down, padded)
        to = (line - first) * across * channels
        _transform_inputs(padded, 2 * inside * down, down, across, channels, v, to, step)


@inner
def _column(padded: Array, at: int, down: int) -> tuple[Eight, Eight, Eight, Eight]:
    """A column of Bᵀ d."""
    a, b = load(padded, at, WIDE), load(padded, at + down, WIDE)
    c, d = load(padded, at + 2 * down, WIDE), load(padded, at + 3 * down, WIDE)
    return a - c, b + c, c - b, b - d


@inner
def _store_inputs(v: Array, at: int, step: int, a: Eight, b: Eight, c: Eight, d: Eight) -> None:
    """A row of (Bᵀ d) B."""
    store(v, at, a - c)
    store(v, at + step, b + c)
    store(v, at + 2 * step, c - b)
    store(v, at + 3 * step, b - d)


@inner
def _collapsed(m: Array, at: int, step: int) -> tuple[Eight, Eight]:
    """A column of Aᵀ m."""
    a, b = load(m, at, WIDE), load(m, at + 4 * step, WIDE)
    c, d = load(m, at + 8 * step, WIDE), load(m, at + 12 * step, WIDE)
    return (a + b) + c, (b - c) - d


@inner
def _write_outputs(
    m: Array, at: int, step: int, y: Array, to: int, right: int, down: int, bias: Eight
) -> None:
    """Aᵀ m A of one tile; right and down lead to the next outputs, 0 where there are none."""
    a0, a1 = _collapsed(m, at, step)
    b0, b1 = _collapsed(m, at + step, step)
    c0, c1 = _collapsed(m, at + 2 * step, step)
    d0, d1 = _collapsed(m, at + 3 * step, step)
    store(y, to, ((a0 + b0) + c0) + bias)
    if right:
        store(y, to + right, ((b0 - c0) - d0) + bias)
    if down:
        store(y, to + down, ((a1 + b1) + c1) + bias)
    if right and down:
        store(y, to + right + down, ((b1 - c1) - d1) + bias)


@kernel
def convolve(
    x: Array,
    rows: int,
    height: int,
    width: int,
    channels: int,
    top: int,
    left: int,
    u: Array,
    bias: Array,
    y: Array,
    out_height: int,
    out_width: int,
    filters: int,
    padded: Array,
    v: Array,
    m: Array,
    group: int,
    places: Array,
    steps: Array,
) -> None:
    """y (rows, out_height, out_width, filters) of x (rows, height, width, channels).

    top and left are how far windows reach over the first edges. group lines of tiles are treated
    together; v and m have room for them, padded for a row. places count from 0, to more than there
    are channels or tiles, steps are places times channels.
    """
    across, lines = (out_width + 1) // 2, (out_height + 1) // 2
    padded[:] = 0
    for first in range(0, rows * lines, group):
        last = min(first + group, rows * lines)
        tiles = (last - first) * across
        capacity = (tiles + ROWS - 1) // ROWS * ROWS
        _transform_lines(
            x,
            first,
            last,
            lines,
            height,
            width * channels,
            top,
            left * channels,
            across,
            channels,
            padded,
            v,
            capacity * channels,
        )
        for strip in range(filters // 16):
            for place in range(PLACES):
                b_at = (strip * PLACES + place) * channels * 16
                for tile in range(place * capacity, (place + 1) * capacity, ROWS):
                    at = tile * channels
                    six_rows(v, at, steps, 0, places, 0, channels, u, b_at, 16, m, tile * 16)
            for line in range(first, last):
                row, down = line // lines, line % lines
                below = out_width * filters if 2 * down + 1 < out_height else 0
                begin = (row * out_height + 2 * down) * out_width
                for tile in range(across):
                    at = ((line - first) * across + tile) * 16
                    to = (begin + 2 * tile) * filters + strip * 16
                    right = filters if 2 * tile + 1 < out_width else 0
                    for c in range(0, 16, 8):
                        more = load(bias, strip * 16 + c, WIDE)
                        _write_outputs(m, at + c, capacity * 16, y, to + c, right, below, more)


@inner
def _transform_gradients(
    dy: Array,
    at: int,
    right: int,
    down: int,
    m: Array,
    to: int,
    step: int,
) -> Eight:
    """A dy Aᵀ of one tile, and its sum.

    right and down lead to its other outputs, and are 0 where there are none.
    """
    a = load(dy, at, WIDE)
    nothing = a - a
    b = load(dy, at + right, WIDE) if right else nothing
    c = load(dy, at + down, WIDE) if down else nothing
    d = load(dy, at + right + down, WIDE) if right and down else nothing
    _store_gradients(m, to, step, a, b)
    _store_gradients(m, to + 4 * step, step, a + c, b + d)
    _store_gradients(m, to + 8 * step, step, a - c, b - d)
    _store_gradients(m, to + 12 * step, step, nothing - c, nothing - d)
    return (a + b) + (c + d)


@inner
def _store_gradients(m: Array, to: int, step: int, a: Eight, b: Eight) -> None:
    store(m, to, a)
    store(m, to + step, a + b)
    store(m, to + 2 * step, a - b)
    store(m, to + 3 * step, (a - a) - b)


@kernel
def weight_gradient(
    x: Array,
    rows: int,
    height: int,
    width: int,
    channels: int,
    top: int,
    left: int,
    dy: Array,
    out_height: int,
    out_width: int,
    filters: int,
    du: Array,
    db: Array,
    padded: Array,
    v: Array,
    m: Array,
    group: int,
    places: Array,
    steps: Array,
) -> None:
    """The gradients du of U and db of the bias, summed over all tiles in their order.

    The other arguments are those of convolve.
    """
    across, lines = (out_width + 1) // 2, (out_height + 1) // 2
    padded[:] = 0
    du[:] = 0
    db[:filters] = 0
    for first in range(0, rows * lines, group):
        last = min(first + group, rows * lines)
        tiles = (last - first) * across
        _transform_lines(
            x,
            first,
            last,
            lines,
            height,
            width * channels,
            top,
            left * channels,
            across,
            channels,
            padded,
            v,
            tiles * channels,
        )
        for strip in range(filters // 16):
            for line in range(first, last):
                row, down = line // lines, line % lines
                below = out_width * filters if 2 * down + 1 < out_height else 0
                begin = (row * out_height + 2 * down) * out_width
                for tile in range(across):
                    at = (begin + 2 * tile) * filters + strip * 16
                    to = ((line - first) * across + tile) * 16
                    right = filters if 2 * tile + 1 < out_width else 0
                    for c in range(0, 16, 8):
                        total = _transform_gradients(
                            dy, at + c, right, below, m, to + c, tiles * 16
                        )
                        place = strip * 16 + c
                        store(db, place, load(db, place, WIDE) + total)
            for place in range(PLACES):
                v_at, m_at = place * tiles * channels, place * tiles * 16
                out_at = (strip * PLACES + place) * channels * 16
                for c in range(0, channels, 4):
                    at = v_at + c
                    add_four_rows(
                        v, at, places, 0, steps, 0, tiles, m, m_at, 16, du, out_at + c * 16
                    )
