"""What every group of workers does, as processes here or as actors of Ray."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloom.service.fleet.group import Answered, Fleet, Gone, WorkerGroup
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.ray_environment import prepare
from gradloom.service.jobs.states import Reason
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Compute, Content, Order, Snapshot, Task
from tests.service.fleet.workers import is_running, next_event, ready
from tests.worker.jobs import task_in

pytestmark = pytest.mark.process


def ray_fleet(folder: Path) -> Fleet:
    prepare(os.environ, folder / "token")
    from gradloom.service.fleet.ray_group import RayFleet

    return RayFleet(None, cpus=2)


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    before = dict(os.environ)
    is_local = request.param == "local"
    fleet = LocalFleet() if is_local else ray_fleet(tmp_path_factory.mktemp("ray"))
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
        group.order(0, Order(number, 0, Compute(0, 8)))
        event = next_event(group)
        assert isinstance(event, Answered)
        rounds.append(event.answer.round)
    assert rounds == [1, 2]


def test_a_worker_begins_from_a_state(group: WorkerGroup, task: Task) -> None:
    ready(group, task)
    group.order(0, Order(1, 0, Snapshot(Content.STATE)))
    event = next_event(group)
    assert isinstance(event, Answered)
    ready(group, task, worker=1, state=bytes(event.answer.body))


def test_a_killed_worker_is_noticed(group: WorkerGroup, task: Task) -> None:
    pid = ready(group, task)
    os.kill(pid, signal.SIGKILL)
    group.order(0, Order(1, 0, Compute(0, 8)))
    event = next_event(group)
    assert isinstance(event, Gone)
    assert (event.worker, event.reason) == (0, Reason.WORKER_LOST)


def test_a_replacement_takes_the_room_of_the_dead(group: WorkerGroup, task: Task) -> None:
    os.kill(ready(group, task, 0), signal.SIGKILL)
    group.order(0, Order(1, 0, Compute(0, 8)))
    assert isinstance(next_event(group), Gone)
    group.stop(0)
    ready(group, task, 1)
    ready(group, task, 2)


def test_an_order_to_a_worker_that_was_stopped_goes_nowhere(group: WorkerGroup, task: Task) -> None:
    ready(group, task)
    group.stop(0)
    group.order(0, Order(1, 0, Compute(0, 8)))
    assert group.poll(0.0) == ()


def test_closing_leaves_no_worker(group: WorkerGroup, task: Task) -> None:
    pid = ready(group, task)
    handle = os.pidfd_open(pid)
    group.close()
    select.select([handle], [], [], 10)
    os.close(handle)
    assert not is_running(pid)


def test_a_worker_that_cannot_load_its_data_says_why(
    group: WorkerGroup, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "rows.npz").unlink()
    group.start(0, task, None)
    event = next_event(group)
    assert isinstance(event, Gone)
    assert event.reason is Reason.DATA_UNREADABLE
