"""Convolutions by their definition: windows times weights, gathered as they are multiplied.

Where each number of a window stands is a sum of two places: windows[p], that of the window's first
number in a padded row, and taps[k], how far number k is from it. Both lists are as long as a whole
number of sixes; what is beyond the end repeats their last and is thrown away.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.lanes import WIDE, load, store
from gradloom.worker.engine.kernels.products import column_sum, pad
from gradloom.worker.engine.kernels.tiles import six_rows


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
    tile: Array,
) -> None:
    """y (rows, outputs, filters); weights are (strips of 16 filters, depth, 16).

    width, left and across count numbers; tile has room for 6 × 16.
    """
    padded[:] = 0
    for row in range(rows):
        pad(x, row, height, width, top, left, across, padded)
        for strip in range(0, filters, 16):
            for window in range(0, outputs, 6):
                at = strip * depth
                six_rows(padded, 0, windows, window, taps, 0, depth, weights, at, 16, tile, 0)
                to = (row * outputs + window) * filters + strip
                left_over = outputs - window if outputs - window < 6 else 6
                for place in range(0, 16 * left_over, 16):
                    for c in range(0, 16, 8):
                        more = load(bias, strip + c, WIDE)
                        store(y, to + c, load(tile, place + c, WIDE) + more)
                    to += filters


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
    tile: Array,
) -> None:
    """dw (strips of 16 filters, taps, 16) and db (filters): sums of a row, then over the rows."""
    padded[:] = 0
    dw[:] = 0
    db[:filters] = 0
    for row in range(rows):
        pad(x, row, height, width, top, left, across, padded)
        begin = row * outputs * filters
        for strip in range(0, filters, 16):
            at = begin + strip
            for k in range(0, len(taps), 6):
                six_rows(padded, 0, taps, k, windows, 0, outputs, dy, at, filters, tile, 0)
                to = strip * len(taps) + k * 16
                for c in range(0, 96, 8):
                    store(dw, to + c, load(dw, to + c, WIDE) + load(tile, c, WIDE))
        for c in range(0, filters, 8):
            store(db, c, load(db, c, WIDE) + column_sum(dy, begin + c, outputs, filters, WIDE))
