"""Real processes die, and the weights are those of the undisturbed run."""

import os
import select
import signal
from pathlib import Path

import pytest

from gradloom.service.client import Client
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import CheckpointEvent, IncidentEvent, ProgressEvent
from tests.system.digits import digits
from tests.system.service_process import service

pytestmark = pytest.mark.process

BACKENDS = ["local", pytest.param("ray", marks=pytest.mark.ray)]
HOSTILE = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENBLAS_NUM_THREADS": "2",
    "PYTHONHASHSEED": "1",
    "OMP_NUM_THREADS": "2",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of one worker whom nothing happened to."""
    with service(tmp_path_factory.mktemp("undisturbed")) as up, up.client() as client:
        return client.wait(client.submit(digits(), workers=1)).receipt.weights_sha256


def kill_a_worker(client: Client, job: Job) -> None:
    """Kills a worker process once some steps are done, and waits until that is noticed."""
    for event in client.watch(job):
        if isinstance(event, ProgressEvent) and event.step > 1:
            break
    os.kill(client.get(job).assignments[0].pid, signal.SIGKILL)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_worker_changes_nothing(
    tmp_path: Path, undisturbed: str, backend: str, workers: int
) -> None:
    with service(tmp_path, backend) as up, up.client() as client:
        job = client.submit(digits(), workers=workers)
        kill_a_worker(client, job)
        events = list(client.watch(job))
        done = client.wait(job)
    lost = [event for event in events if isinstance(event, IncidentEvent)]
    assert [event.reason for event in lost] == [Reason.WORKER_LOST]
    assert done.receipt.weights_sha256 == undisturbed


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_service_goes_on_from_its_checkpoint(
    tmp_path: Path, undisturbed: str, backend: str
) -> None:
    with service(tmp_path, backend, HOSTILE) as up, up.client() as client:
        job = client.submit(digits(), workers=2)
        next(event for event in client.watch(job) if isinstance(event, CheckpointEvent))
        up.kill()
    with service(tmp_path, backend) as up, up.client() as client:
        done = client.wait(job)
    assert done.attempts[-1].start_step > 0
    assert State.RECOVERING in [transition.state for transition in done.transitions]
    assert done.receipt.weights_sha256 == undisturbed


def test_a_service_that_is_asked_to_end_saves_what_it_has(tmp_path: Path, undisturbed: str) -> None:
    with service(tmp_path) as up, up.client() as client:
        job = client.submit(digits(), workers=2)
        next(event for event in client.watch(job) if isinstance(event, ProgressEvent))
        assert up.terminate() == 0
    with service(tmp_path) as up, up.client() as client:
        done = client.wait(job)
    assert done.attempts[-1].start_step > 0
    assert done.receipt.weights_sha256 == undisturbed


def test_workers_do_not_outlive_a_killed_service(tmp_path: Path) -> None:
    with service(tmp_path) as up, up.client() as client:
        job = client.submit(digits(), workers=2)
        next(event for event in client.watch(job) if isinstance(event, ProgressEvent))
        pids = [assignment.pid for assignment in client.get(job).assignments]
        handles = [os.pidfd_open(pid) for pid in pids]
        up.kill()
        assert len(pids) == 2
        for handle in handles:
            assert ends_within(handle, seconds=5)


def ends_within(handle: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends in time."""
    return bool(select.select([handle], [], [], seconds)[0])


def test_the_queue_is_kept_when_the_service_is_killed(tmp_path: Path, undisturbed: str) -> None:
    with service(tmp_path) as up, up.client() as client:
        jobs = [client.submit(digits(), workers=2) for _ in range(3)]
        up.kill()
    with service(tmp_path) as up, up.client() as client:
        done = [client.wait(job) for job in jobs]
    assert {job.receipt.weights_sha256 for job in done} == {undisturbed}
