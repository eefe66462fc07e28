"""Small matrix products in registers: tiles of 6 × 16 or 4 × 16 numbers, summed in order.

All arrays are in one line, all places are indices into them.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import inner
from gradloom.worker.engine.kernels.lanes import WIDE, load, multiply_add, spread, store

# Columns of a tile.
STRIP = 16
# Rows of a tile.
ROWS = 6


@inner
def six_rows(a: Array, a_at: int, depth: int, b: Array, b_at: int, out: Array, out_at: int) -> None:
    """out (6 × 16) = a (6 × depth) b (depth × 16), each of them without gaps."""
    zero = load(b, b_at, WIDE) - load(b, b_at, WIDE)
    c00 = c01 = c10 = c11 = c20 = c21 = zero
    c30 = c31 = c40 = c41 = c50 = c51 = zero
    for k in range(depth):
        left, right = load(b, b_at + k * 16, WIDE), load(b, b_at + k * 16 + 8, WIDE)
        at = a_at + k
        x = spread(load(a, at, None), WIDE)
        c00, c01 = multiply_add(x, left, c00), multiply_add(x, right, c01)
        x = spread(load(a, at + depth, None), WIDE)
        c10, c11 = multiply_add(x, left, c10), multiply_add(x, right, c11)
        x = spread(load(a, at + 2 * depth, None), WIDE)
        c20, c21 = multiply_add(x, left, c20), multiply_add(x, right, c21)
        x = spread(load(a, at + 3 * depth, None), WIDE)
        c30, c31 = multiply_add(x, left, c30), multiply_add(x, right, c31)
        x = spread(load(a, at + 4 * depth, None), WIDE)
        c40, c41 = multiply_add(x, left, c40), multiply_add(x, right, c41)
        x = spread(load(a, at + 5 * depth, None), WIDE)
        c50, c51 = multiply_add(x, left, c50), multiply_add(x, right, c51)
    store(out, out_at, c00)
    store(out, out_at + 8, c01)
    store(out, out_at + 16, c10)
    store(out, out_at + 24, c11)
    store(out, out_at + 32, c20)
    store(out, out_at + 40, c21)
    store(out, out_at + 48, c30)
    store(out, out_at + 56, c31)
    store(out, out_at + 64, c40)
    store(out, out_at + 72, c41)
    store(out, out_at + 80, c50)
    store(out, out_at + 88, c51)


@inner
def add_four_rows(
    a: Array, a_at: int, width: int, depth: int, b: Array, b_at: int, out: Array, out_at: int
) -> None:
    """out (4 × 16) += aᵀ b of four columns of a (depth × width) and of b (depth × 16)."""
    c00, c01 = load(out, out_at, WIDE), load(out, out_at + 8, WIDE)
    c10, c11 = load(out, out_at + 16, WIDE), load(out, out_at + 24, WIDE)
    c20, c21 = load(out, out_at + 32, WIDE), load(out, out_at + 40, WIDE)
    c30, c31 = load(out, out_at + 48, WIDE), load(out, out_at + 56, WIDE)
    for k in range(depth):
        left, right = load(b, b_at + k * 16, WIDE), load(b, b_at + k * 16 + 8, WIDE)
        at = a_at + k * width
        x = spread(load(a, at, None), WIDE)
        c00, c01 = multiply_add(x, left, c00), multiply_add(x, right, c01)
        x = spread(load(a, at + 1, None), WIDE)
        c10, c11 = multiply_add(x, left, c10), multiply_add(x, right, c11)
        x = spread(load(a, at + 2, None), WIDE)
        c20, c21 = multiply_add(x, left, c20), multiply_add(x, right, c21)
        x = spread(load(a, at + 3, None), WIDE)
        c30, c31 = multiply_add(x, left, c30), multiply_add(x, right, c31)
    store(out, out_at, c00)
    store(out, out_at + 8, c01)
    store(out, out_at + 16, c10)
    store(out, out_at + 24, c11)
    store(out, out_at + 32, c20)
    store(out, out_at + 40, c21)
    store(out, out_at + 48, c30)
    store(out, out_at + 56, c31)
