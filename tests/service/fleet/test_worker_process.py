"""Spare workers are real processes that a job takes, and that leave nothing behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.worker_process import Spares, WorkerProcess
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from tests.service.fleet.workers import is_running, ready
from tests.worker.jobs import task_in

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


@pytest.fixture
def spares(tmp_path: Path) -> Iterator[Spares]:
    spares = Spares(2, tmp_path / "spares", PROFILE_DEFAULT)
    yield spares
    spares.close()


def taken(spares: Spares, log: Path) -> WorkerProcess:
    """A spare; the thread that starts them may not have come so far."""
    while (spare := spares.take(log, PROFILE_DEFAULT)) is None:
        os.sched_yield()
    return spare


def test_a_job_takes_a_spare_process_and_its_log(spares: Spares, tmp_path: Path) -> None:
    spare = taken(spares, tmp_path / "spare.log")
    spares._ready.appendleft(spare)
    group = LocalFleet(spares=spares).group("job", 1, tmp_path / "logs", PROFILE_DEFAULT)
    pid = ready(group, task_in(tmp_path))
    assert pid == spare.process.pid
    assert (tmp_path / "logs" / "worker-0.log").exists()
    assert not spare.log.exists()
    group.close()


def test_a_spare_that_was_killed_is_not_taken(spares: Spares, tmp_path: Path) -> None:
    victim = taken(spares, tmp_path / "victim.log")
    spares._ready.appendleft(victim)
    os.kill(victim.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, victim.process.pid, os.WEXITED | os.WNOWAIT)
    other = taken(spares, tmp_path / "other.log")
    assert other.process.pid != victim.process.pid
    other.end()


def test_a_job_of_another_profile_takes_none(spares: Spares, tmp_path: Path) -> None:
    taken(spares, tmp_path / "one.log").end()
    assert spares.take(tmp_path / "other.log", "native") is None


def test_closing_ends_every_spare(tmp_path: Path) -> None:
    spares = Spares(1, tmp_path, PROFILE_DEFAULT)
    spare = taken(spares, tmp_path / "spare.log")
    spares._ready.append(spare)
    spares.close()
    assert not is_running(spare.process.pid)


def test_a_job_that_ends_has_its_spares_replaced(spares: Spares, tmp_path: Path) -> None:
    for _ in range(2):
        taken(spares, tmp_path / "log").end()
    LocalFleet(spares=spares).group("job", 1, tmp_path / "logs", PROFILE_DEFAULT).close()
    taken(spares, tmp_path / "log").end()
