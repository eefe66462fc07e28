"""Whether arrays can be rows to learn from: shapes, lengths, and every number finite."""

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import ArrayError
from gradloom.worker.data.wording import counted

BLOCK_ROWS = 4_096
LARGEST = float(np.finfo(np.float32).max)


def check_shape(array: Array) -> None:
    """Raise ArrayError where there are no rows, or rows of nothing."""
    if not array.ndim:
        raise ArrayError("is a single number: an array with a row axis is needed.")
    if not len(array):
        raise ArrayError("has 0 rows: nothing can be learnt.")
    if not array.size:
        raise ArrayError(f"has the shape {array.shape}: a row holds no numbers.")


def check_finite(array: Array, first_row: int = 0) -> None:
    """Raise ArrayError with the first number that is NaN or too large for float32.

    first_row is the number of the array's first row, where it is a block of more.
    """
    if array.dtype.kind != "f":
        return
    bad_rows = 0
    first: tuple[int, int] | None = None
    rows = array.reshape(len(array), -1)
    for begin in range(0, len(rows), BLOCK_ROWS):
        # A comparison with NaN is false, so NaN is caught by the negation.
        is_bad = ~(np.abs(rows[begin : begin + BLOCK_ROWS], dtype=np.float64) <= LARGEST)
        if is_bad.any():
            row, column = divmod(int(is_bad.argmax()), rows.shape[1])
            first = first or (begin + row, column)
            bad_rows += int(is_bad.any(axis=1).sum())
    if first:
        raise ArrayError(_not_finite(rows, first, bad_rows, first_row))


def _not_finite(rows: Array, place: tuple[int, int], bad_rows: int, first_row: int) -> str:
    value = float(rows[place])
    row, column = first_row + place[0], place[1]
    what = "NaN" if np.isnan(value) else f"{value:g}, beyond what float32 holds"
    where = f"row {row:,}, column {column:,}" if rows.shape[1] > 1 else f"row {row:,}"
    return f"has {what} in {where} ({counted(bad_rows, 'such row')}): correct or remove it."
