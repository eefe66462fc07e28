"""Convolutions by their definition: windows times weights, gathered as they are multiplied.

Where each number of a window stands is a sum of two places: windows[p], that of the window's first
number in a padded row, and taps[k], how far number k is from it. Both lists are as long as a whole
number of sixes; what is beyond the end repeats their last and is thrown away.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.lanes import WIDE, Eight, load, multiply_add, spread, store


@inner
def _pad(
    x: Array, row: int, height: int, width: int, top: int, left: int, across: int, padded: Array
) -> None:
    """A row with zeros around it; width, left and across count numbers."""
    padded[:] = 0
    for line in range(height):
        at, to = (row * height + line) * width, (top + line) * across + left
        for place in range(width):
            padded[to + place] = x[at + place]


@kernel
def convolve(
    x: Array,
    rows: int,
    height: int,
    width: int,
    top: int,
    left: int,
    across: int,
    padded: Array,
    windows: Array,
    outputs: int,
    taps: Array,
    depth: int,
    weights: Array,
    bias: Array,
    y: Array,
    filters: int,
) -> None:
    """y (rows, outputs, filters); weights are (strips of 16 filters, taps, 16)."""
    for row in range(rows):
        _pad(x, row, height, width, top, left, across, padded)
        for strip in range(0, filters, 16):
            first, second = load(bias, strip, WIDE), load(bias, strip + 8, WIDE)
            for window in range(0, outputs, 6):
                at0, at1, at2 = windows[window], windows[window + 1], windows[window + 2]
                at3, at4, at5 = windows[window + 3], windows[window + 4], windows[window + 5]
                c00 = c10 = c20 = c30 = c40 = c50 = first
                c01 = c11 = c21 = c31 = c41 = c51 = second
                for k in range(depth):
                    tap, at = taps[k], strip * depth + k * 16
                    a, b = load(weights, at, WIDE), load(weights, at + 8, WIDE)
                    n = spread(load(padded, at0 + tap, None), WIDE)
                    c00, c01 = multiply_add(n, a, c00), multiply_add(n, b, c01)
                    n = spread(load(padded, at1 + tap, None), WIDE)
                    c10, c11 = multiply_add(n, a, c10), multiply_add(n, b, c11)
                    n = spread(load(padded, at2 + tap, None), WIDE)
                    c20, c21 = multiply_add(n, a, c20), multiply_add(n, b, c21)
                    n = spread(load(padded, at3 + tap, None), WIDE)
                    c30, c31 = multiply_add(n, a, c30), multiply_add(n, b, c31)
                    n = spread(load(padded, at4 + tap, None), WIDE)
                    c40, c41 = multiply_add(n, a, c40), multiply_add(n, b, c41)
                    n = spread(load(padded, at5 + tap, None), WIDE)
                    c50, c51 = multiply_add(n, a, c50), multiply_add(n, b, c51)
                to, left_over = (row * outputs + window) * filters + strip, outputs - window
                store(y, to, c00)
                store(y, to + 8, c01)
                if left_over > 1:
                    store(y, to + filters, c10)
                    store(y, to + filters + 8, c11)
                if left_over > 2:
                    store(y, to + 2 * filters, c20)
                    store(y, to + 2 * filters + 8, c21)
                if left_over > 3:
                    store(y, to + 3 * filters, c30)
                    store(y, to + 3 * filters + 8, c31)
                if left_over > 4:
                    store(y, to + 4 * filters, c40)
                    store(y, to + 4 * filters + 8, c41)
                if left_over > 5:
                    store(y, to + 5 * filters, c50)
                    store(y, to + 5 * filters + 8, c51)


@kernel
def weight_gradient(
    x: Array,
    rows: int,
    height: int,
    width: int,
    top: int,
    left: int,
    across: int,
    padded: Array,
    windows: Array,
    outputs: int,
    taps: Array,
    dy: Array,
    filters: int,
    dw: Array,
    db: Array,
) -> None:
    """dw (strips of 16 filters, taps, 16) and db (filters): sums of a row, then over the rows."""
    dw[:] = 0
    db[:] = 0
    for row in range(rows):
        _pad(x, row, height, width, top, left, across, padded)
        for strip in range(0, filters, 16):
            begin = row * outputs * filters + strip
            _add_outputs(dy, begin, outputs, filters, db, strip)
            for k in range(0, len(taps), 6):
                t0, t1, t2 = taps[k], taps[k + 1], taps[k + 2]
                t3, t4, t5 = taps[k + 3], taps[k + 4], taps[k + 5]
                zero = load(db, strip, WIDE) - load(db, strip, WIDE)
                c00 = c10 = c20 = c30 = c40 = c50 = zero
                c01 = c11 = c21 = c31 = c41 = c51 = zero
                for window in range(outputs):
                    place, at = windows[window], begin + window * filters
                    a, b = load(dy, at, WIDE), load(dy, at + 8, WIDE)
                    n = spread(load(padded, place + t0, None), WIDE)
                    c00, c01 = multiply_add(n, a, c00), multiply_add(n, b, c01)
                    n = spread(load(padded, place + t1, None), WIDE)
                    c10, c11 = multiply_add(n, a, c10), multiply_add(n, b, c11)
                    n = spread(load(padded, place + t2, None), WIDE)
                    c20, c21 = multiply_add(n, a, c20), multiply_add(n, b, c21)
                    n = spread(load(padded, place + t3, None), WIDE)
                    c30, c31 = multiply_add(n, a, c30), multiply_add(n, b, c31)
                    n = spread(load(padded, place + t4, None), WIDE)
                    c40, c41 = multiply_add(n, a, c40), multiply_add(n, b, c41)
                    n = spread(load(padded, place + t5, None), WIDE)
                    c50, c51 = multiply_add(n, a, c50), multiply_add(n, b, c51)
                to = strip * len(taps) + k * 16
                _add(dw, to, c00, c01)
                _add(dw, to + 16, c10, c11)
                _add(dw, to + 32, c20, c21)
                _add(dw, to + 48, c30, c31)
                _add(dw, to + 64, c40, c41)
                _add(dw, to + 80, c50, c51)


@inner
def _add(total: Array, at: int, first: Eight, second: Eight) -> None:
    store(total, at, load(total, at, WIDE) + first)
    store(total, at + 8, load(total, at + 8, WIDE) + second)


@inner
def _add_outputs(
    dy: Array, begin: int, outputs: int, filters: int, total: Array, strip: int
) -> None:
    """The sum over the outputs of a row, added to the total."""
    first = load(dy, begin, WIDE) - load(dy, begin, WIDE)
    second = first
    for window in range(outputs):
        at = begin + window * filters
        first, second = first + load(dy, at, WIDE), second + load(dy, at + 8, WIDE)
    _add(total, strip, first, second)
