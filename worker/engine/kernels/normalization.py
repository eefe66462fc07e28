"""Batch normalisation, a floor below it, and the largest of every window, in two passes each way.

The gradient's sums need the numbers that pooling let through and no others, so the forward pass
keeps those. Rows are read for their mean and for the squares around it while they are in the
second cache, and put together in their order (Chan et al., 1979).

Arrays are in one line, channels run fastest. A kernel treats the channels first … last-1, eight at
a time or, for the rest, with wide None, one by one. A window's inputs are met[p · taps …
(p + 1) · taps], positions in a row, -1 where it reaches over the end.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner, kernel
from gradloom.worker.engine.kernels.lanes import (
    Eight,
    larger,
    load,
    multiply_add,
    spread,
    store,
    where_above,
    where_equal,
)
from gradloom.worker.engine.kernels.products import column_sum


@kernel
def measure(
    x: Array,
    rows: int,
    positions: int,
    channels: int,
    first: int,
    last: int,
    mean: Array,
    variance: Array,
    wide: object,
) -> None:
    """Mean and variance of each channel."""
    one, count = x.dtype.type(1), x.dtype.type(positions)
    step = channels
    mean[first:last] = 0
    variance[first:last] = 0
    for row in range(rows):
        part = one / x.dtype.type(row + 1)
        for c in range(first, last, 1 if wide is None else 8):
            at = row * positions * channels + c
            own = column_sum(x, at, positions, step, wide) * spread(one / count, wide)
            squares = _squares(x, at, positions, step, own, wide)
            away = own - load(mean, c, wide)
            store(mean, c, multiply_add(away, spread(part, wide), load(mean, c, wide)))
            weight = spread(count * x.dtype.type(row) * part, wide)
            total = load(variance, c, wide) + squares
            store(variance, c, multiply_add(away * away, weight, total))
    for c in range(first, last):
        variance[c] = variance[c] / (count * x.dtype.type(rows))


@inner
def _squares(x: Array, at: int, positions: int, step: int, mean: Eight, wide: object) -> Eight:
    """Of distances from the mean, over the positions of a row, in four lots."""
    first = second = third = fourth = mean - mean
    last = at + positions * step
    while at + 3 * step < last:
        a, b = load(x, at, wide) - mean, load(x, at + step, wide) - mean
        first, second = multiply_add(a, a, first), multiply_add(b, b, second)
        a, b = load(x, at + 2 * step, wide) - mean, load(x, at + 3 * step, wide) - mean
        third, fourth = multiply_add(a, a, third), multiply_add(b, b, fourth)
        at += 4 * step
    while at < last:
        a = load(x, at, wide) - mean
        first = multiply_add(a, a, first)
        at += step
    return (first + second) + (third + fourth)


@kernel
def put_out(
    x: Array,
    rows: int,
    positions: int,
    channels: int,
    first: int,
    last: int,
    mean: Array,
    slope: Array,
    bias: Array,
    floor: float,
    met: Array,
    windows: int,
    taps: int,
    y: Array,
    passed: Array,
    wide: object,
) -> None:
    """y = max(floor, largest of slope (x - mean) + bias in each window).

    passed are the x of the largest; where a window is one number, they are not written.
    """
    for row in range(rows):
        for c in range(first, last, 1 if wide is None else 8):
            m, s, b = load(mean, c, wide), load(slope, c, wide), load(bias, c, wide)
            least = spread(x.dtype.type(floor), wide)
            begin = row * positions * channels + c
            for window in range(windows):
                at = window * taps
                while met[at] < 0:
                    at += 1
                best = load(x, begin + met[at] * channels, wide)
                largest = multiply_add(best - m, s, b)
                for tap in range(at + 1, (window + 1) * taps):
                    if met[tap] >= 0:
                        here = load(x, begin + met[tap] * channels, wide)
                        value = multiply_add(here - m, s, b)
                        best = where_above(value, largest, here, best)
                        largest = larger(largest, value)
                to = (row * windows + window) * channels + c
                store(y, to, larger(least, largest))
                if taps > 1:
                    store(passed, to, best)


@kernel
def sum_gradients(
    passed: Array,
    y: Array,
    dy: Array,
    rows: int,
    windows: int,
    channels: int,
    first: int,
    last: int,
    mean: Array,
    floor: float,
    dw: Array,
    db: Array,
    wide: object,
) -> None:
    """Σ dy (x - mean) and Σ dy of what was let through, of a row, then over the rows."""
    dw[first:last] = 0
    db[first:last] = 0
    for row in range(rows):
        for c in range(first, last, 1 if wide is None else 8):
            m, least = load(mean, c, wide), spread(mean.dtype.type(floor), wide)
            zero = spread(mean.dtype.type(0), wide)
            sum_w = sum_b = other_w = other_b = zero
            at = row * windows * channels + c
            end = at + windows * channels
            while at < end:
                g = where_above(load(y, at, wide), least, load(dy, at, wide), zero)
                sum_b = sum_b + g
                sum_w = multiply_add(g, load(passed, at, wide) - m, sum_w)
                at += channels
                if at < end:
                    g = where_above(load(y, at, wide), least, load(dy, at, wide), zero)
                    other_b = other_b + g
                    other_w = multiply_add(g, load(passed, at, wide) - m, other_w)
                    at += channels
            store(dw, c, load(dw, c, wide) + (sum_w + other_w))
            store(db, c, load(db, c, wide) + (sum_b + other_b))


@kernel
def input_gradient(
    x: Array,
    passed: Array,
    y: Array,
    dy: Array,
    rows: int,
    positions: int,
    channels: int,
    first: int,
    last: int,
    mean: Array,
    slope: Array,
    along: Array,
    shared: Array,
    floor: float,
    met: Array,
    windows: int,
    taps: int,
    dx: Array,
    wide: object,
) -> None:
    """dx = slope × (what comes back through the windows) + along (x - mean) + shared.

    Of equal numbers in a window the first has the gradient.
    """
    for row in range(rows):
        for c in range(first, last, 1 if wide is None else 8):
            m, s, p = load(mean, c, wide), load(slope, c, wide), load(along, c, wide)
            q, zero = load(shared, c, wide), spread(x.dtype.type(0), wide)
            least = spread(x.dtype.type(floor), wide)
            begin = row * positions * channels + c
            for at in range(begin, begin + positions * channels, channels):
                store(dx, at, multiply_add(load(x, at, wide) - m, p, q))
            for window in range(windows):
                at = (row * windows + window) * channels + c
                g = s * where_above(load(y, at, wide), least, load(dy, at, wide), zero)
                largest = load(passed, at, wide)
                for tap in range(window * taps, (window + 1) * taps):
                    if met[tap] >= 0:
                        to = begin + met[tap] * channels
                        mine = where_equal(load(x, to, wide), largest, g, zero)
                        g = g - mine
                        store(dx, to, load(dx, to, wide) + mine)
