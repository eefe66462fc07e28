"""What every group of workers does, as processes here or as actors of Ray."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradloom.service.fleet.group import Fleet, WorkerGroup
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.fleet.ray_environment import prepare
from gradloom.service.jobs.states import Reason
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Task
from tests.ray_here import token
from tests.service.fleet.workers import answered, asked, gone, is_running, ready
from tests.worker.jobs import task_in

pytestmark = pytest.mark.process


def local_fleet(folder: Path) -> Fleet:
    return LocalFleet(ProcessPool(1, folder, PROFILE_DEFAULT, most=2), cpus=2)


def ray_fleet(folder: Path) -> Fleet:
    prepare(os.environ, token())
    from gradloom.service.fleet.ray_fleet import RayFleet

    return RayFleet(None, cpus=2, warm=1, profile=PROFILE_DEFAULT)


@pytest.fixture(
    scope="module", params=[local_fleet, pytest.param(ray_fleet, marks=pytest.mark.ray)]
)
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    before = dict(os.environ)
    open_fleet: Callable[[Path], Fleet] = request.param
    fleet = open_fleet(tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.close()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def group(fleet: Fleet, tmp_path: Path) -> Iterator[WorkerGroup]:
    group = fleet.group("job", 2, tmp_path / "logs", PROFILE_DEFAULT)
    yield group
    group.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return task_in(tmp_path)


def test_a_worker_answers_orders_in_turn(group: WorkerGroup, task: Task) -> None:
    ready(group, task)
    rounds = []
    for number in (1, 2):
        group.order(0, asked(0, number))
        rounds.append(answered(group).answer.round)
    assert rounds == [1, 2]


def test_a_worker_begins_from_a_state(group: WorkerGroup, task: Task) -> None:
    ready(group, task)
    group.order(0, asked(0, 1))
    ready(group, task, worker=1, state=bytes(answered(group).answer.body))


def test_a_killed_worker_is_noticed_though_nothing_is_asked_of_it(
    group: WorkerGroup, task: Task
) -> None:
    os.kill(ready(group, task), signal.SIGKILL)
    event = gone(group)
    assert (event.worker, event.reason) == (0, Reason.WORKER_LOST)
    assert event.node


def test_a_group_grows_and_gives_room_back(group: WorkerGroup, task: Task) -> None:
    first = ready(group, task, 0)
    others = [ready(group, task, worker) for worker in (1, 2, 3)]
    assert all(group.stop(worker) for worker in (1, 2, 3))
    assert is_running(first)
    assert not any(map(is_running, others))
    ready(group, task, 4)


def test_a_frozen_worker_is_gone_when_stop_returns(group: WorkerGroup, task: Task) -> None:
    pid = ready(group, task)
    os.kill(pid, signal.SIGSTOP)
    assert group.stop(0)
    assert not is_running(pid)


def test_an_order_to_a_worker_that_was_stopped_goes_nowhere(group: WorkerGroup, task: Task) -> None:
    ready(group, task)
    group.stop(0)
    group.order(0, asked(0, 1))
    assert group.poll(0.0) == ()


def test_a_worker_that_did_well_serves_the_next_job(fleet: Fleet, tmp_path: Path) -> None:
    group = fleet.group("one", 1, tmp_path / "one", PROFILE_DEFAULT)
    pid = ready(group, task_in(tmp_path))
    group.order(0, asked(0, 1))
    answered(group)
    group.close()
    # Another that waits may be the first to be taken.
    group = fleet.group("two", 2, tmp_path / "two", PROFILE_DEFAULT)
    assert pid in [ready(group, task_in(tmp_path), worker) for worker in (0, 1)]
    group.close()


def test_a_worker_that_failed_serves_nobody(fleet: Fleet, tmp_path: Path) -> None:
    group = fleet.group("broken", 1, tmp_path / "broken", PROFILE_DEFAULT)
    pid = ready(group, task_in(tmp_path))
    group.order(0, asked(0, 1, work="no work at all"))  # type: ignore[arg-type]
    assert gone(group).reason is Reason.WORKER_ERROR
    group.close()
    assert not is_running(pid)


def test_what_a_failed_worker_wrote_is_told(group: WorkerGroup, task: Task, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").unlink()
    group.start(0, task, None)
    event = gone(group)
    assert event.reason is Reason.DATA_UNREADABLE
    assert any("rows.npz" in line for line in event.log)
