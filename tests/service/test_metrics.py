"""What Prometheus is told."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gradloom.service.jobs.job import Checkpoint, DiagnosisCode, Job, Metric, Progress
from gradloom.service.jobs.states import Reason, State
from gradloom.service.metrics import MOST_LAYERS, Metrics, furthest_out
from gradloom.service.series import PHASES
from gradloom.worker.engine.health import Health, LayerHealth, ParameterHealth

NewJob = Callable[..., Job]
PROMTOOL = shutil.which("promtool")


@dataclass(frozen=True)
class Step:
    """A committed step, all phases of which took a quarter of a second."""

    step: int
    loss: float = 0.5
    learning_rate: float = 0.1
    gradient_norm: float = 2.0

    @property
    def seconds(self) -> Mapping[str, float]:
        return dict.fromkeys(PHASES, 0.25)


class Told:
    """Metrics, a clock that stands still, and what a scrape of them says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.jobs = {State.QUEUED: 2}
        self.metrics = Metrics(
            now=lambda: self.now, count_jobs=lambda: self.jobs, build={"version": "1.2.3"}
        )

    def text(self) -> str:
        return self.metrics.render("")[1].decode()

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a series; None where there is no such series."""
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def job(told: Told, new_job: NewJob) -> Job:
    """A job that trains."""
    job = replace(new_job("a"), create_time=told.now - timedelta(seconds=3), state=State.RUNNING)
    told.metrics.job_started(job)
    return job


def at(step: int, samples: int) -> Progress:
    return Progress(step, 90, 2, 3, samples, 1000.0, 0.5, 0.1, 2.0)


def ended(job: Job) -> Job:
    return replace(job, state=State.SUCCEEDED)


def test_a_job_begins_with_every_series_at_0(told: Told, job: Job) -> None:
    assert told.value("gradloom_job_steps_total", job_id="a") == 0
    assert told.value("gradloom_job_samples_total", job_id="a") == 0
    for phase in PHASES:
        assert told.value("gradloom_job_phase_seconds_total", job_id="a", phase=phase) == 0
    for cause in ("killed", "error", "refused", "start_failed"):
        assert told.value("gradloom_job_worker_losses_total", job_id="a", cause=cause) == 0


def test_a_committed_step_is_counted_and_shown(told: Told, job: Job) -> None:
    told.metrics.step_committed(job, Step(1))
    told.metrics.step_committed(job, Step(2, loss=0.25))
    assert told.value("gradloom_job_steps_total", job_id="a") == 2
    assert told.value("gradloom_job_loss", job_id="a", split="train") == 0.25
    assert told.value("gradloom_job_learning_rate", job_id="a") == 0.1
    assert told.value("gradloom_job_gradient_norm", job_id="a") == 2.0
    now = told.now.timestamp()
    assert told.value("gradloom_job_last_step_timestamp_seconds", job_id="a") == now
    assert told.value("gradloom_job_phase_seconds_total", job_id="a", phase="forward") == 0.5
    assert told.value("gradloom_step_seconds_count", phase="forward") == 2


def test_a_repeated_step_is_not_counted_again(told: Told, job: Job) -> None:
    for step in (1, 2, 3, 2, 3, 4):
        told.metrics.step_committed(job, Step(step))
    assert told.value("gradloom_job_steps_total", job_id="a") == 4


def test_a_resumed_job_counts_from_where_it_was(told: Told, new_job: NewJob) -> None:
    job = replace(new_job("b"), progress=at(40, 2560))
    told.metrics.job_started(job)
    for step in (39, 40, 41):
        told.metrics.step_committed(job, Step(step))
    told.metrics.progressed(job, at(41, 2624))
    assert told.value("gradloom_job_steps_total", job_id="b") == 1
    assert told.value("gradloom_job_samples_total", job_id="b") == 64


def test_progress_shows_samples_epoch_and_ratio(told: Told, job: Job) -> None:
    told.metrics.progressed(job, at(45, 2880))
    assert told.value("gradloom_job_samples_total", job_id="a") == 2880
    assert told.value("gradloom_job_epoch", job_id="a") == 2
    assert told.value("gradloom_job_progress_ratio", job_id="a") == 0.5


def test_the_wait_for_the_first_step_is_measured_once(told: Told, job: Job) -> None:
    for step in (1, 2, 1):
        told.metrics.step_committed(job, Step(step))
    assert told.value("gradloom_submit_to_first_step_seconds_count", start="cold") == 1
    assert told.value("gradloom_submit_to_first_step_seconds_sum", start="cold") == 3.0


def test_metrics_and_losses_are_shown_by_split(told: Told, job: Job) -> None:
    measured = (Metric("accuracy", "validation", 0.97, 30, 1), Metric("loss", "test", 0.1, 30, 1))
    told.metrics.measured(job, measured)
    accuracy = told.value("gradloom_job_metric", job_id="a", split="validation", metric="accuracy")
    assert accuracy == 0.97
    assert told.value("gradloom_job_loss", job_id="a", split="test") == 0.1


def test_a_job_is_in_one_state(told: Told, job: Job) -> None:
    told.metrics.state(replace(job, state=State.RECOVERING))
    states = {state: told.value("gradloom_job_state", job_id="a", state=state) for state in State}
    assert [state for state, value in states.items() if value] == [State.RECOVERING]


def test_workers_and_their_losses_are_shown(told: Told, job: Job) -> None:
    told.metrics.workers(job, 2, 3)
    told.metrics.worker_lost(job, Reason.WORKER_LOST)
    told.metrics.worker_lost(job, Reason.NON_FINITE)
    assert told.value("gradloom_job_workers", job_id="a", kind="current") == 2
    assert told.value("gradloom_job_workers", job_id="a", kind="desired") == 3
    assert told.value("gradloom_job_worker_losses_total", job_id="a", cause="killed") == 1


def test_checkpoints_are_shown(told: Told, job: Job) -> None:
    told.metrics.checkpoint_written(job, Checkpoint(30, 1000, "ab"), 0.02)
    told.metrics.checkpoint_failed("io")
    assert told.value("gradloom_job_checkpoint_size_bytes", job_id="a") == 1000
    assert told.value("gradloom_checkpoint_seconds_count") == 1
    assert told.value("gradloom_checkpoint_failures_total", cause="io") == 1
    assert told.value("gradloom_checkpoint_failures_total", cause="disk_full") == 0


def test_jobs_are_counted_when_asked(told: Told) -> None:
    assert told.value("gradloom_jobs", state="QUEUED") == 2
    told.jobs[State.QUEUED] = 1
    assert told.value("gradloom_jobs", state="QUEUED") == 1
    assert told.value("gradloom_jobs", state="FAILED") == 0


def test_the_queue_is_shown_by_reason(told: Told) -> None:
    told.metrics.queue({Reason.WAITING_FOR_CAPACITY: 3})
    assert told.value("gradloom_queue_jobs", reason="WAITING_FOR_CAPACITY") == 3
    told.metrics.queue({})
    assert told.value("gradloom_queue_jobs", reason="WAITING_FOR_CAPACITY") == 0


def test_an_ended_job_is_shown_to_two_scrapes_and_then_gone(told: Told, job: Job) -> None:
    told.metrics.state(ended(job))
    told.now += timedelta(minutes=4)
    assert told.value("gradloom_job_state", job_id="a", state="SUCCEEDED") == 1
    told.now += timedelta(minutes=2)
    assert 'job_id="a"' not in told.text()


def test_a_forgotten_job_leaves_others_alone(told: Told, job: Job, new_job: NewJob) -> None:
    told.metrics.job_started(new_job("b"))
    told.metrics.forget(job.id)
    assert 'job_id="a"' not in told.text()
    assert told.value("gradloom_job_steps_total", job_id="b") == 0


def test_no_series_says_when_it_was_created(told: Told, job: Job) -> None:
    told.metrics.step_committed(job, Step(1))
    assert "_created" not in told.text()


def test_methods_begin_at_0(told: Told) -> None:
    told.metrics.serves(["s/Get"])
    assert told.value("gradloom_rpcs_started_total", method="s/Get") == 0
    assert told.value("gradloom_rpcs_total", method="s/Get", code="INTERNAL") == 0


def test_the_build_is_shown(told: Told) -> None:
    assert told.value("gradloom_build_info", version="1.2.3") == 1


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on the path")
def test_promtool_finds_nothing_wrong(told: Told, job: Job) -> None:
    told.metrics.step_committed(job, Step(1))
    told.metrics.serves(["s/Get"])
    assert PROMTOOL is not None
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=told.text(), text=True, capture_output=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def layer(place: int, gradient: float, *, dead: float | None = None) -> LayerHealth:
    """A layer of ten units with one parameter, which moves by a hundredth of its gradient."""
    weights = ParameterHealth(f"layers.{place}.weight", 4, 2.0, gradient, gradient / 100)
    return LayerHealth(f"model.layers[{place}]", "any", 20, 10, 0, 1, 0, dead, None, 0, (weights,))


def test_the_layers_furthest_out_have_series_and_old_ones_go(told: Told, new_job: NewJob) -> None:
    job = new_job()
    told.metrics.job_started(job)
    sound = [layer(place, 1.0 + place / 100) for place in range(12)]
    told.metrics.looked(job, Health((*sound, layer(12, 1e-9, dead=0.75), layer(13, 1e6))))
    series = told.text().count("gradloom_job_layer_gradient_norm{")
    assert series == MOST_LAYERS
    place = {"job_id": job.id, "layer": "model.layers[12]"}
    assert told.value("gradloom_job_layer_gradient_norm", **place) == 1e-9
    assert told.value("gradloom_job_layer_update_ratio", **place) == pytest.approx(5e-12)
    assert told.value("gradloom_job_layer_dead_units_ratio", **place) == 0.75

    told.metrics.looked(job, Health((layer(0, 1.0),)))
    assert told.value("gradloom_job_layer_gradient_norm", **place) is None
    assert told.text().count("gradloom_job_layer_gradient_norm{") == 1


def test_what_is_not_finite_is_furthest_out() -> None:
    values = {**{str(place): 1.0 for place in range(20)}, "small": 0.5, "nan": float("nan")}
    assert furthest_out(values)[:2] == ["nan", "small"]


def test_diagnoses_are_counted_from_0(told: Told, new_job: NewJob) -> None:
    job = new_job()
    told.metrics.job_started(job)
    series = {"job_id": job.id, "diagnosis": "VANISHING"}
    assert told.value("gradloom_job_diagnoses_total", **series) == 0
    told.metrics.diagnosed(job, DiagnosisCode.VANISHING)
    assert told.value("gradloom_job_diagnoses_total", **series) == 1
