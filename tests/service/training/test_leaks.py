"""A worker that leaks is replaced while the job goes on, and the weights are right."""

from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.jobs.job import IncidentHappened, Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.growth import ROUNDS
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.faults import VARIABLE, Point
from tests.service.training.floor_in_process import spec, submit, surroundings
from tests.service.training.test_runner import trained

pytestmark = pytest.mark.process

# A round of training an epoch, since every epoch is measured; enough to tell, start one, and go on.
EPOCHS = 3 * ROUNDS
# So slow that whoever takes its place is ready long before the end.
LEAK = f"{Point.ROUND_REPORT}:leak@worker=0,megabytes=2;{Point.STEP_START}:sleep@seconds=0.005"


def trained_in(folder: Path, workers: int) -> tuple[Surroundings, Job]:
    """A job of as many shards as workers, so that whoever joins has none at first."""
    folder.mkdir()
    fleet = LocalFleet(ProcessPool(3, folder / "pool", PROFILE_DEFAULT))
    around = surroundings(folder, fleet)  # type: ignore[arg-type]
    wanted = spec(workers, epochs=EPOCHS)
    wanted = replace(wanted, training=replace(wanted.training, shards=2))
    job = trained(around, submit(around, wanted))
    fleet.close()
    return around, job


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_f63_a_worker_that_leaks_is_replaced_between_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    _, undisturbed = trained_in(tmp_path / "undisturbed", workers)
    monkeypatch.setenv(VARIABLE, LEAK)
    around, job = trained_in(tmp_path / "disturbed", workers)
    assert (job.state, job.receipt.weights_sha256) == (
        State.SUCCEEDED,
        undisturbed.receipt.weights_sha256,
    )
    history = [each.event for each in around.store.history(job.name, 0, 10_000)]
    (incident,) = (event for event in history if isinstance(event, IncidentHappened))
    assert (incident.reason, incident.worker) == (Reason.WORKER_RECYCLED, 0)
    assert "memory grew from" in incident.message and incident.node
    assert len(job.attempts) == 1
