"""Convolutions of 3 × 3 by Winograd's F(2 × 2, 3 × 3) (Lavin and Gray, 2016), and their gradients.

Four outputs take 16 products where the definition takes 36. An input tile d of 4 × 4 becomes
v = Bᵀ d B, weights g become u = G g Gᵀ, and outputs are Aᵀ (Σ over channels of u v) A. Lines of
tiles are treated in groups, so that what is between the transforms stays in the second cache.

V is (16, tiles, channels); U is (strips of 16 filters, 16, channels, 16); M, of one strip, is
(16, tiles, 16). All arrays are in one line.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.lanes import WIDE, Eight, load, store
from gradloom.worker.engine.kernels.products import ROWS, add_four_rows, six_rows

# Outputs along a side of a tile.
SIDE = 2
# Numbers of a transformed tile.
PLACES = 16


@kernel
def transform_weights(weight: Array, u: Array, outputs: int, inputs: int, mirrored: bool) -> None:
    """U of weights (filters, channels, 3, 3); mirrored, that of the gradient towards the input.

    outputs and inputs are filters and channels, or mirrored channels and filters.
    """
    step = inputs * 16
    for o in range(outputs):
        for i in range(inputs):
            at = 9 * (i * outputs + o) + 8 if mirrored else 9 * (o * inputs + i)
            turn = -1 if mirrored else 1
            to = ((o // 16) * PLACES * inputs + i) * 16 + o % 16
            first = _widened(weight, at, turn)
            second = _widened(weight, at + 3 * turn, turn)
            third = _widened(weight, at + 6 * turn, turn)
            for j in range(4):
                a, b, c = first[j], second[j], third[j]
                half = weight.dtype.type(0.5)
                u[to + j * step] = a
                u[to + (4 + j) * step] = half * ((a + c) + b)
                u[to + (8 + j) * step] = half * ((a + c) - b)
                u[to + (12 + j) * step] = c


@inner
def _widened(g: Array, at: int, turn: int) -> tuple[float, float, float, float]:
    """A row of g Gᵀ."""
    half = g.dtype.type(0.5)
    a, b, c = g[at], g[at + turn], g[at + 2 * turn]
    return a, half * ((a + c) + b), half * ((a + c) - b), c


@kernel
def gather_weights(u: Array, weight: Array, filters: int, channels: int) -> None:
    """The gradient of weights from that of their U: Gᵀ u G."""
    half = weight.dtype.type(0.5)
    step = channels * 16
    for o in range(filters):
        for i in range(channels):
            at = ((o // 16) * PLACES * channels + i) * 16 + o % 16
            a, b = _narrowed(u, at, step), _narrowed(u, at + step, step)
            c, d = _narrowed(u, at + 2 * step, step), _narrowed(u, at + 3 * step, step)
            for row in range(3):
                to = 9 * (o * channels + i) + 3 * row
                weight[to] = a[row] + half * (b[row] + c[row])
                weight[to + 1] = half * (b[row] - c[row])
                weight[to + 2] = half * (b[row] + c[row]) + d[row]


@inner
def _narrowed(u: Array, at: int, step: int) -> tuple[float, float, float]:
    """A column of Gᵀ u."""
    half = u.dtype.type(0.5)
    a, b, c, d = u[at], u[at + 4 * step], u[at + 8 * step], u[at + 12 * step]
    return a + half * (b + c), half * (b - c), half * (b + c) + d


@inner
def _pad_lines(
    x: Array,
    row: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    padded: Array,
    across: int,
) -> None:
    """Four lines of a row's input from top and left on, across places wide, zeros around it."""
    nothing = load(x, 0, WIDE) - load(x, 0, WIDE)
    for i in range(4):
        line = top + i
        for j in range(across):
            place = left + j
            to = (i * across + j) * channels
            at = ((row * height + line) * width + place) * channels
            if 0 <= line < height and 0 <= place < width:
                for c in range(0, channels, 8):
                    store(padded, to + c, load(x, at + c, WIDE))
            else:
                for c in range(0, channels, 8):
                    store(padded, to + c, nothing)


@inner
def _transform_inputs(
    padded: Array, across: int, tiles: int, channels: int, v: Array, to: int, step: int
) -> None:
    """V of a line of tiles, Bᵀ d B; a place of V is step numbers from the next."""
    down = across * channels
    for tile in range(tiles):
        for c in range(0, channels, 8):
            at = 2 * tile * channels + c
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
) -> None:
    """y (rows, out_height, out_width, filters) of x (rows, height, width, channels).

    top and left are how far windows reach over the first edges. group lines of tiles are treated
    together; padded, v and m have room for them.
    """
    across, lines = (out_width + 1) // 2, (out_height + 1) // 2
    wide = 2 * across + 2
    for first in range(0, rows * lines, group):
        last = min(first + group, rows * lines)
        tiles = (last - first) * across
        capacity = (tiles + ROWS - 1) // ROWS * ROWS
        for line in range(first, last):
            row, down = line // lines, line % lines
            _pad_lines(x, row, 2 * down - top, -left, height, width, channels, padded, wide)
            to = (line - first) * across * channels
            _transform_inputs(padded, wide, across, channels, v, to, capacity * channels)
        for strip in range(filters // 16):
            for place in range(PLACES):
                b_at = (strip * PLACES + place) * channels * 16
                for tile in range(place * capacity, (place + 1) * capacity, ROWS):
                    six_rows(v, tile * channels, channels, u, b_at, m, tile * 16)
            for line in range(first, last):
                row, down = line // lines, line % lines
                below = out_width * filters if 2 * down + 1 < out_height else 0
                begin = (row * out_height + 2 * down) * out_width
                for tile in range(across):
                    at = ((line - first) * across + tile) * 16
                    to = (begin + 2 * tile) * filters + strip * 16
                    right = filters if 2 * tile + 1 < out_width else 0
                    for c in (0, 8):
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
) -> None:
    """The gradients du of U and db of the bias, summed over all tiles in their order.

    The other arguments are those of convolve.
    """
    across, lines = (out_width + 1) // 2, (out_height + 1) // 2
    wide = 2 * across + 2
    du[:] = 0
    db[:filters] = 0
    for first in range(0, rows * lines, group):
        last = min(first + group, rows * lines)
        tiles = (last - first) * across
        for line in range(first, last):
            row, down = line // lines, line % lines
            _pad_lines(x, row, 2 * down - top, -left, height, width, channels, padded, wide)
            to = (line - first) * across * channels
            _transform_inputs(padded, wide, across, channels, v, to, tiles * channels)
        for strip in range(filters // 16):
            for line in range(first, last):
                row, down = line // lines, line % lines
                below = out_width * filters if 2 * down + 1 < out_height else 0
                begin = (row * out_height + 2 * down) * out_width
                for tile in range(across):
                    at = (begin + 2 * tile) * filters + strip * 16
                    to = ((line - first) * across + tile) * 16
                    right = filters if 2 * tile + 1 < out_width else 0
                    for c in (0, 8):
                        total = _transform_gradients(
                            dy, at + c, right, below, m, to + c, tiles * 16
                        )
                        place = strip * 16 + c
                        store(db, place, load(db, place, WIDE) + total)
            for place in range(PLACES):
                v_at, m_at = place * tiles * channels, place * tiles * 16
                out_at = (strip * PLACES + place) * channels * 16
                for c in range(0, channels, 4):
                    add_four_rows(v, v_at + c, channels, tiles, m, m_at, du, out_at + c * 16)
