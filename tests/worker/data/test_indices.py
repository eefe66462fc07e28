import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Input
from gradloom.worker.data.indices import BLOCK_ROWS, Found, find_indices, joined


def joined_input(*blocks: Array) -> Input:
    names = tuple(map(str, range(len(blocks))))
    return Input(names, (1,) * len(blocks), blocks)


def test_the_largest_index_is_found_with_its_row() -> None:
    tokens = np.zeros((BLOCK_ROWS + 900, 4), np.int32)
    tokens[BLOCK_ROWS + 812, 2] = 96
    found = find_indices(joined_input(tokens), "Row")
    assert (found.largest, found.odd) == (Found(96, "Row 4,908"), None)


def test_a_fraction_or_a_sign_is_no_index() -> None:
    assert find_indices(joined_input(np.array([[1.0, 2.0], [0.5, 3.0]])), "Row").odd == Found(
        0.5, "Row 1"
    )
    assert find_indices(joined_input(np.array([[1, 2], [3, -4]])), "Row").odd == Found(-4, "Row 1")
    assert find_indices(joined_input(np.array([[1.0, 2.0]], np.float32)), "Row").odd is None


def test_several_blocks_and_test_rows_are_looked_at_together() -> None:
    first, second = np.array([[1], [2]], np.uint8), np.array([[7], [0]], np.uint8)
    training = find_indices(joined_input(first, second), "Row")
    test = find_indices(joined_input(np.array([[9]])), "Test row")
    assert training.largest == Found(7, "Row 0")
    assert joined([training, test]).largest == Found(9, "Test row 0")
