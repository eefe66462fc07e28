"""What the SQL store promises beyond a JobStore: it outlives crashes and damage."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from gradloom.service.errors import Unavailable, WrongState
from gradloom.service.jobs import sql_store
from gradloom.service.jobs.job import Checkpoint, IncidentHappened, Job, StateChanged
from gradloom.service.jobs.sql_store import SqlStore, open_store
from gradloom.service.jobs.sqlite import StoreUnusable
from gradloom.service.jobs.states import Reason, State
from gradloom.service.jobs.store import Clock
from gradloom.service.wire import job_from_wire, job_to_wire

NewJob = Callable[..., Job]

STARTING = StateChanged(State.STARTING, Reason.SCHEDULED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqlStore]:
    store = open_store(path, clock)
    yield store
    store.close()


@pytest.fixture
def two_jobs(store: SqlStore, new_job: NewJob) -> SqlStore:
    for id_ in ("bad", "good"):
        store.create(new_job(id_), request_id="", content="")
    store.record("jobs/bad", STARTING)
    return store


def damage(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_everything_is_there_after_a_restart(path: Path, clock: Clock, new_job: NewJob) -> None:
    store = open_store(path, clock)
    store.create(new_job("a"), request_id="r", content="x")
    job = store.record("jobs/a", STARTING)
    history = store.history("jobs/a", 0, 10)
    store.add_checkpoint("jobs/a", Checkpoint(5, 100, "ab"), "/c/5")
    store.close()
    again = open_store(path, clock)
    assert again.get("jobs/a") == job == again.requested("r", "x")
    assert again.history("jobs/a", 0, 10) == history
    assert len(again.checkpoints("jobs/a")) == 1
    again.close()


def test_others_write_while_a_long_history_is_read_to_be_thinned(
    two_jobs: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*_: object) -> tuple[int, ...]:
        other = Thread(target=lambda: two_jobs.record("jobs/good", STARTING), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
        return ()

    monkeypatch.setattr(sql_store, "forgotten", slowly)
    incident = IncidentHappened(Reason.WORKER_LOST, "gone", 1)
    two_jobs.record("jobs/bad", *[incident] * 10_000)
    assert two_jobs.get("jobs/good").state is State.STARTING


def test_f30_a_second_service_is_refused(store: SqlStore, path: Path, clock: Clock) -> None:
    with pytest.raises(StoreUnusable, match="is used by pid"):
        open_store(path, clock)
    assert store.list(10) == ()


def test_a_failed_opening_lets_go_of_the_store(path: Path, clock: Clock) -> None:
    path.write_bytes(b"not a database, whatever its name says. " * 100)
    with pytest.raises(StoreUnusable, match="cannot be read"):
        open_store(path, clock)
    path.unlink()
    open_store(path, clock).close()


DAMAGES = {
    "the body": "UPDATE jobs SET body = x'ffff' || body WHERE name = 'jobs/bad'",
    "one bit of the body": "UPDATE jobs SET body = replace(body, 'digits', 'eigits')"
    " WHERE name = 'jobs/bad'",
    "the state": "UPDATE jobs SET state = 'STARTINH' WHERE name = 'jobs/bad'",
    "the time": "UPDATE jobs SET create_time = 9223372036854775807 WHERE name = 'jobs/bad'",
    "the revision": "UPDATE jobs SET revision = 'x' WHERE name = 'jobs/bad'",
    "the text encoding": "UPDATE jobs SET uid = CAST(x'ff' AS TEXT) WHERE name = 'jobs/bad'",
    "the checksum": "UPDATE jobs SET checksum = x'00' WHERE name = 'jobs/bad'",
}


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES.keys())
def test_f35_a_damaged_job_is_failed_and_the_others_are_served(
    two_jobs: SqlStore, path: Path, statement: str
) -> None:
    damage(path, statement)
    bad = two_jobs.get("jobs/bad")
    assert (bad.state, bad.reason) == (State.FAILED, Reason.STATE_UNREADABLE)
    assert {job.name for job in two_jobs.list(10)} == {"jobs/bad", "jobs/good"}
    assert [job.name for job in two_jobs.unfinished()] == ["jobs/good"]
    assert sum(two_jobs.count().values()) >= 1


def test_f35_a_damaged_job_is_left_as_it_is(two_jobs: SqlStore, path: Path) -> None:
    damage(path, DAMAGES["the body"])
    with pytest.raises(WrongState, match="readable record"):
        two_jobs.record("jobs/bad", IncidentHappened(Reason.WORKER_LOST, ""))
    with pytest.raises(WrongState):
        two_jobs.cancel("jobs/bad")


def test_f35_a_damaged_job_can_be_sent(two_jobs: SqlStore, path: Path) -> None:
    damage(path, DAMAGES["the body"])
    bad = two_jobs.get("jobs/bad")
    assert job_from_wire(job_to_wire(bad)) == bad


def test_f40_a_damaged_event_is_said_to_be_one(two_jobs: SqlStore, path: Path) -> None:
    damage(path, "UPDATE events SET body = x'00' WHERE name = 'jobs/bad' AND revision = 1")
    first, second = two_jobs.history("jobs/bad", 0, 10)
    assert isinstance(first.event, IncidentHappened)
    assert (first.revision, first.event.reason) == (1, Reason.STATE_UNREADABLE)
    assert second.event == STARTING


def test_f40_a_damaged_checkpoint_is_not_offered(two_jobs: SqlStore, path: Path) -> None:
    for step in (1, 2):
        two_jobs.add_checkpoint("jobs/good", Checkpoint(step, 100, "ab"), f"/c/{step}")
    damage(path, "UPDATE checkpoints SET sha256 = 'cd' WHERE step = 2")
    assert [kept.checkpoint.step for kept in two_jobs.checkpoints("jobs/good")] == [1]


def test_f38_a_locked_store_is_unavailable(path: Path, clock: Clock, new_job: NewJob) -> None:
    store = open_store(path, clock, busy_seconds=0.02)
    store.create(new_job("a"), request_id="", content="")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy"):
            store.record("jobs/a", STARTING)
        assert store.get("jobs/a").state is State.QUEUED
        other.execute("ROLLBACK")
    other.close()
    assert store.record("jobs/a", STARTING).state is State.STARTING
    store.close()


def test_f41_a_deleted_store_takes_no_more_jobs(
    store: SqlStore, path: Path, new_job: NewJob
) -> None:
    path.unlink()
    with pytest.raises(Unavailable, match="deleted or replaced"):
        store.create(new_job(), request_id="", content="")


# Creates jobs and moves each to STARTING, and says so once the store has it.
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path

from gradloom.service.jobs.job import Job, StateChanged
from gradloom.service.jobs.rows import UNKNOWN_SPEC as SPEC
from gradloom.service.jobs.sql_store import open_store
from gradloom.service.jobs.states import Reason, State

store = open_store(Path(sys.argv[1]), lambda: datetime.now(UTC))
first = len(store.list(100_000))
for number in range(first, first + 100_000):
    now = datetime.now(UTC)
    job = Job(f"jobs/{number}", str(number), SPEC, create_time=now, update_time=now)
    store.create(job, request_id=str(number), content="")
    print("created", job.name, flush=True)
    store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    print("started", job.name, flush=True)
"""


@pytest.mark.process
def test_f28_a_killed_writer_loses_nothing_it_acknowledged(path: Path, clock: Clock) -> None:
    draw = random.Random(3)
    for _ in range(5):
        acknowledged = lines_before_the_kill(path, draw.randint(1, 40))
        store = open_store(path, clock)
        for word, name in (line.split() for line in acknowledged):
            assert store.get(name).revision >= {"created": 1, "started": 2}[word]
        for job in store.list(100_000):
            assert_whole(store, job)
        store.close()


def lines_before_the_kill(path: Path, number: int) -> list[str]:
    """What a writer said before it was killed, in the midst of its work."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(number)]
        process.kill()
        return lines + process.stdout.readlines()


def assert_whole(store: SqlStore, job: Job) -> None:
    """Job, history and request of one name agree: all of a write is there or none."""
    history = store.history(job.name, 0, 10)
    assert [record.revision for record in history] == list(range(1, job.revision + 1))
    assert history[-1].job == job
    assert store.requested(job.name.removeprefix("jobs/"), "") == job
