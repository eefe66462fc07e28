"""What kernels of convolutions and normalisation share: padding, sums of columns, sizes of tiles.

All arrays are in one line.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner
from gradloom.worker.engine.kernels.lanes import Eight, load

# Columns of a tile.
STRIP = 16
# Rows of a tile.
ROWS = 6


@inner
def pad(
    x: Array, row: int, height: int, width: int, top: int, left: int, across: int, padded: Array
) -> None:
    """A row between zeros that stand there already; width, left and across count numbers."""
    at = row * height * width
    for line in range(top, top + height):
        to = line * across + left
        # Slices would bring their error messages along, a second of compilation.
        for place in range(width):
            padded[to + place] = x[at + place]
        at += width


@inner
def column_sum(x: Array, at: int, count: int, step: int, wide: object) -> Eight:
    """Of count numbers, step apart, in four lots."""
    one = load(x, at, wide)
    first = second = third = fourth = one - one
    last = at + count * step
    while at + 3 * step < last:
        first = first + load(x, at, wide)
        second = second + load(x, at + step, wide)
        third = third + load(x, at + 2 * step, wide)
        fourth = fourth + load(x, at + 3 * step, wide)
        at += 4 * step
    while at < last:
        first = first + load(x, at, wide)
        at += step
    return (first + second) + (third + fourth)
