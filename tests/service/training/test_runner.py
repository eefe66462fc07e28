"""One job from start to end, whatever happens to its workers, its state and its user's mind."""

from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.jobs.job import CheckpointWritten, IncidentHappened, Job, StateChanged
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.certificate import fresh_certificate
from gradloom.service.training.runner import run
from gradloom.service.training.surroundings import Surroundings, Wishes
from gradloom.service.training.suspects import Death
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.engine.spec import Optimizer, Sgd
from gradloom.worker.messages import Order, Train
from tests.service.training.floor_in_process import (
    Fate,
    InProcessFleet,
    spec,
    submit,
    surroundings,
)


def trained(around: Surroundings, job: Job | None = None, wishes: Wishes | None = None) -> Job:
    """The job after its run, started as the floor starts it."""
    job = job or submit(around, spec())
    if job.state is State.QUEUED:
        around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    run(job.name, around, wishes or Wishes())
    return around.store.get(job.name)


@pytest.fixture
def undisturbed(tmp_path: Path) -> str:
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    job = trained(surroundings(folder, InProcessFleet()))
    assert job.state is State.SUCCEEDED
    return job.receipt.weights_sha256


def incidents(around: Surroundings, job: Job) -> list[Reason]:
    history = around.store.history(job.name, 0, 1000)
    return [each.event.reason for each in history if isinstance(each.event, IncidentHappened)]


def dies(times: dict[int, set[int]]) -> Fate:
    """Worker w dies when it is to make steps, a step in times[w] among them."""

    def fate(worker: int, order: Order) -> Reason | None:
        is_due = any(makes(order, step) for step in times.get(worker, ()))
        return Reason.WORKER_LOST if is_due else None

    return fate


def makes(order: Order, step: int) -> bool:
    """Whether the step after this one is among those that are ordered."""
    return isinstance(order.work, Train) and order.step <= step < order.step + order.work.steps


def test_a_job_ends_with_its_model_metrics_and_receipt(tmp_path: Path) -> None:
    job = trained(surroundings(tmp_path, InProcessFleet()))
    assert (job.state, job.reason) == (State.SUCCEEDED, Reason.COMPLETED)
    assert Path(job.receipt.model_path).is_file()
    assert {"validation/loss", "validation/accuracy"} <= set(job.metrics)
    assert job.progress and job.progress.step == job.progress.steps == 8
    assert job.progress.samples == 2 * 88


@pytest.mark.parametrize("workers", [1, 3, 5, 8])
def test_the_weights_do_not_depend_on_the_number_of_workers(
    tmp_path: Path, undisturbed: str, workers: int
) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job = trained(around, submit(around, spec(workers)))
    assert job.receipt.weights_sha256 == undisturbed


@pytest.mark.parametrize(
    "times",
    [{0: {0}}, {0: {3}}, {1: {3}}, {0: {7}}],
    ids=["first step", "middle", "another one", "last step"],
)
def test_workers_that_die_change_nothing(
    tmp_path: Path, undisturbed: str, times: dict[int, set[int]]
) -> None:
    around = surroundings(tmp_path, InProcessFleet(dies(times)))
    job = trained(around)
    assert job.receipt.weights_sha256 == undisturbed
    assert incidents(around, job) == [Reason.WORKER_LOST] * len(times)


def test_replacements_that_die_change_nothing(tmp_path: Path) -> None:
    """So long a job that a replacement joins, dies in its first round, and so does the next."""
    long = spec(epochs=40)
    hashes = []
    for name, doomed in (("alone", set[int]()), ("disturbed", {1, 2, 3})):
        folder = tmp_path / name
        folder.mkdir()
        around = surroundings(folder, InProcessFleet(die_in_training(doomed)))
        job = trained(around, submit(around, long))
        assert incidents(around, job) == [Reason.WORKER_LOST] * len(doomed)
        hashes.append(job.receipt.weights_sha256)
    assert hashes[0] == hashes[1]


def die_in_training(doomed: set[int]) -> Fate:
    def fate(worker: int, order: Order) -> Reason | None:
        is_due = isinstance(order.work, Train) and worker in doomed and order.step > 0
        return Reason.WORKER_LOST if is_due else None

    return fate


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_the_weights_do_not_depend_on_where_the_workers_are(
    tmp_path: Path, undisturbed: str, workers: int
) -> None:
    around = surroundings(tmp_path, InProcessFleet(nodes=2))
    job = trained(around, submit(around, spec(workers)))
    assert job.receipt.weights_sha256 == undisturbed


def test_encrypted_or_not_the_weights_are_the_same_and_each_run_has_a_certificate(
    tmp_path: Path, undisturbed: str
) -> None:
    shown: set[bytes] = set()
    fate = all_die_once_at(6)

    def look(worker: int, order: Order) -> Reason | None:
        shown.add(order.formation.certificate)
        return fate(worker, order)

    around = surroundings(tmp_path, InProcessFleet(look, nodes=2))
    job = trained(replace(around, certificate=fresh_certificate))
    assert job.receipt.weights_sha256 == undisturbed
    assert len(shown) == len(job.attempts) == 2
    assert all(b"PRIVATE KEY" in certificate for certificate in shown)


def test_a_replacement_on_a_node_without_the_state_gets_it(tmp_path: Path) -> None:
    """Worker 0 is alone on its node; when it dies, worker 2 comes up there, and is given it."""
    hashes, given = [], list[int]()
    for name, times in (("alone", dict[int, set[int]]()), ("disturbed", {0: {3}})):
        folder = tmp_path / name
        folder.mkdir()
        around = surroundings(folder, InProcessFleet(watched(dies(times), given), nodes=2))
        job = trained(around, submit(around, spec(2, epochs=40)))
        hashes.append(job.receipt.weights_sha256)
    assert hashes[0] == hashes[1]
    assert given == [2]


def watched(fate: Fate, given: list[int]) -> Fate:
    """The same fate; workers that are given a state are written down."""

    def look(worker: int, order: Order) -> Reason | None:
        if order.state is not None:
            given.append(worker)
        return fate(worker, order)

    return look


def test_the_state_stays_running_while_others_take_over(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet(dies({0: {3}})))
    states = [transition.state for transition in trained(around).transitions]
    assert states == [State.QUEUED, State.STARTING, State.RUNNING, State.SUCCEEDED]


def test_with_all_workers_lost_it_goes_on_from_the_checkpoint(
    tmp_path: Path, undisturbed: str
) -> None:
    around = surroundings(tmp_path, InProcessFleet(all_die_once_at(6)))
    job = trained(around)
    assert State.RECOVERING in [transition.state for transition in job.transitions]
    assert [attempt.start_step > 0 for attempt in job.attempts] == [False, True]
    assert job.receipt.weights_sha256 == undisturbed


def all_die_once_at(step: int) -> Fate:
    spent: set[int] = set()

    def fate(worker: int, order: Order) -> Reason | None:
        if makes(order, step) and len(spent) < 2 and worker not in spent:
            spent.add(worker)
            return Reason.WORKER_LOST
        return None

    return fate


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, undisturbed: str) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job, wishes = submit(around, spec()), Wishes()
    drain_after(around, wishes, checkpoints=2)
    trained(around, job, wishes)
    newest, *_ = around.store.checkpoints(job.name)
    content = bytearray(Path(newest.path).read_bytes())
    content[-1] ^= 1
    Path(newest.path).write_bytes(content)
    after = trained(around, around.store.get(job.name))
    assert incidents(around, after) == [Reason.CHECKPOINT_CORRUPT]
    assert after.receipt.weights_sha256 == undisturbed


def drain_after(around: Surroundings, wishes: Wishes, checkpoints: int) -> None:
    """Wishes that the service stops once so many checkpoints were written."""
    written = 0

    def look(name: str) -> None:
        nonlocal written
        newest = around.store.history(name, 0, 1000)[-1].event
        written += isinstance(newest, CheckpointWritten)
        if written >= checkpoints:
            wishes.drain.set()

    around.store.subscribe(look)


def test_a_stopped_service_goes_on_where_it_was(tmp_path: Path, undisturbed: str) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job, wishes = submit(around, spec()), Wishes()
    drain_after(around, wishes, checkpoints=1)
    stopped = trained(around, job, wishes)
    assert stopped.state is State.RUNNING
    after = trained(around, stopped)
    assert after.attempts[-1].start_step > 0
    assert after.receipt.weights_sha256 == undisturbed


def test_a_job_goes_on_in_the_profile_it_began_with(tmp_path: Path) -> None:
    fleet = InProcessFleet()
    around, wishes = replace(surroundings(tmp_path, fleet), profile="native"), Wishes()
    job = submit(around, spec())
    drain_after(around, wishes, checkpoints=1)
    stopped = trained(around, job, wishes)
    trained(around, stopped)
    # The worker in this process says what the suite is computed with.
    assert fleet.profiles == ["native", PROFILE_DEFAULT]


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job = trained(around, submit(around, spec(epochs=6, keep_last=2)))
    assert len(around.store.checkpoints(job.name)) == 2
    assert len(list((tmp_path / "jobs" / job.id / "checkpoints").iterdir())) == 2


def test_a_cancelled_job_ends_cancelled(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job, wishes = submit(around, spec()), Wishes()
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    around.store.cancel(job.name)
    wishes.cancel.set()
    run(job.name, around, wishes)
    assert around.store.get(job.name).state is State.CANCELLED


def test_a_wish_to_cancel_that_comes_at_the_very_end_is_heeded(tmp_path: Path) -> None:
    """The user's wish is in the store, but the runner has not heard of it when it is done."""
    around = surroundings(tmp_path, InProcessFleet())
    job = submit(around, spec())
    cancel_when(around, State.RUNNING)
    assert trained(around, job).state is State.CANCELLED


def cancel_when(around: Surroundings, state: State) -> None:
    def look(name: str) -> None:
        if around.store.get(name).state is state:
            around.store.cancel(name)

    around.store.subscribe(look)


def test_a_loss_that_is_no_number_fails_the_job(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    wild = replace(spec(epochs=9), optimizer=Optimizer(Sgd(1000.0)))
    job = trained(around, submit(around, wild))
    assert (job.state, job.reason) == (State.FAILED, Reason.NON_FINITE)
    assert "lower the learning rate" in job.message


def test_a_job_of_another_arithmetic_is_not_gone_on_with(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job = submit(around, spec())
    older = replace(job.receipt, bits_version=job.receipt.bits_version - 1)
    around.store.update(job.name, lambda job: replace(job, receipt=older))
    assert trained(around, job).reason is Reason.ENGINE_CHANGED


def test_data_that_changed_fails_the_job(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet())
    job = submit(around, spec())
    rows = tmp_path / "rows.npz"
    rows.write_bytes(rows.read_bytes() + b"\0")
    after = trained(around, job)
    assert after.state is State.FAILED
    assert after.reason in (Reason.DATA_CHANGED, Reason.DATA_UNREADABLE)


def test_a_bug_fails_the_job_and_says_where_to_look(tmp_path: Path) -> None:
    class BrokenFleet(InProcessFleet):
        def group(  # type: ignore[override]
            self, name: str, workers: int, log_folder: Path, profile: str
        ) -> None:
            raise RuntimeError("a bug")

    job = trained(surroundings(tmp_path, BrokenFleet()))
    assert (job.state, job.reason) == (State.FAILED, Reason.INTERNAL_FAULT)
    assert "incident" in job.message and "a bug" not in job.message.replace("a bug of", "")


def test_metrics_follow_the_job(tmp_path: Path) -> None:
    around = surroundings(tmp_path, InProcessFleet(dies({0: {3}})))
    job = trained(around)
    _, body = around.metrics.render("")
    text = body.decode()
    assert f'gradloom_job_steps_total{{job_id="{job.id}"}} 8.0' in text
    assert f'gradloom_job_samples_total{{job_id="{job.id}"}} 176.0' in text
    assert f'gradloom_job_worker_losses_total{{cause="killed",job_id="{job.id}"}} 1.0' in text
    assert f'gradloom_job_worker_restarts_total{{job_id="{job.id}"}} 1.0' in text


def test_deaths_of_several_jobs_on_one_node_are_the_nodes_fault(tmp_path: Path) -> None:
    """Workers of two jobs have died on the second node when one of this job does."""
    fleet = InProcessFleet(dies({1: {3}}), nodes=2)
    around = surroundings(tmp_path, fleet)
    for death in (Death("node-1", "jobs/a", 0.0), Death("node-1", "jobs/b", 0.0)):
        around.suspects.died(replace(death, time=around.monotonic()), fleet.nodes)
    job = trained(around, submit(around, spec(2, epochs=40)))
    assert job.state is State.SUCCEEDED
    assert incidents(around, job) == [Reason.WORKER_LOST, Reason.NODE_SUSPECT]
    assert fleet.avoided == {"node-1"}
    told = around.metrics.render("")[1].decode()
    assert "gradloom_suspect_nodes_total 1.0" in told
    assert f'gradloom_job_worker_losses_total{{cause="suspect",job_id="{job.id}"}} 0.0' in told
