"""Products of one small matrix for each row and head, in tiles, leaving out triangles of zeros.

All arrays are in one line. A place says where a matrix of an array begins, and how far its rows of
data, its heads and its lines are apart.
"""

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.tiles import COLUMNS, four_lines

Place = tuple[int, int, int, int]

# Lines of a tile.
_LINES = 4

# What is left out: nothing; columns of the result after the diagonal, which keep what they held;
# what the left factor has after its diagonal; what it has before.
WHOLE, RESULT_BELOW, LEFT_BELOW, LEFT_ABOVE = range(4)


@kernel
def multiply(
    left: Array,
    left_place: Place,
    step: int,
    right: Array,
    right_place: Place,
    right_group: int,
    out: Array,
    out_place: Place,
    out_group: int,
    counts: tuple[int, int, int, int, int],
    triangle: int,
) -> None:
    """out = left right; counts are rows, heads, lines, columns and depth.

    Numbers of a line of left are a step apart. So many heads as a group share a matrix; into one
    that they share, their products are summed in order. Lines divide by 4, columns by 16.
    """
    rows, heads, lines, columns, depth = counts
    for row in range(rows):
        for head in range(heads):
            a = left_place[0] + row * left_place[1] + head * left_place[2]
            b = right_place[0] + row * right_place[1] + head // right_group * right_place[2]
            c = out_place[0] + row * out_place[1] + head // out_group * out_place[2]
            is_added = head % out_group != 0
            for line in range(0, lines, _LINES):
                begin = line if triangle == LEFT_ABOVE else 0
                end = line + _LINES if triangle == LEFT_BELOW else depth
                at = a + line * left_place[3] + begin * step
                for column in range(
                    0, line + _LINES if triangle == RESULT_BELOW else columns, COLUMNS
                ):
                    four_lines(
                        _LINES,
                        left,
                        at,
                        left_place[3],
                        step,
                        end - begin,
                        right,
                        b + begin * right_place[3] + column,
                        right_place[3],
                        out,
                        c + line * out_place[3] + column,
                        out_place[3],
                        is_added,
                    )
