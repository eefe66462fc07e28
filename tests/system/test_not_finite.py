"""A job that comes to infinity does what it was told to, on any number of processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom.service.client import Client
from gradloom.service.errors import JobFailed
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import IncidentEvent, Job
from tests.system.service_process import service

pytestmark = pytest.mark.process

PLANTED = 37


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with service(tmp_path_factory.mktemp("service")) as up, up.client() as client:
        yield client


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of points, and one point so far away that the first layer overflows."""
    path = tmp_path_factory.mktemp("data") / "rows.npz"
    random = np.random.Generator(np.random.Philox(1))
    labels = random.integers(0, 3, 110)
    points = (random.normal(size=(110, 2)) + labels[:, None]).astype(np.float32)
    points[PLANTED] = 3.3e38
    np.savez(path, points=points, labels=labels)
    return path


def planted(rows: Path, on_non_finite: str) -> dict[str, Any]:
    return {
        "name": "planted",
        "seed": 3,
        "data": {"path": str(rows), "inputs": ["points"], "target": "labels"},
        "model": {"layers": [{"dense": {"units": 8}}, {"relu": {}}, {"dense": {"units": 3}}]},
        "loss": {"softmax_cross_entropy": {}},
        "optimizer": {"sgd": {"learning_rate": 0.1}},
        "training": {
            "batch_size": 24,
            "epochs": 3,
            "shards": 8,
            "on_non_finite": on_non_finite,
        },
    }


def too_fast(rows: Path) -> dict[str, Any]:
    """Without the planted row's help: the rate is a thousand times too high."""
    job = planted(rows, "roll_back")
    job["data"]["normalize"] = "unit"
    job["model"] = {"layers": [{"dense": {"units": 8}}, {"dense": {"units": 3}}]}
    job["optimizer"] = {"sgd": {"learning_rate": 900}}
    job["training"] |= {"roll_back_factor": 1e-4, "epochs": 9}
    return job


def incidents(client: Client, job: Job) -> list[IncidentEvent]:
    return [event for event in client.watch(job) if isinstance(event, IncidentEvent)]


def failure(client: Client, job: Job) -> str:
    with pytest.raises(JobFailed) as caught:
        client.wait(job)
    assert caught.value.reason == Reason.NON_FINITE
    return str(caught.value).partition(": ")[2]


def test_a_planted_row_fails_the_job_and_is_named_alike(client: Client, rows: Path) -> None:
    jobs = [client.submit(planted(rows, "fail"), workers=workers) for workers in (1, 3)]
    alone, shared = (failure(client, job) for job in jobs)
    assert alone == shared
    assert alone.startswith("At step 5 the loss is nan")
    where = "model.layers[0].dense, output, in shard 3 (rows 5 to 6 of the batch)"
    assert f"{where}, row {PLANTED} of the data" in alone


def test_skipped_steps_are_the_same_on_any_number_of_workers(client: Client, rows: Path) -> None:
    jobs = [client.submit(planted(rows, "skip_step"), workers=workers) for workers in (1, 2, 3)]
    done = [client.wait(job) for job in jobs]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert len({job.receipt.weights_sha256 for job in done}) == 1
    told = [[event.message for event in incidents(client, job)] for job in done]
    assert len(told[0]) == 3 and told == [told[0]] * 3


def test_a_job_is_rolled_back_alike_on_any_number_of_workers(client: Client, rows: Path) -> None:
    jobs = [client.submit(too_fast(rows), workers=workers) for workers in (1, 3)]
    done = [client.wait(job) for job in jobs]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {job.receipt.roll_backs for job in done} == {done[0].receipt.roll_backs} != {0}
    assert len({job.receipt.weights_sha256 for job in done}) == 1
    for job in done:
        told = [event for event in incidents(client, job) if event.reason is Reason.ROLLED_BACK]
        assert len(told) == job.receipt.roll_backs
        assert f"Back to step {told[-1].step} with learning rates × 0.0001" in told[-1].message
