"""The learning rate of every step, in float64, from + − × ÷ √ alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gradloom.worker.engine.arithmetic import cosine, power, root_power
from gradloom.worker.engine.spec import (
    ConstantSchedule,
    CosineRestartsSchedule,
    CosineSchedule,
    ExponentialSchedule,
    OneCycleSchedule,
    ReduceOnPlateauSchedule,
    Schedule,
    StepSchedule,
)


@dataclass(frozen=True, slots=True)
class Plateau:
    """How the validation loss went: the best, measurements since without a better, reductions."""

    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def after(self, schedule: ReduceOnPlateauSchedule, loss: float) -> "Plateau":
        """With one more measurement; a loss that is not a number is no better."""
        if loss < self.best * (1 - schedule.threshold):
            return Plateau(loss, 0, self.reductions)
        if self.waited < schedule.patience:
            return replace(self, waited=self.waited + 1)
        return replace(self, waited=0, reductions=self.reductions + 1)


def learning_rate(
    schedule: Schedule, base: float, step: int, steps: int, reductions: int = 0
) -> float:
    """The rate of a step, counted from 0, in a training of so many steps.

    reductions are those of a plateau; other schedules have none.
    """
    warmup = schedule.warmup_steps
    if isinstance(schedule, ReduceOnPlateauSchedule):
        base *= max(power(schedule.factor, reductions), schedule.min_ratio)
    if step < warmup:
        return base * (step + 1) / warmup
    return base * _RATIOS[type(schedule)](schedule, step - warmup, steps - warmup)


def _constant(
    _schedule: ConstantSchedule | ReduceOnPlateauSchedule, _step: int, _steps: int
) -> float:
    return 1.0


def _step(schedule: StepSchedule, step: int, _steps: int) -> float:
    return power(schedule.factor, step // schedule.every_steps)


def _cosine(schedule: CosineSchedule, step: int, steps: int) -> float:
    progress = step / (steps - 1) if steps > 1 else 0.0
    return _half_cosine(1.0, schedule.final_ratio, progress)


def _exponential(schedule: ExponentialSchedule, step: int, _steps: int) -> float:
    whole, rest = divmod(step, schedule.every_steps)
    return power(schedule.factor, whole) * root_power(schedule.factor, rest / schedule.every_steps)


def _one_cycle(schedule: OneCycleSchedule, step: int, steps: int) -> float:
    """The first rise × steps steps go up; the top is the last of them, or the first of all."""
    top = max(schedule.rise * steps - 1.0, 0.0)
    if step < top:
        return _half_cosine(schedule.start_ratio, 1.0, step / top)
    down = steps - 1.0 - top
    return _half_cosine(1.0, schedule.final_ratio, (step - top) / down if down > 0 else 0.0)


def _cosine_restarts(schedule: CosineRestartsSchedule, step: int, _steps: int) -> float:
    period = schedule.period_steps
    if schedule.multiplier == 1:
        step %= period
    while step >= period:
        step, period = step - period, period * schedule.multiplier
    return _half_cosine(1.0, schedule.final_ratio, step / period)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + cosine(progress))


# Share of the full rate, by the steps since the warm-up and the steps in all after it.
# Any: each function takes its own schedule.
_RATIOS: dict[type[Schedule], Callable[[Any, int, int], float]] = {
    ConstantSchedule: _constant,
    StepSchedule: _step,
    CosineSchedule: _cosine,
    ExponentialSchedule: _exponential,
    OneCycleSchedule: _one_cycle,
    CosineRestartsSchedule: _cosine_restarts,
    ReduceOnPlateauSchedule: _constant,
}
