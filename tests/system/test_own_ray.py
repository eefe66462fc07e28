"""The Ray that the service started dies, and the service starts another."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import CheckpointEvent, IncidentEvent
from tests.system.digits import digits
from tests.system.service_process import service

pytestmark = [pytest.mark.process, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(200)]

EPOCHS = 600
LOST = Reason.RAY_UNREACHABLE


def children_of(pid: int, program: str) -> list[int]:
    """Processes of a program that a process started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [c for c in children if program in Path(f"/proc/{c}/cmdline").read_text()]


@pytest.mark.parametrize("program", ["gcs_server", "raylet"])
def test_a_job_goes_on_under_another_ray(
    tmp_path: Path, undisturbed: Callable[[int], str], program: str
) -> None:
    with service(tmp_path, "ray") as up, up.client() as client:
        job = client.submit(digits(EPOCHS), workers=2)
        events = client.watch(job)
        next(event for event in events if isinstance(event, CheckpointEvent))
        (victim,) = children_of(up.process.pid, program)
        os.kill(victim, signal.SIGKILL)
        cause = next(e for e in events if isinstance(e, Job | IncidentEvent) and e.reason is LOST)
        assert "Ray on this machine" in cause.message
        done = client.wait(job)
        assert (done.state, done.receipt.weights_sha256) == (State.SUCCEEDED, undisturbed(EPOCHS))
        assert client.wait(client.submit(digits(1), workers=2)).state is State.SUCCEEDED
