"""Real workers that are frozen are noticed though they train alone; those that wait are let be."""

import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from gradloom.service.client import Client
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import IncidentEvent, ProgressEvent
from gradloom.worker.faults import VARIABLE, Point
from tests.system.digits import digits
from tests.system.service_process import service

pytestmark = pytest.mark.process

# A worker of small steps may be silent for a little more than two seconds; a round of it takes at
# least five before it is overdue.
NOTICED = 4.5
# Longer than any limit of the job's that follows.
STALL = 12


def test_f02_a_worker_that_trains_alone_and_is_frozen_is_noticed_within_its_patience(
    client: Client,
) -> None:
    job = client.submit(digits(60), workers=1)
    events = client.watch(job)
    for _ in range(2):
        next(event for event in events if isinstance(event, ProgressEvent))
    pid = client.get(job).assignments[0].pid
    os.kill(pid, signal.SIGSTOP)
    began = monotonic()
    incident = next(event for event in events if isinstance(event, IncidentEvent))
    assert incident.reason is Reason.WORKER_FROZEN
    assert "has said nothing for" in incident.message
    assert monotonic() - began < NOTICED
    client.cancel(job)


def streamed(folder: Path) -> dict[str, Any]:
    """The digits as a stream of many blocks."""
    job = digits(2)
    with np.load(job["data"]["path"]) as arrays:
        np.savez(folder / "rows.npz", **arrays)
    job["data"] |= {"path": str(folder / "rows.npz"), "stream": {"window_rows": 256}}
    return job


@pytest.mark.parametrize(
    ("backend", "workers"),
    [
        ("local", 1),
        pytest.param("local", 2, marks=pytest.mark.slow),
        pytest.param("ray", 1, marks=[pytest.mark.ray, pytest.mark.slow]),
        pytest.param("ray", 2, marks=pytest.mark.ray),
    ],
)
def test_f52_a_worker_whose_disk_stalls_is_not_frozen(
    tmp_path: Path, backend: str, workers: int
) -> None:
    fault = f"{Point.DATA_READ}:sleep@nth=30,seconds={STALL}"
    with (
        service(tmp_path, backend, variables={VARIABLE: fault}) as up,
        up.client() as client,
    ):
        began = monotonic()
        job = client.submit(streamed(tmp_path), workers=workers)
        done = client.wait(job)
        assert monotonic() - began > STALL
        assert (incidents(client, job), done.state) == ([], State.SUCCEEDED)


def incidents(client: Client, job: Job) -> list[Reason]:
    return [event.reason for event in client.watch(job) if isinstance(event, IncidentEvent)]
