"""The three matrix products of a dense layer, to the same bits whatever rows stand together.

A number of a product is summed in the order of what it is summed over, in a chain of fused
multiply-adds that begins at 0; every _DEPTH inputs or units, or ROWS rows, the chain is added to
those before it and another begins. So a row's numbers depend on that row alone, wherever a shard
begins, which BLAS does not promise. Factors are laid out for tiles of 6 × 16 first, of the right
one a strip of 16 columns at a time, as in Goto and van de Geijn, Anatomy of High-Performance
Matrix Multiplication (2008).

M stands for rows times all axes but the last, K for inputs, U for units. Scratch memory is a line
of as many numbers as room says: a tile, a strip, and then lines of the left factor.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.lanes import WIDE, load, store
from gradloom.worker.engine.kernels.tiles import COLUMNS, six_lines, turn_over

# How long a chain is at most, towards outputs and inputs, and towards weights: part of the bits.
_DEPTH = 1024
ROWS = 256

# Numbers of the left factor that stay near while all strips pass by.
_NEAR = 1 << 18
_LINES = 6
_STRIP_AT = _LINES * COLUMNS
_LINES_AT = _STRIP_AT + COLUMNS * ROWS


def _distance(rows: int) -> int:
    """How far sixes of so many rows are apart: an odd number of cache lines, for all its ways."""
    return (_LINES * rows + 31) // 32 * 32 + 16


_apart = inner(_distance)


def room(inputs: int, units: int) -> int:
    """How many numbers of scratch memory the products of a layer take."""
    apart = _distance(ROWS)
    lines = max(min(-(-units // _LINES) * apart, _NEAR), apart)
    return max(_STRIP_AT + COLUMNS * min(max(inputs, units), _DEPTH), _LINES_AT + lines)


@kernel
def outputs(x_MK: Array, w_UK: Array, y_MU: Array, scratch: Array) -> None:
    """y = x wᵀ."""
    (M, K), U = x_MK.shape, len(w_UK)
    block = max(_NEAR // K // _LINES, 1) * _LINES
    for first in range(0, M, block):
        lines = min(block, M - first)
        for unit in range(0, U, COLUMNS):
            units, to = min(COLUMNS, U - unit), first * U + unit
            for begin in range(0, K, _DEPTH):
                depth, at = min(_DEPTH, K - begin), first * K + begin
                _turned_over(w_UK, unit * K + begin, K, units, depth, scratch)
                _multiply(
                    x_MK, at, K, 1, _LINES * K, lines, depth, scratch, y_MU, to, U, units, begin > 0
                )


@kernel
def input_gradients(dy_MU: Array, w_UK: Array, dx_MK: Array, scratch: Array) -> None:
    """dx = dy w."""
    (M, U), K = dy_MU.shape, w_UK.shape[1]
    block = max(_NEAR // U // _LINES, 1) * _LINES
    for first in range(0, M, block):
        lines = min(block, M - first)
        for column in range(0, K, COLUMNS):
            columns, to = min(COLUMNS, K - column), first * K + column
            for begin in range(0, U, _DEPTH):
                depth, at = min(_DEPTH, U - begin), first * U + begin
                _strip(w_UK, begin * K + column, K, columns, depth, scratch)
                _multiply(
                    dy_MU,
                    at,
                    U,
                    1,
                    _LINES * U,
                    lines,
                    depth,
                    scratch,
                    dx_MK,
                    to,
                    K,
                    columns,
                    begin > 0,
                )


@kernel
def weight_gradients(
    dy_MU: Array, x_MK: Array, dw_UK: Array, scratch: Array, is_added: bool
) -> None:
    """dw = dyᵀ x, or that much more.

    Of at most ROWS rows, what is added comes to the bits of the product added afterwards.
    """
    (M, K), U = x_MK.shape, dy_MU.shape[1]
    for begin in range(0, M, ROWS):
        rows, is_more = min(ROWS, M - begin), is_added or begin > 0
        apart = _apart(rows)
        block = max(_NEAR // apart, 1) * _LINES
        for first in range(0, U, block):
            units = min(block, U - first)
            _sixes(dy_MU, begin * U + first, U, units, rows, scratch, apart)
            for column in range(0, K, COLUMNS):
                columns, to = min(COLUMNS, K - column), first * K + column
                _strip(x_MK, begin * K + column, K, columns, rows, scratch)
                _multiply(
                    scratch,
                    _LINES_AT,
                    1,
                    _LINES,
                    apart,
                    units,
                    rows,
                    scratch,
                    dw_UK,
                    to,
                    K,
                    columns,
                    is_more,
                )


@inner
def _multiply(
    left: Array,
    at: int,
    line: int,
    step: int,
    tile: int,
    lines: int,
    depth: int,
    scratch: Array,
    out: Array,
    to: int,
    width: int,
    columns: int,
    is_added: bool,
) -> None:
    """Lines of left times the strip in scratch.

    Lines are line apart, their numbers step, the tiles tile; those of out width.
    """
    for begin in range(0, lines, _LINES):
        count = min(_LINES, lines - begin)
        if columns == COLUMNS:
            six_lines(
                count,
                left,
                at,
                line,
                step,
                depth,
                scratch,
                _STRIP_AT,
                COLUMNS,
                out,
                to,
                width,
                is_added,
            )
        else:
            six_lines(
                count,
                left,
                at,
                line,
                step,
                depth,
                scratch,
                _STRIP_AT,
                COLUMNS,
                scratch,
                0,
                COLUMNS,
                False,
            )
            _take(scratch, count, columns, out, to, width, is_added)
        at, to = at + tile, to + _LINES * width


@inner
def _take(
    scratch: Array, lines: int, columns: int, out: Array, to: int, width: int, is_added: bool
) -> None:
    """The columns there are of the tile in scratch."""
    for line in range(lines):
        for column in range(columns):
            at, value = to + line * width + column, load(scratch, line * COLUMNS + column, None)
            store(out, at, load(out, at, None) + value if is_added else value)


@inner
def _strip(x: Array, at: int, width: int, columns: int, depth: int, scratch: Array) -> None:
    """Columns side by side: of each of depth lines 16 numbers, zeros for those there are not."""
    for to in range(_STRIP_AT, _STRIP_AT + COLUMNS * depth, COLUMNS):
        if columns == COLUMNS:
            store(scratch, to, load(x, at, WIDE))
            store(scratch, to + 8, load(x, at + 8, WIDE))
        else:
            for column in range(columns):
                store(scratch, to + column, load(x, at + column, None))
            for column in range(columns, COLUMNS):
                scratch[to + column] = 0
        at += width


@inner
def _turned_over(w: Array, at: int, width: int, units: int, depth: int, scratch: Array) -> None:
    """A strip whose columns are lines of w."""
    whole = depth // 8 * 8 if units == COLUMNS else 0
    for k in range(0, whole, 8):
        to = _STRIP_AT + k * COLUMNS
        turn_over(w, at + k, width, scratch, to, COLUMNS)
        turn_over(w, at + 8 * width + k, width, scratch, to + 8, COLUMNS)
    for k in range(whole, depth):
        to = _STRIP_AT + k * COLUMNS
        for unit in range(units):
            store(scratch, to + unit, load(w, at + unit * width + k, None))
        for unit in range(units, COLUMNS):
            scratch[to + unit] = 0


@inner
def _sixes(
    dy: Array, at: int, width: int, units: int, rows: int, scratch: Array, apart: int
) -> None:
    """Units by sixes: of each row the first six numbers, side by side, then the next, apart."""
    # Eight are read and written at once, two of them in vain, where the row goes on so far.
    wide = max(min(units // _LINES, (width - at % width - 2) // _LINES), 0)
    for row in range(rows):
        to = _LINES_AT + row * _LINES
        for unit in range(0, wide * _LINES, _LINES):
            store(scratch, to, load(dy, at + unit, WIDE))
            to += apart
        for unit in range(wide * _LINES, units):
            store(scratch, to + unit % _LINES, load(dy, at + unit, None))
            to += apart if unit % _LINES == _LINES - 1 else 0
        at += width
