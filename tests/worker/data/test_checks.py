"""B059, B060: arrays of nothing, and numbers that are none."""

import numpy as np
import pytest

from gradloom.worker.data.checks import BLOCK_ROWS, check_finite, check_shape
from gradloom.worker.data.errors import ArrayError


@pytest.mark.parametrize(
    ("shape", "text"),
    [((), "single number"), ((0,), "0 rows"), ((0, 4), "0 rows"), ((4, 0), "no numbers")],
)
def test_b059_an_array_of_nothing_is_refused(shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ArrayError, match=text):
        check_shape(np.zeros(shape))


def test_b060_the_first_bad_number_is_placed_and_the_rows_counted() -> None:
    array = np.zeros((3 * BLOCK_ROWS, 5), np.float32)
    array[BLOCK_ROWS + 12, [3, 4]] = np.nan
    array[BLOCK_ROWS + 13, 0] = np.inf
    array[2 * BLOCK_ROWS, 1] = np.nan
    with pytest.raises(ArrayError, match=r"^has NaN in row 4,108, column 3 \(3 such rows\)"):
        check_finite(array)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.inf, "f2"), (-np.inf, "f4"), (np.nan, "f8"), (1e39, "f8"), (-1e300, "f8")],
)
def test_b060_what_float32_cannot_hold_is_refused(value: float, dtype: str) -> None:
    with pytest.raises(ArrayError, match="in row 1 "):
        check_finite(np.array([1, value], dtype))


@pytest.mark.parametrize(
    "array", [np.arange(3), np.array([3.4e38, -3.4e38]), np.ones(2, np.float16)]
)
def test_finite_numbers_pass(array: np.ndarray) -> None:
    check_finite(array)
