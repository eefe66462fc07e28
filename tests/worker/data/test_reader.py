"""Rows arrive in a plan's buffers joined, scaled and in the order asked for."""

import tracemalloc

import numpy as np
import pytest

from gradloom.worker.data.dataset import Dataset, Input
from gradloom.worker.data.normalize import fit
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.spec import Normalize

IMAGES = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
EXTRA = np.arange(20.0).reshape(10, 2, 1) / 7
LABELS = np.arange(10)
JOINED = Input(("images", "extra"), (3, 1), (IMAGES, EXTRA))
DATA = Dataset((JOINED,), LABELS, "")
ROWS = np.array([9, 3, 5, 0])


def reader(normalize: Normalize = Normalize.NONE) -> Reader:
    return Reader(DATA, ROWS, [fit(JOINED, ROWS, normalize)])


def filled(reader: Reader, *positions: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(positions)
    inputs = np.full((count, 2, 4), np.nan, np.float32)
    target = np.full(count, -1, np.int64)
    reader.fill(np.array(positions, np.int64), [inputs], target)
    return inputs, target


def test_rows_come_in_the_order_asked_for() -> None:
    _, target = filled(reader(), 2, 0, 0)
    assert target.tolist() == [5, 9, 9]


def test_inputs_are_joined_along_the_last_axis() -> None:
    inputs, _ = filled(reader(), 1)
    assert np.array_equal(inputs[0], np.concatenate([IMAGES[3], EXTRA[3]], -1).astype(np.float32))


def test_inputs_are_scaled_as_fitted() -> None:
    inputs, _ = filled(reader(Normalize.UNIT), 0, 1, 2, 3)
    assert inputs.min() == 0
    assert inputs.max() == 1


def test_rows_that_are_not_scaled_are_what_they_were() -> None:
    rows = np.array([[[-0.0, 1e-45], [1 / 3, 3e38]]] * 10, np.float32)
    plain = Input(("images",), (2,), (rows,))
    source = Reader(Dataset((plain,), LABELS, ""), ROWS, [fit(plain, ROWS, Normalize.NONE)])
    inputs = np.full((3, 2, 2), np.nan, np.float32)
    source.fill(np.array([2, 0, 0]), [inputs], np.zeros(3, np.int64))
    assert inputs.tobytes() == rows[:3].tobytes()


def test_a_row_is_the_same_in_any_company() -> None:
    source = reader(Normalize.STANDARD)
    together, _ = filled(source, 0, 1, 2, 3)
    alone = [filled(source, position)[0][0] for position in range(4)]
    assert np.array_equal(together, alone)


def test_no_rows_are_no_work() -> None:
    inputs, target = filled(reader())
    assert inputs.size == target.size == 0


@pytest.mark.parametrize("position", [4, -5])
def test_a_position_that_is_not_there_is_an_error(position: int) -> None:
    with pytest.raises(IndexError):
        filled(reader(), position)


def test_targets_of_numbers_become_floats() -> None:
    images = Input(("images",), (3,), (IMAGES,))
    data = Dataset((images,), np.arange(10)[:, None], "")
    target = np.empty((1, 1), np.float32)
    source = Reader(data, ROWS, [fit(images, ROWS, Normalize.NONE)])
    source.fill(np.array([1]), [np.empty((1, 2, 3), np.float32)], target)
    assert target.tolist() == [[3.0]]


def test_filling_again_takes_a_fixed_amount_of_memory() -> None:
    block = np.zeros((1_000, 1_000), np.uint8)
    x = Input(("x",), (1_000,), (block,))
    data = Dataset((x,), np.zeros(1_000, np.int64), "")
    rows = np.arange(1_000)
    source = Reader(data, rows, [fit(x, rows, Normalize.NONE)])
    inputs, target = np.empty((500, 1_000), np.float32), np.empty(500, np.int64)
    source.fill(rows[:500], [inputs], target)
    tracemalloc.start()
    source.fill(rows[500:], [inputs], target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < inputs.nbytes / 10


def test_inputs_by_name_go_to_buffers_of_their_own_each_scaled_for_itself() -> None:
    parts = (Input(("images",), (3,), (IMAGES,)), Input(("extra",), (1,), (EXTRA,)))
    source = Reader(
        Dataset(parts, LABELS, ""), ROWS, [fit(part, ROWS, Normalize.UNIT) for part in parts]
    )
    images, extra = np.empty((4, 2, 3), np.float32), np.empty((4, 2, 1), np.float32)
    source.fill(np.arange(4), [images, extra], np.empty(4, np.int64))
    joined, _ = filled(reader(Normalize.UNIT), 0, 1, 2, 3)
    assert np.array_equal(np.concatenate([images, extra], axis=-1), joined)
