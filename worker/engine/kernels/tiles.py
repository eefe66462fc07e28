"""Products of small matrices that lie anywhere in memory: a tile of 4 × 16 numbers in registers.

All arrays are in one line, all places and distances are counted in their numbers.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner
from gradloom.worker.engine.kernels.lanes import WIDE, load, multiply_add, spread, store

ROWS = 4
COLUMNS = 16


@inner
def tile(
    a: Array,
    a_at: int,
    a_row: int,
    a_step: int,
    depth: int,
    b: Array,
    b_at: int,
    b_row: int,
    out: Array,
    out_at: int,
    out_row: int,
    is_added: bool,
) -> None:
    """out (4 × 16) = a (4 × depth) b (depth × 16), or that much more; summed in order.

    a's rows are a_row apart and its columns a_step; rows of b and out have their numbers together.
    """
    zero = spread(a.dtype.type(0), WIDE)
    c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = zero
    for k in range(depth):
        left, right = load(b, b_at + k * b_row, WIDE), load(b, b_at + k * b_row + 8, WIDE)
        at = a_at + k * a_step
        x = spread(load(a, at, None), WIDE)
        c00, c01 = multiply_add(x, left, c00), multiply_add(x, right, c01)
        x = spread(load(a, at + a_row, None), WIDE)
        c10, c11 = multiply_add(x, left, c10), multiply_add(x, right, c11)
        x = spread(load(a, at + 2 * a_row, None), WIDE)
        c20, c21 = multiply_add(x, left, c20), multiply_add(x, right, c21)
        x = spread(load(a, at + 3 * a_row, None), WIDE)
        c30, c31 = multiply_add(x, left, c30), multiply_add(x, right, c31)
    if is_added:
        c00, c01 = c00 + load(out, out_at, WIDE), c01 + load(out, out_at + 8, WIDE)
        at = out_at + out_row
        c10, c11 = c10 + load(out, at, WIDE), c11 + load(out, at + 8, WIDE)
        at += out_row
        c20, c21 = c20 + load(out, at, WIDE), c21 + load(out, at + 8, WIDE)
        at += out_row
        c30, c31 = c30 + load(out, at, WIDE), c31 + load(out, at + 8, WIDE)
    store(out, out_at, c00)
    store(out, out_at + 8, c01)
    store(out, out_at + out_row, c10)
    store(out, out_at + out_row + 8, c11)
    store(out, out_at + 2 * out_row, c20)
    store(out, out_at + 2 * out_row + 8, c21)
    store(out, out_at + 3 * out_row, c30)
    store(out, out_at + 3 * out_row + 8, c31)
