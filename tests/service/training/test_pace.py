"""Rounds of about half a second, and patience by the steps of late."""

import pytest

from gradloom.service.training.pace import MOST_STEPS, Pace, Sample, evened, is_out_of_date, median


def paced(*steps: float) -> Pace:
    pace = Pace()
    for step in steps:
        pace = pace.after(Sample(step, step), is_first=False)
    return pace


def test_the_first_round_is_one_step_and_has_all_the_time() -> None:
    assert (Pace().steps, Pace().longest_step) == (1, None)


@pytest.mark.parametrize(("step", "steps"), [(0.01, 50), (0.2, 2), (3.0, 1), (0.0, MOST_STEPS)])
def test_a_round_takes_about_half_a_second(step: float, steps: int) -> None:
    assert paced(step).steps == steps


def test_one_slow_round_does_not_make_the_next_ones_short() -> None:
    assert paced(0.01, 0.01, 5.0, 0.01).steps == 50


def test_the_longest_step_of_late_counts_for_patience() -> None:
    assert paced(0.01, 4.0, 0.01).patience == pytest.approx(14.0)


def test_slow_steps_are_forgotten() -> None:
    assert paced(9.0, *[0.01] * 20).longest_step == 0.01


def test_a_first_step_counts_only_while_nothing_else_is_known() -> None:
    first = Pace().after(Sample(9.0, 9.0), is_first=True)
    assert first.step_seconds == 9.0
    assert first.after(Sample(0.1, 0.1), is_first=False).longest_step == 0.1


@pytest.mark.parametrize(
    ("left", "usual", "steps"), [(23, 22, 23), (46, 22, 23), (10, 22, 10), (7, 2, 2), (1, 1, 1)]
)
def test_rounds_up_to_a_halt_are_alike(left: int, usual: int, steps: int) -> None:
    assert evened(left, usual) == steps


@pytest.mark.parametrize(
    ("given", "wanted", "is_so"), [(60, 3.5, True), (3.5, 3.0, False), (3.0, 9.0, True)]
)
def test_patience_is_renewed_where_it_is_far_from_what_is_wanted(
    given: float, wanted: float, is_so: bool
) -> None:
    assert is_out_of_date(given, wanted) is is_so


def test_of_two_middle_values_the_lower_counts() -> None:
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.0
