"""I10: a stream visits every row once an epoch, in an order that seed and epoch alone decide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.data.blocks import Blocking
from gradloom.worker.data.windows import Split, Windows

few = settings(max_examples=60, derandomize=True, deadline=None)
SIZES = st.tuples(st.integers(1, 300), st.integers(1, 40), st.integers(1, 6))


def windows(
    rows: int, block_rows: int, window_blocks: int, *, seed: int = 7, fraction: float = 0.0
) -> Windows:
    split = Split(Blocking(rows, block_rows), fraction, seed, remembered=2)
    return Windows(split.training, window_blocks, seed)


@few
@given(SIZES, st.floats(0, 0.9), st.integers(0, 5))
def test_an_epoch_visits_every_training_row_once(
    sizes: tuple[int, int, int], fraction: float, epoch: int
) -> None:
    split = Split(Blocking(*sizes[:2]), fraction, 7, remembered=2)
    count = len(split.training)
    if count:
        order = windows(*sizes, fraction=fraction).visited(epoch, 0, count)
        assert sorted(order) == list(range(count))


@few
@given(SIZES, st.integers(1, 50), st.data())
def test_any_stretch_is_that_of_the_whole_epoch(
    sizes: tuple[int, int, int], batch: int, data: st.DataObject
) -> None:
    whole = windows(*sizes).visited(3, 0, sizes[0])
    first = data.draw(st.integers(0, sizes[0] - 1))
    last = min(first + batch, sizes[0])
    assert windows(*sizes).visited(3, first, last).tolist() == whole[first:last].tolist()


def test_seed_and_epoch_decide_the_order() -> None:
    drawn = [
        windows(100, 8, 3, seed=seed).visited(epoch, 0, 100).tolist()
        for seed, epoch in [(7, 0), (7, 0), (7, 1), (8, 0)]
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_a_window_mixes_the_rows_of_its_blocks_and_no_others() -> None:
    order = windows(96, 8, 3)
    for window in range(4):
        rows = order.visited(0, 24 * window, 24 * window + 24)
        assert set(rows // 8) == set(order.blocks(0, window))
        assert len(set(rows[:8] // 8)) > 1


@few
@given(SIZES, st.floats(0, 0.99))
def test_every_row_stands_on_one_side(sizes: tuple[int, int, int], fraction: float) -> None:
    rows, block_rows, _ = sizes
    split = Split(Blocking(rows, block_rows), fraction, 7, remembered=2)
    sides = [side.take(np.arange(len(side))) for side in (split.training, split.validation)]
    assert sorted(np.concatenate(sides)) == list(range(rows))
    assert len(sides[1]) == round(rows * fraction)


def test_every_block_holds_out_its_share() -> None:
    held_out = Split(Blocking(1_000, 100), 0.25, 7, remembered=2).validation
    assert [held_out.span(number)[1] for number in range(4)] == [25, 50, 75, 100]
    blocks = held_out.take(np.arange(250)).reshape(10, 25) % 100
    assert len({tuple(block) for block in blocks}) == 10


def test_a_position_that_is_not_there_is_an_error() -> None:
    rows = Split(Blocking(10, 4), 0, 7, remembered=2).training
    for position in (10, -1):
        with pytest.raises(IndexError, match="there are 10 rows"):
            rows.take(np.array([position]))


def test_blocks_are_wanted_before_they_are_needed() -> None:
    told: list[list[int]] = []
    split = Split(Blocking(48, 8), 0, 7, remembered=2)
    order = Windows(split.training, 2, 7, lambda numbers: told.append(list(numbers)))

    order.visited(0, 0, 10)
    order.visited(0, 5, 15)
    assert told == [[*order.blocks(0, 0), *order.blocks(0, 1)]]

    order.visited(0, 10, 20)
    assert told[-1] == [*order.blocks(0, 0), *order.blocks(0, 1)]

    order.visited(0, 40, 48)
    assert told[-1] == [*order.blocks(0, 2), *order.blocks(1, 0)]
