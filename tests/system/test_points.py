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


# Worker 1 begins its shards so late that the others take them; this point is met by who helps or
# is helped, and by nobody else.
SLOW = f"{Point.STEP_START}:sleep@worker=1,seconds=0.03"


@pytest.mark.parametrize(
    ("worker", "action", "reason"),
    [
        (0, "kill", Reason.WORKER_LOST),
        (1, "kill", Reason.WORKER_LOST),
        (2, "kill", Reason.WORKER_LOST),
        (2, "freeze", Reason.WORKER_FROZEN),
    ],
)
def test_f08_who_helps_or_is_helped_and_fails_in_a_shard_changes_nothing(
    tmp_path: Path, undisturbed: Undisturbed, worker: int, action: str, reason: Reason
) -> None:
    fault = f"{SLOW};{Point.OPERATION}:{action}@worker={worker},nth=5"
    incidents, state, weights = happened(tmp_path, fault)
    assert (incidents, state) == ({reason}, State.SUCCEEDED)
    assert weights == undisturbed(EPOCHS)
