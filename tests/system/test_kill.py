"""Real processes die, and the weights are those of the undisturbed run."""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gradloom.service.client import Client
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import CheckpointEvent, IncidentEvent, ProgressEvent
from tests.system.conftest import BACKENDS
from tests.system.digits import digits
from tests.system.service_process import service

pytestmark = pytest.mark.process

Undisturbed = Callable[[int], str]

# Epochs that take long enough to kill a worker in them, and for a checkpoint.
SHORT, LONG = 12, 60


def await_progress(client: Client, job: Job) -> None:
    """Returns once steps are committed."""
    next(event for event in client.watch(job) if isinstance(event, ProgressEvent))


def incidents(client: Client, job: Job) -> list[Reason]:
    return [event.reason for event in client.watch(job) if isinstance(event, IncidentEvent)]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_worker_changes_nothing(
    client: Client, undisturbed: Undisturbed, workers: int
) -> None:
    job = client.submit(digits(SHORT), workers=workers)
    await_progress(client, job)
    os.kill(client.get(job).assignments[0].pid, signal.SIGKILL)
    done = client.wait(job)
    assert incidents(client, job) == [Reason.WORKER_LOST]
    assert done.receipt.weights_sha256 == undisturbed(SHORT)


def test_the_only_worker_that_dies_takes_the_job_back_to_its_checkpoint(client: Client) -> None:
    job = client.submit(digits(SHORT), workers=1)
    await_progress(client, job)
    os.kill(client.get(job).assignments[0].pid, signal.SIGKILL)
    states = [transition.state for transition in client.wait(job).transitions]
    assert states[-3:] == [State.RECOVERING, State.RUNNING, State.SUCCEEDED]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_service_goes_on_from_its_checkpoint(
    tmp_path: Path, undisturbed: Undisturbed, backend: str
) -> None:
    with service(tmp_path, backend) as up, up.client() as client:
        job = client.submit(digits(LONG), workers=2)
        next(event for event in client.watch(job) if isinstance(event, CheckpointEvent))
        up.kill()
    with service(tmp_path, backend) as up, up.client() as client:
        done = client.wait(job)
    assert done.attempts[-1].start_step > 0
    assert State.RECOVERING in [transition.state for transition in done.transitions]
    assert done.receipt.weights_sha256 == undisturbed(LONG)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_service_that_is_asked_to_end_saves_what_it_has(
    tmp_path: Path, undisturbed: Undisturbed, backend: str
) -> None:
    with service(tmp_path, backend) as up, up.client() as client:
        job = client.submit(digits(LONG), workers=2)
        await_progress(client, job)
        assert up.terminate() == 0
    with service(tmp_path, backend) as up, up.client() as client:
        done = client.wait(job)
    assert done.attempts[-1].start_step > 0
    assert done.receipt.weights_sha256 == undisturbed(LONG)


def test_workers_do_not_outlive_a_killed_service(tmp_path: Path) -> None:
    with service(tmp_path) as up, up.client() as client:
        job = client.submit(digits(LONG), workers=2)
        await_progress(client, job)
        handles = [os.pidfd_open(each.pid) for each in client.get(job).assignments]
        up.kill()
        assert [ends_within(handle, seconds=5) for handle in handles] == [True, True]


def ends_within(handle: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends in time."""
    return bool(select.select([handle], [], [], seconds)[0])


def test_the_queue_is_kept_when_the_service_is_killed(tmp_path: Path) -> None:
    with service(tmp_path) as up, up.client() as client:
        jobs = [client.submit(digits(epochs=3), workers=2) for _ in range(3)]
        up.kill()
    with service(tmp_path) as up, up.client() as client:
        states = [client.wait(job).state for job in jobs]
    assert states == [State.SUCCEEDED] * 3
