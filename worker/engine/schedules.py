"""The learning rate of every step, in float64, from + − × ÷ alone."""

from collections.abc import Callable
from typing import Any

from gradloom.worker.engine.arithmetic import cosine, power
from gradloom.worker.engine.spec import ConstantSchedule, CosineSchedule, Schedule, StepSchedule


def learning_rate(schedule: Schedule, base: float, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, in a training of so many steps."""
    warmup = schedule.warmup_steps
    if step < warmup:
        return base * (step + 1) / warmup
    return base * _RATIOS[type(schedule)](schedule, step - warmup, steps - warmup)


def _constant(_schedule: ConstantSchedule, _step: int, _steps: int) -> float:
    return 1.0


def _step(schedule: StepSchedule, step: int, _steps: int) -> float:
    return power(schedule.factor, step // schedule.every_steps)


def _cosine(schedule: CosineSchedule, step: int, steps: int) -> float:
    progress = step / (steps - 1) if steps > 1 else 0.0
    final = schedule.final_ratio
    return final + (1.0 - final) * 0.5 * (1.0 + cosine(progress))


# Share of the full rate, by the steps since the warm-up and the steps in all after it.
# Any: each function takes its own schedule.
_RATIOS: dict[type[Schedule], Callable[[Any, int, int], float]] = {
    ConstantSchedule: _constant,
    StepSchedule: _step,
    CosineSchedule: _cosine,
}
