"""A worker dies or freezes at each point of a step; the weights are those of any other run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gradloom.service.errors import JobFailed
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import IncidentEvent
from gradloom.worker.faults import VARIABLE, Point
from tests.system.digits import digits
from tests.system.service_process import service

pytestmark = pytest.mark.process

Undisturbed = Callable[[int], str]

EPOCHS = 2
STEP = 30


def happened(tmp_path: Path, fault: str) -> tuple[set[Reason], State, str]:
    """The incidents, the end and the weights of a job of three workers under a fault."""
    with service(tmp_path, variables={VARIABLE: fault}) as up, up.client() as client:
        job = client.submit(digits(EPOCHS), workers=3)
        incidents = {e.reason for e in client.watch(job) if isinstance(e, IncidentEvent)}
        done = client.wait(job)
    return incidents, done.state, done.receipt.weights_sha256


# Where worker 1 is met: while it joins it has made no step, and rounds end at whatever step.
WHERE = {
    Point.JOIN: "worker=1",
    Point.STEP_START: f"worker=1,step={STEP}",
    Point.SLOT_WRITE: f"worker=1,step={STEP}",
    Point.SLICE_SUM: f"worker=1,step={STEP}",
    Point.SLICE_UPDATE: f"worker=1,step={STEP}",
    Point.BARRIER: f"worker=1,step={STEP}",
    Point.ROUND_REPORT: "worker=1,nth=3",
}


@pytest.mark.parametrize("point", WHERE)
def test_a_worker_that_is_killed_there_changes_nothing(
    tmp_path: Path, undisturbed: Undisturbed, point: Point
) -> None:
    incidents, state, weights = happened(tmp_path, f"{point}:kill@{WHERE[point]}")
    assert (incidents, state) == ({Reason.WORKER_LOST}, State.SUCCEEDED)
    assert weights == undisturbed(EPOCHS)


def test_a_shard_that_kills_whoever_computes_it_ends_the_job(tmp_path: Path) -> None:
    fault = f"{Point.SHARD_FORWARD}:kill@step={STEP},shard=3"
    with (
        service(tmp_path, variables={VARIABLE: fault}) as up,
        up.client() as client,
        pytest.raises(JobFailed, match=f"workers died 3 times at step {STEP + 1}"),
    ):
        client.wait(client.submit(digits(EPOCHS), workers=3))


@pytest.mark.parametrize("point", [Point.SLICE_UPDATE, Point.BARRIER])
@pytest.mark.parametrize("worker", [0, 2])
def test_a_leader_or_follower_that_freezes_there_changes_nothing(
    tmp_path: Path, undisturbed: Undisturbed, point: Point, worker: int
) -> None:
    fault = f"{point}:freeze@step={STEP},worker={worker}"
    incidents, state, weights = happened(tmp_path, fault)
    assert (incidents, state) == ({Reason.WORKER_FROZEN}, State.SUCCEEDED)
    assert weights == undisturbed(EPOCHS)
