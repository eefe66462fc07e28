"""Shards are shared out without gap, evenly or by speed, and anew only where it is worth it."""

import pytest

from gradloom.service.training.shares import (
    Speeds,
    apportion,
    divide,
    finished,
    ranges,
    rearranged,
)


@pytest.mark.parametrize("parts", range(1, 20))
def test_parts_are_divided_without_gap_and_as_even_as_can_be(parts: int) -> None:
    for workers in range(1, parts + 1):
        shares = list(divide(parts, range(workers)).values())
        assert [first for first, _ in shares[1:]] == [last for _, last in shares[:-1]]
        assert (shares[0][0], shares[-1][1]) == (0, parts)
        sizes = {last - first for first, last in shares}
        assert max(sizes) - min(sizes) <= 1


def test_more_workers_than_parts_leave_some_idle() -> None:
    assert divide(2, [4, 5, 6]) == {4: (0, 1), 5: (1, 2)}


def test_alike_workers_get_alike_shares() -> None:
    assert apportion(8, [1.0, 1.0, 1.0]) == [3, 3, 2]


def test_a_worker_of_half_the_speed_gets_half_the_shards() -> None:
    assert apportion(6, [1.0, 2.0]) == [4, 2]


@pytest.mark.parametrize("slowness", [1.0, 3.0, 100.0])
def test_everybody_has_a_shard_and_no_shard_is_left(slowness: float) -> None:
    counts = apportion(16, [1.0, slowness, 1.0])
    assert sum(counts) == 16
    assert min(counts) >= 1


def test_no_other_counts_are_done_sooner() -> None:
    costs = [1.0, 1.7, 0.6]
    best = min(finished((a, b, 12 - a - b), costs) for a in range(1, 11) for b in range(1, 12 - a))
    assert finished(apportion(12, costs), costs) == best


def test_a_small_difference_is_not_worth_a_change() -> None:
    assert rearranged([8, 8], [1.0, 1.05]) == [8, 8]


def test_a_straggler_is_relieved() -> None:
    assert rearranged([8, 8], [1.0, 3.0]) == [12, 4]


def test_ranges_follow_each_other() -> None:
    assert ranges([3, 0, 2]) == [(0, 3), (3, 3), (3, 5)]


def test_a_worker_that_was_hardly_measured_is_taken_for_a_usual_one() -> None:
    speeds = Speeds()
    for _ in range(3):
        speeds = speeds.after(0, 2.0).after(1, 2.0)
    assert speeds.after(2, 9.0).costs([0, 1, 2]) == [2.0, 2.0, 2.0]


def test_one_slow_round_is_no_straggler() -> None:
    speeds = Speeds()
    for seconds in (1.0, 1.0, 50.0, 1.0, 1.0):
        speeds = speeds.after(0, seconds)
    assert speeds.costs([0]) == [1.0]


def test_old_rounds_are_forgotten() -> None:
    speeds = Speeds()
    for seconds in (9.0,) * 9 + (1.0,) * 5:
        speeds = speeds.after(0, seconds)
    assert speeds.costs([0]) == [1.0]
