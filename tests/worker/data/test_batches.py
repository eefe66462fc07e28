"""Who computes which rows: every row once, in order, for any batch and any count of shards."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.data.batches import (
    Batch,
    block_bounds,
    default_shards,
    most_rows,
    place,
    shard_bounds,
    steps_per_epoch,
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(0, 3_000), st.integers(1, 1_024))
def test_shards_are_consecutive_and_even(rows: int, shards: int) -> None:
    bounds = shard_bounds(rows, shards)
    lengths = [end - begin for begin, end in bounds]
    assert list(chain(*(range(*bound) for bound in bounds))) == list(range(rows))
    assert len(bounds) == shards
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("batch_size", "shards"),
    [(1, 1), (63, 1), (64, 2), (255, 4), (256, 8), (511, 8), (512, 16), (9_999, 16)],
)
def test_every_shard_is_left_32_rows_by_default(batch_size: int, shards: int) -> None:
    assert default_shards(batch_size) == shards


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 3))
def test_every_epoch_sees_every_row_once(rows: int, batch_size: int, epochs: int) -> None:
    steps = range(epochs * steps_per_epoch(rows, batch_size))
    batches = [place(step, rows, batch_size) for step in steps]
    seen = [(batch.epoch, row) for batch in batches for row in range(batch.first, batch.last)]
    assert seen == [(epoch, row) for epoch in range(epochs) for row in range(rows)]


def test_the_last_batch_of_an_epoch_is_kept_small() -> None:
    assert place(3, 25, 10) == Batch(epoch=1, first=0, last=10)
    assert place(2, 25, 10) == Batch(epoch=0, first=20, last=25)


@pytest.mark.parametrize(
    ("rows", "bounds"), [(0, ()), (1, ((0, 1),)), (256, ((0, 256),)), (300, ((0, 256), (256, 300)))]
)
def test_evaluation_goes_in_blocks_of_256(rows: int, bounds: tuple[tuple[int, int], ...]) -> None:
    assert block_bounds(rows) == bounds


def test_a_worker_needs_room_for_its_largest_shard_or_block() -> None:
    assert most_rows(100, 3, 0) == 34
    assert most_rows(100, 3, 40) == 40
    assert most_rows(100, 3, 1000) == 256
