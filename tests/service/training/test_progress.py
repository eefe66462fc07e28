"""Samples of progress: soon at the start, not too many in the long run, honest rates."""

import pytest

from gradloom.service.jobs.job import Plan
from gradloom.service.training.progress import ProgressLog, StepReport, samples_until

PLAN = Plan((), 10, 1, 1000, 4, 250, 100, 20, 0, 0)
BATCH = 30


@pytest.fixture
def log() -> ProgressLog:
    return ProgressLog(PLAN, BATCH, 0, now=0.0)


def committed(step: int) -> StepReport:
    return StepReport(step, 0.5, 0.1, 1.0, {}, {})


@pytest.mark.parametrize(("step", "samples"), [(0, 0), (3, 90), (4, 100), (5, 130), (8, 200)])
def test_the_last_batch_of_an_epoch_is_smaller(step: int, samples: int) -> None:
    assert samples_until(PLAN, BATCH, step) == samples


def test_nothing_is_due_before_the_first_step(log: ProgressLog) -> None:
    assert not log.is_due(100.0)


def test_the_first_step_is_told_at_once(log: ProgressLog) -> None:
    log.committed(committed(1))
    assert log.is_due(0.001)


def test_later_steps_are_told_twice_a_second(log: ProgressLog) -> None:
    log.committed(committed(1))
    log.sample(0.1, 1, 0)
    log.committed(committed(2))
    assert (log.is_due(0.5), log.is_due(0.7)) == (False, True)


def test_in_a_long_job_samples_grow_rare(log: ProgressLog) -> None:
    log.committed(committed(1))
    log.sample(10_000.0, 1, 0)
    log.committed(committed(2))
    assert (log.is_due(10_005.0), log.is_due(10_011.0)) == (False, True)


def test_new_metrics_are_told_at_once_and_once(log: ProgressLog) -> None:
    log.committed(committed(4))
    log.sample(1.0, 1, 0)
    log.measured("validation", 4, {"accuracy": 0.9})
    assert log.is_due(1.001)
    (metric,) = log.sample(1.001, 1, 0).metrics
    assert (metric.split, metric.name, metric.value, metric.epoch) == (
        "validation",
        "accuracy",
        0.9,
        1,
    )
    assert not log.is_due(2.0)


def test_the_rate_is_that_since_the_sample_before(log: ProgressLog) -> None:
    log.committed(committed(2))
    assert log.sample(2.0, 1, 0).samples_per_second == 30.0
    log.committed(committed(4))
    assert log.sample(2.5, 1, 0).samples_per_second == 80.0


def test_a_sample_without_new_steps_keeps_the_rate(log: ProgressLog) -> None:
    log.committed(committed(2))
    log.sample(2.0, 1, 0)
    log.measured("test", 2, {"accuracy": 0.9})
    assert log.sample(9.0, 1, 0).samples_per_second == 30.0


def test_the_last_step_belongs_to_the_last_epoch(log: ProgressLog) -> None:
    log.committed(committed(PLAN.steps))
    sample = log.sample(1.0, 1, 0)
    assert (sample.epoch, sample.epochs) == (250, 250)
