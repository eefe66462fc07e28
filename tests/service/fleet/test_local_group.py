"""What only processes on this machine have: an environment and a signal that one can read."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloom.service.fleet.group import Alive, Ready, WorkerEvent, WorkerGroup
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.jobs.states import Reason
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.faults import VARIABLE
from gradloom.worker.shell import MOST_LOG_BYTES
from tests.service.fleet.workers import answered, asked, gone, next_event, next_events, ready
from tests.worker.jobs import task_in

pytestmark = pytest.mark.process


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[LocalFleet]:
    fleet = LocalFleet(ProcessPool(0, tmp_path / "pool", PROFILE_DEFAULT))
    yield fleet
    fleet.close()


@pytest.fixture
def group(fleet: LocalFleet, tmp_path: Path) -> Iterator[WorkerGroup]:
    group = fleet.group("job", 1, tmp_path / "logs", PROFILE_DEFAULT)
    yield group
    group.close()


def test_a_death_is_told_with_its_signal(group: WorkerGroup, tmp_path: Path) -> None:
    os.kill(ready(group, task_in(tmp_path)), signal.SIGKILL)
    assert "died by signal 9 (SIGKILL)" in gone(group).message


def test_f63_a_log_that_has_grown_long_is_cut_and_goes_on(
    group: WorkerGroup, tmp_path: Path
) -> None:
    pid, log = ready(group, task_in(tmp_path)), tmp_path / "logs" / "worker-0.log"
    with log.open("a") as worker:  # as it would write it
        worker.writelines(f"a warning, the {number}th\n" for number in range(600_000))
    assert log.stat().st_size > MOST_LOG_BYTES
    group.order(0, asked(0, 1))
    answered(group)
    assert log.stat().st_size == MOST_LOG_BYTES // 2
    os.kill(pid, signal.SIGKILL)
    assert gone(group).log[-1] == "a warning, the 599999th"


def test_an_order_to_a_dead_worker_is_not_an_error_of_ours(
    group: WorkerGroup, tmp_path: Path
) -> None:
    pid = ready(group, task_in(tmp_path))
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    group.order(0, asked(0, 1))
    assert gone(group).reason is Reason.WORKER_LOST


def test_orders_to_a_frozen_worker_keep_nobody_waiting(group: WorkerGroup, tmp_path: Path) -> None:
    task = task_in(tmp_path)
    pid = ready(group, task)
    os.kill(pid, signal.SIGSTOP)
    for number in range(1, 5):
        group.start(number, task, None)
        group.order(0, asked(0, number, work=b"more than a socket takes" * 50_000))  # type: ignore[arg-type]
    others: set[int] = set()
    while len(others) < 4:
        others |= {event.worker for event in group.poll(60.0) if isinstance(event, Ready)}
    assert others == {1, 2, 3, 4}
    os.kill(pid, signal.SIGCONT)
    assert gone(group).reason is Reason.WORKER_ERROR


def test_f52_a_worker_whose_read_stalls_says_that_it_lives_and_what_it_reads(
    group: WorkerGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "worker.data.read:sleep@seconds=2")
    group.start(0, task_in(tmp_path), None)
    seen = next_events(group, is_reading)
    assert [event.worker for event in seen] == [0]
    assert isinstance(next_event(group), Ready)
    group.order(0, asked(0, 1))
    assert answered(group).answer.round == 1


def is_reading(event: WorkerEvent) -> bool:
    return isinstance(event, Alive) and event.beat.facts.get("reads") == "rows.npz"


def test_a_worker_that_cannot_start_tells_its_last_words(tmp_path: Path) -> None:
    fleet = LocalFleet(ProcessPool(0, tmp_path, PROFILE_DEFAULT, module="gradloom.no_such"))
    group = fleet.group("job", 1, tmp_path / "logs", PROFILE_DEFAULT)
    group.start(0, task_in(tmp_path), None)
    event = gone(group)
    fleet.close()
    assert event.reason is Reason.WORKER_START_FAILED
    assert "No module named gradloom.no_such" in event.message
    assert "No module named gradloom.no_such" in event.log[-1]


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
    group: WorkerGroup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pid = ready(group, task_in(tmp_path))
    kept = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {"OPENBLAS_CORETYPE=Haswell", "OPENBLAS_NUM_THREADS=1", "PYTHONHASHSEED=0"} <= set(kept)
    assert "NPY_ENABLE_CPU_FEATURES=AVX2" not in kept
