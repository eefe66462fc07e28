"""The closing summary of a run."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gradloom.service.cli.summary import Recorder, Summary
from gradloom.service.jobs.job import Job, Metric
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import ProgressEvent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def progress(step: int, *, seconds: float) -> ProgressEvent:
    return ProgressEvent(
        step=step,
        steps=10,
        epoch=1,
        epochs=1,
        samples=100 * step,
        samples_per_second=1.0,
        loss=0.5,
        learning_rate=0.1,
        gradient_norm=1.0,
        revision=step + 2,
        time=NOON + timedelta(seconds=seconds),
    )


@pytest.fixture
def recorder(new_job: Callable[..., Job]) -> Recorder:
    """Saw a job that ran for two seconds; its clock moves half a second at each look."""
    ticks = iter(range(100))
    seen = Recorder(lambda: next(ticks) / 2)
    running = replace(new_job(), state=State.RUNNING, revision=2, update_time=NOON)
    for event in (running, progress(1, seconds=1), progress(10, seconds=2)):
        seen.show(event)
    return seen


@pytest.fixture
def summary(new_job: Callable[..., Job], recorder: Recorder) -> Summary:
    job = replace(
        new_job(),
        state=State.SUCCEEDED,
        progress=recorder.progress[-1],
        measured=(Metric("accuracy", "validation", 0.975, 10, 1),),
    )
    return Summary(job, "ray", Path("out/model"), Path("out/progress"), 0.3, 9.81, 500.0)


def test_the_first_step_is_timed_from_the_start(recorder: Recorder) -> None:
    assert (recorder.first_step_seconds, recorder.total_seconds) == (1.0, 1.5)


def test_speed_is_rows_over_the_time_of_training(recorder: Recorder) -> None:
    assert recorder.samples_per_second == 1000 / 2


def test_speed_of_a_job_that_never_ran_is_zero() -> None:
    assert Recorder().samples_per_second == 0.0


def test_the_revision_is_that_of_the_newest_event(recorder: Recorder) -> None:
    assert recorder.revision == 12


def test_people_see_outcome_metrics_and_places(summary: Summary) -> None:
    lines = summary.text.splitlines()
    assert lines[0] == "✔ SUCCEEDED in 9.8 s"
    assert any(line.split() == ["validation", "accuracy", "0.975"] for line in lines)
    assert any(line.split() == ["workers", "1", "(ray)"] for line in lines)


def test_programs_see_at_least_what_was_promised(summary: Summary) -> None:
    promised = "job state steps epochs loss metrics weights_sha256 samples_per_second seconds"
    assert {*promised.split(), "workers", "backend", "model_path"} <= set(summary.document)
    assert summary.document["seconds"] == {"submit_to_first_step": 0.3, "total": 9.81}


def test_a_failure_says_why(summary: Summary) -> None:
    job = replace(summary.job, state=State.FAILED, reason=Reason.NON_FINITE, message="loss is NaN")
    assert replace(summary, job=job).text.startswith("✗ FAILED in 9.8 s: loss is NaN")
