"""B064 and the order of rows as a pure function of seed and epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.data.split import order, split, split_faults


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 500), st.floats(0, 0.99), st.integers(0, 2**64 - 1))
def test_every_row_stands_on_exactly_one_side(rows: int, fraction: float, seed: int) -> None:
    training, validation = split(rows, fraction, seed)
    assert sorted([*training, *validation]) == list(range(rows))
    assert len(validation) == round(rows * fraction)


def test_the_same_seed_splits_alike_and_another_one_differently() -> None:
    first, again, other = (split(100, 0.2, seed)[1].tolist() for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_both_sides_rise() -> None:
    for side in split(100, 0.2, 7):
        assert (np.diff(side) > 0).all()


def test_an_epoch_visits_every_row_once() -> None:
    assert sorted(order(1_000, 7, 3)) == list(range(1_000))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    orders = [order(100, seed, epoch).tolist() for seed, epoch in [(7, 0), (7, 1), (8, 0), (7, 0)]]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_the_split_and_the_first_epoch_are_drawn_apart() -> None:
    assert sorted(order(100, 7, 0)[:20]) != split(100, 0.2, 7)[1].tolist()


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("rows", [40, None])
def test_b064_what_is_no_share_is_refused(rows: int | None, fraction: float) -> None:
    (fault,) = split_faults(rows, fraction)
    assert fault.field == "data.validation_fraction"
    assert "it is the share held out, from 0 up to but not 1" in fault.description


@pytest.mark.parametrize(
    ("rows", "fraction", "text"),
    [
        (40, 0.001, "0.001 of 40 rows is no row: use at least 0.025."),
        (1, 0.2, "0.2 of 1 row is no row: use at least 1."),
        (4, 0.95, "0.95 of 4 rows leaves none to train on: use less."),
    ],
)
def test_b064_both_sides_need_a_row(rows: int, fraction: float, text: str) -> None:
    assert [fault.description for fault in split_faults(rows, fraction)] == [text]


def test_no_validation_is_no_fault() -> None:
    assert split_faults(1, 0) == []
