"""Jobs some of whose workers come to wrong bits: they are found out, and the weights are right."""

from pathlib import Path

import pytest

from gradloom.service.jobs.job import IncidentHappened, Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker import server
from gradloom.worker.faults import Fault, Faults, Point
from tests.service.training.floor_in_process import InProcessFleet, spec, submit, surroundings
from tests.service.training.test_runner import trained

# The highest bit but one of the exponent of an element.
BIT = (("byte", 4 * 7 + 3), ("bit", 4))


def trained_in(folder: Path, workers: int, nodes: int) -> tuple[Surroundings, Job]:
    """A job of 200 steps that checkpoints after every round."""
    folder.mkdir()
    around = surroundings(folder, InProcessFleet(nodes=nodes))
    return around, trained(around, submit(around, spec(workers, epochs=50)))


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


def test_bits_that_differ_again_and_again_fail_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = Fault(Point.ROUND_STATE, "flip", (("worker", "1"),), BIT)
    monkeypatch.setattr(server, "reached", Faults([always]).reached)
    _, job = trained_in(tmp_path / "disturbed", workers=3, nodes=3)
    assert (job.state, job.reason) == (State.FAILED, Reason.BITS_DIFFER)
    assert "have the nodes tested" in job.message and "node-1" in job.message
