import math

import pytest

from gradloom.worker.engine.schedules import learning_rate
from gradloom.worker.engine.spec import ConstantSchedule, CosineSchedule, Schedule, StepSchedule


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [learning_rate(schedule, 0.1, step, steps) for step in range(steps)]


def test_a_constant_rate_stays() -> None:
    assert rates(ConstantSchedule(), 4) == [0.1] * 4


def test_warm_up_rises_linearly_to_the_full_rate() -> None:
    assert rates(ConstantSchedule(warmup_steps=4), 6) == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    )


def test_a_step_schedule_falls_after_so_many_steps_from_the_end_of_the_warm_up() -> None:
    schedule = StepSchedule(every_steps=2, factor=0.5, warmup_steps=1)
    assert rates(schedule, 6) == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025])


def test_a_cosine_begins_at_the_full_rate_and_ends_at_the_final_ratio() -> None:
    first, *_, last = rates(CosineSchedule(final_ratio=0.2), 11)
    assert (first, last) == pytest.approx((0.1, 0.02))


def test_a_cosine_follows_half_a_cosine_after_the_warm_up() -> None:
    schedule = CosineSchedule(warmup_steps=2)
    expected = [0.1 * (1 + math.cos(math.pi * step / 9)) / 2 for step in range(10)]
    assert rates(schedule, 12)[2:] == pytest.approx(expected)


def test_a_cosine_of_a_single_step_is_the_full_rate() -> None:
    assert rates(CosineSchedule(), 1) == [0.1]
