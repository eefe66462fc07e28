"""Warm workers are real processes: jobs take them and give them back, and nothing is left."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from tests.service.fleet.workers import is_running

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessPool]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    folder, module = tmp_path / "pool", "tests.service.fleet.resting_worker"
    pool = ProcessPool(2, folder, PROFILE_DEFAULT, most=3, clock=clock, module=module)
    yield pool
    pool.close()


def until(pool: ProcessPool, is_so: Callable[[], bool]) -> set[int]:
    """The processes that wait, once something is so; a thread of the pool's makes it so."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, pool.idle
        os.sched_yield()
    return set(pool.idle)


def idle(pool: ProcessPool, count: int) -> set[int]:
    """The processes that wait, once there are so many."""
    return until(pool, lambda: len(pool.idle) == count)


def until_ended(pid: int) -> None:
    """Waits until a process has ended."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        assert select.select([handle], [], [], 30)[0]
        os.close(handle)


def test_a_job_takes_a_process_that_waits_and_its_log(pool: ProcessPool, tmp_path: Path) -> None:
    waiting = idle(pool, 2)
    worker = pool.take(tmp_path / "job.log", PROFILE_DEFAULT)
    assert worker.pid in waiting
    assert (tmp_path / "job.log").exists()
    assert len(list((tmp_path / "pool").iterdir())) == 1
    worker.end()


def test_a_process_that_comes_back_is_the_next_to_be_taken(
    pool: ProcessPool, tmp_path: Path
) -> None:
    idle(pool, 2)
    worker = pool.take(tmp_path / "one.log", PROFILE_DEFAULT)
    pool.give_back(worker, PROFILE_DEFAULT, owes=0)
    idle(pool, 2)
    again = pool.take(tmp_path / "two.log", PROFILE_DEFAULT)
    assert again.pid == worker.pid
    assert (tmp_path / "one.log").exists()
    again.end()


def test_none_are_started_while_the_others_of_a_job_come_back(
    pool: ProcessPool, tmp_path: Path
) -> None:
    waiting = idle(pool, 2)
    first, second = (pool.take(tmp_path / f"{number}.log", PROFILE_DEFAULT) for number in (1, 2))
    pool.give_back(first, PROFILE_DEFAULT, owes=0)
    assert idle(pool, 1) == {first.pid}
    pool.give_back(second, PROFILE_DEFAULT, owes=0)
    assert idle(pool, 2) == waiting


def test_one_that_never_worked_makes_room_for_one_that_comes_back(
    pool: ProcessPool, tmp_path: Path, clock: Clock
) -> None:
    idle(pool, 2)
    worked = [pool.take(tmp_path / f"{number}.log", PROFILE_DEFAULT) for number in (1, 2)]
    clock.seconds = 31.0
    pool.refill()
    idle(pool, 2)
    for number, worker in enumerate(worked):
        pool.give_back(worker, PROFILE_DEFAULT, owes=0)
        pids = until(pool, lambda pid=worker.pid: pid in pool.idle)
        assert len(pids) == 3
        assert pids >= {each.pid for each in worked[: number + 1]}


def test_one_that_does_not_forget_its_job_in_time_is_ended(
    pool: ProcessPool, tmp_path: Path, clock: Clock
) -> None:
    idle(pool, 2)
    worker = pool.take(tmp_path / "one.log", PROFILE_DEFAULT)
    os.kill(worker.pid, signal.SIGSTOP)
    pool.give_back(worker, PROFILE_DEFAULT, owes=0)
    clock.seconds = 6.0
    pool.refill()
    assert worker.pid not in idle(pool, 2)
    assert not is_running(worker.pid)


def test_more_than_asked_for_are_let_go_after_minutes(
    pool: ProcessPool, tmp_path: Path, clock: Clock
) -> None:
    idle(pool, 2)
    workers = [pool.take(tmp_path / f"{number}.log", PROFILE_DEFAULT) for number in range(3)]
    for worker in workers:
        pool.give_back(worker, PROFILE_DEFAULT, owes=0)
    pids = idle(pool, 3)
    clock.seconds = 181.0
    pool.refill()
    (ended,) = pids - idle(pool, 2)
    until_ended(ended)


def test_one_that_dies_while_it_waits_is_replaced(pool: ProcessPool, clock: Clock) -> None:
    victim = min(idle(pool, 2))
    os.kill(victim, signal.SIGKILL)
    idle(pool, 1)
    clock.seconds = 60.0
    pool.refill()
    assert victim not in idle(pool, 2)


def test_a_process_of_another_profile_is_started_for_its_job_and_ends_with_it(
    pool: ProcessPool, tmp_path: Path
) -> None:
    waiting = idle(pool, 2)
    worker = pool.take(tmp_path / "other.log", "native")
    assert worker.pid not in waiting
    pool.give_back(worker, "native", owes=0)
    assert not is_running(worker.pid)


def test_closing_ends_every_process_that_waits(tmp_path: Path) -> None:
    pool = ProcessPool(2, tmp_path, PROFILE_DEFAULT)
    pids = idle(pool, 2)
    pool.close()
    assert not any(map(is_running, pids))


def test_a_pool_of_none_keeps_none(tmp_path: Path) -> None:
    pool = ProcessPool(0, tmp_path, PROFILE_DEFAULT, most=4)
    worker = pool.take(tmp_path / "log", PROFILE_DEFAULT)
    pool.give_back(worker, PROFILE_DEFAULT, owes=0)
    assert not is_running(worker.pid)
    pool.close()
