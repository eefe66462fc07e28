"""What a run does is written in few transactions, and nothing of it is lost on the way."""

from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.jobs.job import Assignment, Job, StateChanged
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.events import End
from gradloom.service.training.journal import Journal
from gradloom.service.training.surroundings import Surroundings
from tests.service.training.floor_in_process import InProcessFleet, spec, submit, surroundings

ASSIGNED = (Assignment(0, "node-0", 7, 0, 4),)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return surroundings(tmp_path, InProcessFleet())


@pytest.fixture
def job(around: Surroundings) -> Job:
    job = submit(around, spec())
    return around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))


@pytest.fixture
def journal(around: Surroundings, job: Job) -> Journal:
    return Journal(job.name, around)


def test_all_that_happens_before_a_job_runs_is_one_transaction(
    journal: Journal, around: Surroundings, job: Job
) -> None:
    commits: list[str] = []
    around.store.subscribe(commits.append)
    journal.attempt_begins(0)
    journal.arithmetic("default", "ab" * 32)
    journal.assigned(ASSIGNED, 1)
    journal.runs("Workers are ready: 1.")
    assert not commits
    journal.write()
    assert commits == [job.name]
    written = around.store.get(job.name)
    assert written == journal.job
    assert (written.state, written.assignments) == (State.RUNNING, ASSIGNED)
    assert written.receipt.selftest_sha256 == "ab" * 32
    assert [attempt.number for attempt in written.attempts] == [1]


def test_what_was_changed_is_written_once_without_an_event(
    journal: Journal, around: Surroundings, job: Job
) -> None:
    journal.attempt_begins(0)
    journal.write()
    commits: list[str] = []
    around.store.subscribe(commits.append)
    journal.write()
    assert not commits
    assert around.store.get(job.name).attempts == journal.job.attempts != ()


def test_what_was_changed_outlives_a_user_who_cancels_meanwhile(
    journal: Journal, around: Surroundings, job: Job
) -> None:
    journal.attempt_begins(0)
    journal.runs("Workers are ready: 1.")
    around.store.cancel(job.name)
    journal.write()
    assert around.store.get(job.name).attempts == journal.job.attempts != ()
    journal.attempt_ends(End(State.CANCELLED, Reason.CANCEL_REQUESTED, "Cancelled."))
    journal.move(State.CANCELLED, Reason.CANCEL_REQUESTED)
    ended = around.store.get(job.name)
    assert ended.state is State.CANCELLED
    assert [attempt.cause for attempt in ended.attempts] == [Reason.CANCEL_REQUESTED]


def test_a_job_that_ran_for_a_moment_says_so_before_it_is_suspended(
    journal: Journal, around: Surroundings, job: Job
) -> None:
    journal.runs("Workers are ready: 1.")
    journal.suspended(Reason.RAY_UNREACHABLE, "Ray is gone.")
    states = [transition.state for transition in around.store.get(job.name).transitions]
    assert states[-2:] == [State.RUNNING, State.RECOVERING]


def test_what_others_write_meanwhile_is_left_as_it_is(
    journal: Journal, around: Surroundings, job: Job
) -> None:
    journal.attempt_begins(0)
    labels = (("owner", "ada"),)
    around.store.update(job.name, lambda job: replace(job, labels=labels))
    journal.write()
    assert journal.job.labels == labels
    assert around.store.get(job.name) == journal.job
