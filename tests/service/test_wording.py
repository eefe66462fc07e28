"""Numbers and times as people read them."""

from datetime import timedelta

import pytest

from gradloom.service import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0811, "0.081"), (0.0, "0.000"), (0.00004, "4.00e-05"), (-2e6, "-2.00e+06")],
)
def test_a_small_or_large_measure_becomes_a_power_of_ten(value: float, text: str) -> None:
    assert wording.measure(value) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (7_300, "2h"), (200_000, "2d"), (-5, "0s")],
)
def test_a_span_is_told_in_its_largest_unit(span: float, text: str) -> None:
    assert wording.span(timedelta(seconds=span)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.31, "0.3 s"), (9.8, "9.8 s"), (42.4, "42 s"), (125, "2m")]
)
def test_seconds_lose_decimals_as_they_grow(value: float, text: str) -> None:
    assert wording.seconds(value) == text


def test_one_is_singular() -> None:
    assert [wording.plural(number, "worker") for number in (0, 1, 2)] == [
        "0 workers",
        "1 worker",
        "2 workers",
    ]


def test_a_share_of_nothing_is_a_dash() -> None:
    assert wording.percent(0, 0) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 B"), (3_200_000, "3.2 MB"), (41_000_000_000, "41 GB")]
)
def test_bytes_are_told_in_the_unit_that_suits(value: int, text: str) -> None:
    assert wording.size(value) == text


def test_a_countdown_has_two_digits_of_seconds() -> None:
    assert wording.countdown(64.9) == "1:04"
