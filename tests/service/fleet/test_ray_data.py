"""Workers on Ray get a job's data from the depot where it is worth it, and the same rows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradloom.service.fleet.group import Fleet, WorkerGroup
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Task
from tests.ray_here import prepared
from tests.service.fleet.workers import ready
from tests.worker.jobs import task_in

pytestmark = [pytest.mark.process, pytest.mark.ray]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with prepared():
        from gradloom.service.fleet.ray_fleet import RayFleet

        fleet = RayFleet(None, cpus=2, profile=PROFILE_DEFAULT)
        yield fleet
        fleet.close()


@pytest.fixture
def group(fleet: Fleet, tmp_path: Path) -> Iterator[WorkerGroup]:
    group = fleet.group("job", 2, tmp_path / "logs", PROFILE_DEFAULT)
    yield group
    group.close()


def test_a_worker_trains_on_a_file_that_is_gone_once_the_depot_has_it(
    group: WorkerGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradloom.service.fleet import ray_data

    monkeypatch.setattr(ray_data, "SHARED_FROM_BYTES", 1)
    task = task_in(tmp_path)
    ready(group, task)
    (tmp_path / "rows.npz").rename(tmp_path / "elsewhere.npz")
    monkeypatch.setattr(ray_data, "_data_bytes", lambda _: 1)
    ready(group, task, worker=1)


def test_small_data_on_a_ray_of_our_own_needs_no_depot(fleet: Fleet, tmp_path: Path) -> None:
    from gradloom.service.fleet.ray_data import RayData

    assert fleet.cpus == 2
    task: Task = task_in(tmp_path)
    assert RayData(is_cluster=False).told(task) == task
    np.save(tmp_path / "large.npy", np.zeros(5_000_000))
    large = replace(task, data=replace(task.data, path="", files=(("x", "large.npy"),)))
    assert RayData(is_cluster=False).told(large).depot.startswith("gradloom-depot-")
