"""Medians of rounds, and ratios of those that were paired."""

import pytest

from benchmarks.figures import Burst, backward_over_forward, better, ratio, step_seconds


def burst(*seconds: float) -> Burst:
    return Burst(seconds, tuple(s / 3 for s in seconds), tuple(s / 2 for s in seconds))


def test_a_case_takes_the_median_of_its_rounds():
    assert step_seconds([burst(1, 2, 9), burst(4), burst(1, 1, 8)]) == 2


def test_the_ratio_is_that_of_the_medians():
    ours, theirs = [burst(1), burst(2), burst(4)], [burst(3), burst(3), burst(8)]
    assert ratio(ours, theirs).value == 1.5


def test_the_spread_is_that_of_paired_rounds():
    slow = [burst(1), burst(10), burst(100), burst(1000), burst(10000)]
    found = ratio(slow, [burst(2 * b.step) for b in slow])
    assert (found.low, found.value, found.high) == (2, 2, 2)


def test_quartiles_are_of_the_rounds():
    ours = [burst(1)] * 5
    found = ratio(ours, [burst(n) for n in (1, 2, 3, 4, 5)])
    assert (found.low, found.value, found.high) == (2, 3, 4)


def test_a_single_round_has_no_spread():
    found = ratio([burst(2)], [burst(3)])
    assert (found.low, found.value, found.high) == (1.5, 1.5, 1.5)


def test_the_better_one_is_the_faster_one():
    assert better({"eager": [burst(3)], "compile": [burst(2)]}) == "compile"
    assert better({}) is None


def test_backward_over_forward_is_of_medians():
    assert backward_over_forward([burst(1, 2), burst(3)]) == pytest.approx(1.5)
