"""Jobs some of whose workers come to wrong bits: they are found out, and the weights are right."""

from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.errors import Unavailable
from gradloom.service.fleet.group import Fleet
from gradloom.service.fleet.local_group import LocalFleet, LocalGroup
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.jobs.job import IncidentHappened, Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.journal import Journal
from gradloom.service.training.spot_checks import drawn
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker import replica, server
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.faults import VARIABLE, Fault, Faults, Point
from gradloom.worker.messages import Task
from tests.service.training.floor_in_process import InProcessFleet, spec, submit, surroundings
from tests.service.training.test_runner import trained

# The highest bit but one of the exponent of an element.
BIT = (("byte", 4 * 7 + 3), ("bit", 4))
EVERY = 20


def trained_in(
    folder: Path, workers: int, nodes: int = 1, fleet: Fleet | None = None
) -> tuple[Surroundings, Job]:
    """A job of 200 steps that checkpoints after every round, and checks every 20 steps."""
    folder.mkdir()
    wanted = spec(workers, epochs=50)
    wanted = replace(wanted, training=replace(wanted.training, verify_every=EVERY))
    around = surroundings(folder, fleet or InProcessFleet(nodes=nodes))  # type: ignore[arg-type]
    return around, trained(around, submit(around, wanted))


def told(around: Surroundings, job: Job) -> list[IncidentHappened]:
    history = around.store.history(job.name, 0, 1000)
    return [each.event for each in history if isinstance(each.event, IncidentHappened)]


@pytest.mark.parametrize(("workers", "nodes", "blamed"), [(3, 3, {1}), (4, 3, {1}), (2, 2, {0, 1})])
def test_a_bit_flipped_in_the_parameters_of_a_cell_is_found_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, nodes: int, blamed: set[int]
) -> None:
    _, undisturbed = trained_in(tmp_path / "undisturbed", workers, nodes)
    once = Fault(Point.ROUND_STATE, "flip", (("worker", "1"),), (*BIT, ("nth", 3)))
    monkeypatch.setattr(server, "reached", Faults([once]).reached)
    around, job = trained_in(tmp_path / "disturbed", workers, nodes)
    assert (job.state, job.receipt.weights_sha256) == (
        State.SUCCEEDED,
        undisturbed.receipt.weights_sha256,
    )
    incidents = told(around, job)
    assert {(each.reason, each.worker, each.node) for each in incidents} == {
        (Reason.BITS_DIFFER, worker, f"node-{worker % nodes}") for worker in blamed
    }
    assert [attempt.cause for attempt in job.attempts] == [Reason.BITS_DIFFER, Reason.COMPLETED]
    assert job.attempts[1].start_step < incidents[0].step
    assert (State.RECOVERING, Reason.BITS_DIFFER) in [(t.state, t.reason) for t in job.transitions]


def test_a_bit_flipped_once_in_a_shard_that_is_checked_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, undisturbed = trained_in(tmp_path / "undisturbed", 3)
    where = (("step", "60"), ("shard", str(drawn(spec().seed, 60, 8))))
    once = Fault(Point.SHARD_BACKWARD, "flip", where, (*BIT, ("nth", 1)))
    monkeypatch.setattr(replica, "reached", Faults([once]).reached)
    around, job = trained_in(tmp_path / "disturbed", 3)
    assert job.receipt.weights_sha256 == undisturbed.receipt.weights_sha256
    assert [(each.reason, each.step) for each in told(around, job)] == [(Reason.BITS_DIFFER, 60)]
    assert [attempt.start_step for attempt in job.attempts] == [0, 40]


def test_nothing_later_is_gone_on_from_where_the_service_fails_in_a_dispute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, undisturbed = trained_in(tmp_path / "undisturbed", 3, 3)
    once = Fault(Point.ROUND_STATE, "flip", (("worker", "1"),), (*BIT, ("nth", 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "reached", Faults([once]).reached)
        patch.setattr(Journal, "incident", unavailable)
        around, job = trained_in(tmp_path / "disturbed", 3, 3)
    assert not job.state.is_final
    monkeypatch.setattr(server, "reached", Faults([]).reached)
    assert trained(around, job).receipt.weights_sha256 == undisturbed.receipt.weights_sha256


def unavailable(*_: object) -> None:
    raise Unavailable("The store cannot be written to.", reason="STORE")


class Faulty(LocalFleet):
    """Processes of which one, the second of the first run, flips a bit of every gradient."""

    is_struck = False

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> LocalGroup:
        fleet = self

        class Group(LocalGroup):
            def start(self, worker: int, task: Task, state: bytes | None) -> None:
                with pytest.MonkeyPatch.context() as patch:
                    if worker == 1 and not fleet.is_struck:
                        fleet.is_struck = True
                        patch.setenv(VARIABLE, f"{Point.SHARD_BACKWARD}:flip@byte=22,bit=4")
                    super().start(worker, task, state)

        return Group(log_folder, profile, self._pool)


@pytest.mark.process
def test_a_process_that_always_computes_wrong_bits_is_outvoted_and_ended(tmp_path: Path) -> None:
    _, undisturbed = trained_in(tmp_path / "undisturbed", 3)
    fleet = Faulty(ProcessPool(0, tmp_path / "pool", PROFILE_DEFAULT))
    around, job = trained_in(tmp_path / "disturbed", 3, fleet=fleet)
    fleet.close()
    assert (job.state, job.receipt.weights_sha256) == (
        State.SUCCEEDED,
        undisturbed.receipt.weights_sha256,
    )
    (incident,) = told(around, job)
    assert (incident.reason, incident.worker, incident.step) == (Reason.BITS_DIFFER, 1, EVERY)
    assert incident.node
    assert [attempt.start_step for attempt in job.attempts] == [0, 0]


def test_bits_that_differ_again_and_again_fail_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = Fault(Point.ROUND_STATE, "flip", (("worker", "1"),), BIT)
    monkeypatch.setattr(server, "reached", Faults([always]).reached)
    _, job = trained_in(tmp_path / "disturbed", workers=3, nodes=3)
    assert (job.state, job.reason) == (State.FAILED, Reason.BITS_DIFFER)
    assert "have the nodes tested" in job.message and "node-1" in job.message
