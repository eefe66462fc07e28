import math

import pytest

from gradloom.worker.engine.schedules import Plateau, learning_rate
from gradloom.worker.engine.spec import (
    SCHEDULES,
    ConstantSchedule,
    CosineRestartsSchedule,
    CosineSchedule,
    ExponentialSchedule,
    OneCycleSchedule,
    ReduceOnPlateauSchedule,
    Schedule,
    StepSchedule,
)

EVERY: tuple[Schedule, ...] = (
    ConstantSchedule(warmup_steps=4),
    StepSchedule(2, warmup_steps=4),
    CosineSchedule(warmup_steps=4),
    ExponentialSchedule(0.5, warmup_steps=4),
    OneCycleSchedule(start_ratio=1.0, warmup_steps=4),
    CosineRestartsSchedule(3, warmup_steps=4),
    ReduceOnPlateauSchedule(warmup_steps=4),
)


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [learning_rate(schedule, 0.1, step, steps) for step in range(steps)]


def test_a_constant_rate_stays() -> None:
    assert rates(ConstantSchedule(), 4) == [0.1] * 4


def test_warm_up_rises_linearly_to_the_full_rate() -> None:
    assert rates(ConstantSchedule(warmup_steps=4), 6) == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    )


def test_every_schedule_is_checked() -> None:
    assert set(map(type, EVERY)) == set(SCHEDULES.values())


@pytest.mark.parametrize("schedule", EVERY, ids=str)
def test_warm_up_comes_before_any_schedule(schedule: Schedule) -> None:
    assert rates(schedule, 20)[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


@pytest.mark.parametrize("schedule", EVERY, ids=str)
@pytest.mark.parametrize("steps", [5, 6, 7])
def test_the_shortest_trainings_have_rates(schedule: Schedule, steps: int) -> None:
    assert all(0 <= rate <= 0.1 for rate in rates(schedule, steps))


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


def test_an_exponential_falls_by_its_factor_at_every_step() -> None:
    expected = [0.1 * 0.9**step for step in range(50)]
    assert rates(ExponentialSchedule(0.9), 50) == pytest.approx(expected, rel=1e-12)


def test_an_exponential_falls_by_its_factor_over_so_many_steps() -> None:
    expected = [0.1 * 0.3 ** (step / 7) for step in range(50)]
    assert rates(ExponentialSchedule(0.3, every_steps=7), 50) == pytest.approx(expected, rel=1e-12)


def test_one_cycle_begins_low_reaches_the_rate_and_ends_lower() -> None:
    schedule = OneCycleSchedule(start_ratio=0.1, final_ratio=0.01, rise=0.5)
    found = rates(schedule, 20)
    assert (found[0], found[9], found[-1]) == pytest.approx((0.01, 0.1, 0.001))
    assert max(found) == found[9]


def test_one_cycle_goes_up_and_down_by_half_cosines() -> None:
    schedule = OneCycleSchedule(start_ratio=0.1, final_ratio=0.01, rise=0.5)
    up = [0.1 - 0.09 * (1 + math.cos(math.pi * step / 9)) / 2 for step in range(10)]
    down = [0.001 + 0.099 * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(1, 11)]
    assert rates(schedule, 20) == pytest.approx([*up, *down])


def test_one_cycle_without_a_rise_begins_at_the_rate() -> None:
    assert rates(OneCycleSchedule(rise=0.0), 9)[0] == 0.1


def test_a_cosine_restarts_at_the_full_rate_after_every_period() -> None:
    period = [0.02 + 0.08 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates(CosineRestartsSchedule(4, final_ratio=0.2), 12) == pytest.approx(period * 3)


def test_each_period_is_so_many_times_longer_than_the_one_before() -> None:
    found = rates(CosineRestartsSchedule(2, multiplier=3), 26)
    assert [step for step, rate in enumerate(found) if rate == 0.1] == [0, 2, 8]


def plateaus(schedule: ReduceOnPlateauSchedule, losses: list[float]) -> list[Plateau]:
    plateau, found = Plateau(), []
    for loss in losses:
        plateau = plateau.after(schedule, loss)
        found.append(plateau)
    return found


def test_a_plateau_is_waited_for_and_then_lowers_the_rate() -> None:
    schedule = ReduceOnPlateauSchedule(factor=0.5, patience=2, threshold=0.0)
    losses = [1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.9, 0.9, 0.8]
    found = plateaus(schedule, losses)
    assert [plateau.reductions for plateau in found] == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert found[-1] == Plateau(0.8, 0, 2)


def test_a_little_better_is_not_better() -> None:
    schedule = ReduceOnPlateauSchedule(patience=0, threshold=0.1)
    assert [p.best for p in plateaus(schedule, [1.0, 0.91, 0.89])] == [1.0, 1.0, 0.89]


def test_a_validation_loss_that_is_no_number_is_no_better() -> None:
    schedule = ReduceOnPlateauSchedule(patience=0)
    assert plateaus(schedule, [math.nan, math.inf])[-1] == Plateau(reductions=2)


def test_each_reduction_multiplies_the_rate_down_to_the_least() -> None:
    schedule = ReduceOnPlateauSchedule(factor=0.5, min_ratio=0.2)
    found = [learning_rate(schedule, 0.1, 0, 10, reductions=times) for times in range(5)]
    assert found == pytest.approx([0.1, 0.05, 0.025, 0.02, 0.02])


def test_warm_up_rises_to_the_reduced_rate() -> None:
    schedule = ReduceOnPlateauSchedule(factor=0.5, warmup_steps=4)
    found = [learning_rate(schedule, 0.1, step, 10, reductions=1) for step in range(6)]
    assert found == pytest.approx([0.0125, 0.025, 0.0375, 0.05, 0.05, 0.05])
