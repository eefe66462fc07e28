"""Worker processes on this machine: pinned arithmetic, deaths that are noticed, nothing left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloom.service.fleet.group import Answered, Gone, Ready, WorkerEvent
from gradloom.service.fleet.local_group import LocalFleet, LocalGroup
from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import Compute, Order, Task
from tests.worker.jobs import task_in

pytestmark = pytest.mark.process


@pytest.fixture
def group(tmp_path: Path) -> Iterator[LocalGroup]:
    group = LocalFleet().group("job", 1, tmp_path / "logs")
    yield group
    group.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return task_in(tmp_path)


def next_event(group: LocalGroup) -> WorkerEvent:
    while not (events := group.poll(1.0)):
        pass
    (event,) = events
    return event


def ready(group: LocalGroup, task: Task, worker: int = 0) -> int:
    """Starts a worker; its process id."""
    group.start(worker, task, None)
    event = next_event(group)
    assert isinstance(event, Ready)
    return int(str(event.answer.facts["pid"]))


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_worker_answers_orders(group: LocalGroup, task: Task) -> None:
    ready(group, task)
    group.order(0, Order(1, 0, Compute(0, 8)))
    event = next_event(group)
    assert isinstance(event, Answered)
    assert event.answer.round == 1


def test_a_killed_worker_is_noticed_with_its_signal(group: LocalGroup, task: Task) -> None:
    os.kill(ready(group, task), signal.SIGKILL)
    event = next_event(group)
    assert isinstance(event, Gone)
    assert event.reason is Reason.WORKER_LOST
    assert "killed by signal 9 (SIGKILL)" in event.message


def test_an_order_to_a_dead_worker_is_not_an_error_of_ours(group: LocalGroup, task: Task) -> None:
    pid = ready(group, task)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    group.order(0, Order(1, 0, Compute(0, 8)))
    assert isinstance(next_event(group), Gone)


def test_a_stopped_worker_is_gone_at_once(group: LocalGroup, task: Task) -> None:
    pid = ready(group, task)
    group.stop(0)
    assert not is_running(pid)


def test_closing_leaves_no_process(group: LocalGroup, task: Task) -> None:
    pids = [ready(group, task, worker) for worker in range(2)]
    group.close()
    assert not any(is_running(pid) for pid in pids)


def test_a_worker_that_cannot_load_its_data_says_why(
    group: LocalGroup, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "rows.npz").unlink()
    group.start(0, task, None)
    event = next_event(group)
    assert isinstance(event, Gone)
    assert event.reason is Reason.DATA_UNREADABLE


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {
            "OPENBLAS_CORETYPE": "SkylakeX",
            "OPENBLAS_NUM_THREADS": "2",
            "OMP_NUM_THREADS": "2",
            "PYTHONHASHSEED": "1",
            "NPY_ENABLE_CPU_FEATURES": "AVX2",
        },
    ],
    ids=["usual", "hostile"],
)
def test_the_callers_environment_does_not_reach_the_arithmetic(
    group: LocalGroup, task: Task, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pid = ready(group, task)
    kept = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {"OPENBLAS_CORETYPE=Haswell", "OPENBLAS_NUM_THREADS=1", "PYTHONHASHSEED=0"} <= set(kept)
    assert "NPY_ENABLE_CPU_FEATURES=AVX2" not in kept
