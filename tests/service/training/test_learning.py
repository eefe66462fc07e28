"""What steers training besides the gradient comes to the same bits on any number of workers.

Averages of weights, accumulated batches, rates that fall on a plateau, and steps that are not
finite: undisturbed, with workers that die, and over a service that is stopped in between.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradloom.service.jobs.job import CheckpointWritten, IncidentHappened, Job, StateChanged
from gradloom.service.jobs.spec import JobSpec, OnNonFinite, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.runner import run
from gradloom.service.training.surroundings import Surroundings, Wishes
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import (
    Adam,
    ConstantSchedule,
    Dense,
    Model,
    Optimizer,
    ReduceOnPlateauSchedule,
    Relu,
    Sgd,
    WeightAverage,
)
from gradloom.worker.messages import Order
from tests.service.training.floor_in_process import (
    Fate,
    InProcessFleet,
    spec,
    submit,
    surroundings,
)

Change = Callable[[JobSpec], JobSpec]


def averaged(job: JobSpec) -> JobSpec:
    return replace(job, optimizer=replace(job.optimizer, average=WeightAverage(0.9)))


def accumulated(job: JobSpec) -> JobSpec:
    training = replace(job.training, batch_size=12, shards=4, accumulation_steps=2)
    return replace(job, training=training)


def on_a_plateau(job: JobSpec) -> JobSpec:
    """The rate is so high that the validation loss soon rises."""
    schedule = ReduceOnPlateauSchedule(factor=0.5, patience=0, threshold=0.0)
    return replace(
        job,
        optimizer=Optimizer(Adam(0.3)),
        schedule=schedule,
        training=replace(job.training, epochs=6),
    )


PLANTED = 3.3e38


def planted(folder: Path) -> None:
    """Row 37 overflows in the first layer."""
    random = np.random.Generator(np.random.Philox(1))
    points = random.normal(size=(110, 2)).astype(np.float32)
    points[37] = PLANTED
    np.savez(folder / "rows.npz", points=points, labels=random.integers(0, 3, 110))


def with_planted_row(job: JobSpec, policy: OnNonFinite) -> JobSpec:
    return replace(
        job,
        data=DataSpec(target="labels", path="rows.npz", inputs=("points",)),
        model=Model((Dense(8), Relu(), Dense(3))),
        training=replace(job.training, on_non_finite=policy),
    )


def skipping(job: JobSpec) -> JobSpec:
    return with_planted_row(job, OnNonFinite.SKIP_STEP)


def too_fast(job: JobSpec) -> JobSpec:
    """Overflows before long; at a ten-thousandth of the rate it learns."""
    training = Training(
        24,
        epochs=4,
        shards=8,
        on_non_finite=OnNonFinite.ROLL_BACK,
        roll_back_factor=1e-4,
    )
    model = Model((Dense(8), Dense(8), Dense(3)))
    return replace(
        job,
        model=model,
        optimizer=Optimizer(Sgd(900.0)),
        schedule=ConstantSchedule(),
        training=training,
    )


CHANGES: tuple[Change, ...] = (averaged, accumulated, on_a_plateau, skipping, too_fast)
EACH = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def trained(
    folder: Path,
    change: Change,
    workers: int = 2,
    fate: Fate = lambda worker, order: None,
    drains: tuple[int, ...] = (),
) -> tuple[Surroundings, Job]:
    """The job after its run; the service stops after so many checkpoints, and starts again."""
    folder.mkdir(exist_ok=True)
    around = surroundings(folder, InProcessFleet(fate))
    if change is skipping:
        planted(folder)
    job = submit(around, change(spec(workers)))
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    for count in (*drains, None):
        wishes = Wishes()
        if count is not None:
            drain_after(around, wishes, count)
        run(job.name, around, wishes)
    return around, around.store.get(job.name)


def drain_after(around: Surroundings, wishes: Wishes, checkpoints: int) -> None:
    def look(name: str) -> None:
        events = [each.event for each in around.store.history(name, 0, 1000)]
        if sum(isinstance(event, CheckpointWritten) for event in events) >= checkpoints:
            wishes.drain.set()

    around.store.subscribe(look)


def incidents(around: Surroundings, job: Job, reason: Reason) -> list[IncidentHappened]:
    events = (each.event for each in around.store.history(job.name, 0, 1000))
    return [e for e in events if isinstance(e, IncidentHappened) and e.reason is reason]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[Change, str]:
    """The weights of each job on one worker, undisturbed."""
    found = {}
    for change in CHANGES:
        _, job = trained(tmp_path_factory.mktemp(change.__name__), change, workers=1)
        assert job.state is State.SUCCEEDED, job.message
        found[change] = job.receipt.weights_sha256
    assert len(set(found.values())) == len(CHANGES)
    return found


@EACH
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_the_weights_do_not_depend_on_the_number_of_workers(
    tmp_path: Path, alone: dict[Change, str], change: Change, workers: int
) -> None:
    _, job = trained(tmp_path, change, workers)
    assert job.receipt.weights_sha256 == alone[change]


@EACH
def test_nor_on_workers_that_die(tmp_path: Path, alone: dict[Change, str], change: Change) -> None:
    deaths = {2: 0, 5: 1, 9: 2}

    def fate(worker: int, order: Order) -> Reason | None:
        if deaths.get(order.step) == worker:
            del deaths[order.step]
            return Reason.WORKER_LOST
        return None

    _, job = trained(tmp_path, change, 3, fate)
    assert job.receipt.weights_sha256 == alone[change]


@EACH
@pytest.mark.parametrize("drains", [(1,), (2, 3)])
def test_nor_on_a_service_that_stops_in_between(
    tmp_path: Path, alone: dict[Change, str], change: Change, drains: tuple[int, ...]
) -> None:
    _, job = trained(tmp_path, change, 2, drains=drains)
    assert (job.state, job.receipt.weights_sha256) == (State.SUCCEEDED, alone[change])


def test_accumulated_batches_are_one_large_batch(tmp_path: Path, alone: dict[Change, str]) -> None:
    _, large = trained(tmp_path, lambda job: job)
    assert large.receipt.weights_sha256 == alone[accumulated]
    assert large.plan and (large.plan.shards, large.plan.steps) == (8, 8)
    assert large.plan.steps_per_epoch == 4


def test_an_average_is_what_is_measured(tmp_path: Path) -> None:
    """The weights of the average are the only thing that differs, so it is what is measured."""
    _, plain = trained(tmp_path / "plain", lambda job: job)
    _, average = trained(tmp_path / "average", averaged)
    assert plain.progress and average.progress
    assert plain.progress.loss == average.progress.loss
    assert plain.metrics["validation/loss"] != average.metrics["validation/loss"]


def test_a_plateau_lowers_the_rate(tmp_path: Path) -> None:
    _, job = trained(tmp_path, on_a_plateau)
    assert job.progress and job.progress.learning_rate < 0.3


def test_a_planted_row_fails_the_job_and_is_named(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    planted(tmp_path)
    job = submit(around, with_planted_row(spec(), OnNonFinite.FAIL))
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    run(job.name, around, Wishes())
    job = around.store.get(job.name)
    assert (job.state, job.reason) == (State.FAILED, Reason.NON_FINITE)
    for part in ("At step ", "model.layers[0].dense, output, in shard ", "row 37 of the data"):
        assert part in job.message


def test_a_skipped_step_counts_and_is_told_of(tmp_path: Path) -> None:
    around, job = trained(tmp_path, skipping)
    told = incidents(around, job, Reason.STEP_SKIPPED)
    assert len(told) == 2
    assert all("row 37 of the data" in incident.message for incident in told)
    assert job.progress and job.progress.step == 10


def test_a_job_that_only_skips_fails(tmp_path: Path) -> None:
    def always(job: JobSpec) -> JobSpec:
        wild = too_fast(job)
        skips = replace(wild.training, on_non_finite=OnNonFinite.SKIP_STEP, epochs=9)
        return replace(wild, training=skips)

    around, job = trained(tmp_path, always)
    assert (job.state, job.reason) == (State.FAILED, Reason.NON_FINITE)
    assert "10 steps in a row" in job.message
    assert len(incidents(around, job, Reason.STEP_SKIPPED)) >= 9


def test_a_job_that_is_rolled_back_goes_on_with_a_lower_rate(tmp_path: Path) -> None:
    around, job = trained(tmp_path, too_fast)
    told = incidents(around, job, Reason.ROLLED_BACK)
    assert job.receipt.roll_backs == len(told) >= 1
    assert all(incident.step % 4 == 0 for incident in told)
    assert job.progress
    assert job.progress.learning_rate == pytest.approx(900 * 1e-4**job.receipt.roll_backs)
    assert State.RECOVERING in [transition.state for transition in job.transitions]


def test_a_job_that_is_rolled_back_too_often_fails(tmp_path: Path) -> None:
    def never_slower(job: JobSpec) -> JobSpec:
        wild = too_fast(job)
        return replace(wild, training=replace(wild.training, roll_back_factor=1.0))

    around, job = trained(tmp_path, never_slower)
    assert (job.state, job.reason) == (State.FAILED, Reason.NON_FINITE)
    assert "after 3 lower learning rates" in job.message
    assert len(incidents(around, job, Reason.ROLLED_BACK)) == 3
