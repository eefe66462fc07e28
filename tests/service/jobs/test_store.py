"""What every JobStore promises, tried on both."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gradloom.service.errors import AlreadyExists, Conflict, NotFound, WrongState
from gradloom.service.jobs.job import (
    Checkpoint,
    CheckpointWritten,
    Event,
    IncidentHappened,
    Job,
    Metric,
    Progress,
    Progressed,
    Queue,
    ResourcesChanged,
    StateChanged,
)
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.sql_store import open_store
from gradloom.service.jobs.states import TRANSITIONS, Reason, State
from gradloom.service.jobs.store import Clock, JobStore, Position
from gradloom.service.jobs.thinning import MOST_EVENTS

NewJob = Callable[..., Job]

STARTING = StateChanged(State.STARTING, Reason.SCHEDULED)
RUNNING = StateChanged(State.RUNNING, Reason.WORKERS_READY)
SUCCEEDED = StateChanged(State.SUCCEEDED, Reason.COMPLETED)

# Events that lead from QUEUED to each state.
PATHS: dict[State, tuple[Event, ...]] = {
    State.QUEUED: (),
    State.STARTING: (STARTING,),
    State.RUNNING: (STARTING, RUNNING),
    State.RECOVERING: (STARTING, RUNNING, StateChanged(State.RECOVERING, Reason.WORKER_LOST)),
    State.PAUSING: (STARTING, RUNNING, StateChanged(State.PAUSING, Reason.CREATED)),
    State.PAUSED: (StateChanged(State.PAUSED, Reason.CREATED),),
    State.CANCELLING: (StateChanged(State.CANCELLING, Reason.CANCEL_REQUESTED),),
    State.SUCCEEDED: (STARTING, RUNNING, SUCCEEDED),
    State.FAILED: (StateChanged(State.FAILED, Reason.NON_FINITE, "the loss is infinite"),),
    State.CANCELLED: (
        StateChanged(State.CANCELLING, Reason.CANCEL_REQUESTED),
        StateChanged(State.CANCELLED, Reason.CANCEL_REQUESTED),
    ),
}
PROGRESS = Progress(
    step=7,
    steps=90,
    epoch=1,
    epochs=3,
    samples=448,
    samples_per_second=1000.0,
    loss=0.5,
    learning_rate=0.1,
    gradient_norm=2.0,
    metrics=(Metric("accuracy", "validation", 0.9, 7, 0),),
    workers=2,
)


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    store: JobStore = (
        MemoryStore(clock) if request.param == "memory" else open_store(tmp_path / "jobs.db", clock)
    )
    yield store
    store.close()


@pytest.fixture
def job(store: JobStore, new_job: NewJob) -> Job:
    return created(store, new_job())


def created(store: JobStore, job: Job) -> Job:
    return store.create(job, request_id="", content="")


def test_a_new_job_is_queued_and_its_history_begins_with_that(store: JobStore, job: Job) -> None:
    (first,) = store.history(job.name, 0, 10)
    assert (first.revision, first.event) == (1, StateChanged(State.QUEUED, Reason.CREATED))
    assert first.job == job == store.get(job.name)


def test_a_job_comes_back_as_it_was_put_in(store: JobStore, new_job: NewJob) -> None:
    job = replace(new_job(), labels=(("team", "a"),))
    assert created(store, job) == store.get(job.name)
    assert store.get(job.name).labels == (("team", "a"),)
    assert store.get(job.name).spec == job.spec


def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    reads: list[Callable[[], object]] = [
        lambda: store.get("jobs/none"),
        lambda: store.history("jobs/none", 0, 10),
        lambda: store.record("jobs/none", STARTING),
        lambda: store.update("jobs/none", lambda job: job),
        lambda: store.cancel("jobs/none"),
        lambda: store.change_resources("jobs/none", lambda job: job.spec.resources),
        lambda: store.checkpoints("jobs/none"),
        lambda: store.add_checkpoint("jobs/none", Checkpoint(1, 1, ""), "/x"),
        lambda: store.remove_checkpoint("jobs/none", 1),
    ]
    for read in reads:
        with pytest.raises(NotFound, match="jobs/none"):
            read()


def test_a_name_is_taken_once(store: JobStore, job: Job, new_job: NewJob) -> None:
    with pytest.raises(Conflict, match="exists"):
        created(store, new_job())
    assert store.list(10) == (job,)


def test_b072_a_repeated_request_gives_the_job_as_it_is_now(
    store: JobStore, new_job: NewJob
) -> None:
    store.create(new_job("a"), request_id="r", content="x")
    moved = store.record("jobs/a", STARTING)
    assert store.create(new_job("b"), request_id="r", content="x") == moved
    assert store.requested("r", "x") == moved
    assert len(store.list(10)) == 1


def test_b073_a_request_id_with_other_content_is_refused(store: JobStore, new_job: NewJob) -> None:
    store.create(new_job("a"), request_id="r", content="x")
    with pytest.raises(AlreadyExists, match="jobs/a"):
        store.create(new_job("b"), request_id="r", content="y")
    with pytest.raises(AlreadyExists):
        store.requested("r", "y")


def test_requests_without_an_id_are_all_new(store: JobStore, new_job: NewJob) -> None:
    for id_ in ("a", "b"):
        store.create(new_job(id_), request_id="", content="x")
    assert len(store.list(10)) == 2
    assert store.requested("", "x") is None


def test_b072_of_many_threads_one_makes_the_job(store: JobStore, new_job: NewJob) -> None:
    candidates = [new_job(f"digits-{number}") for number in range(40)]
    with ThreadPoolExecutor(16) as pool:
        made = list(
            pool.map(lambda job: store.create(job, request_id="r", content="x"), candidates)
        )
    assert len({job.name for job in made}) == len(store.list(100)) == 1


def test_events_of_many_threads_get_a_revision_each(store: JobStore, job: Job) -> None:
    incident = IncidentHappened(Reason.WORKER_LOST, "worker 1 died")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.record(job.name, incident), range(40)))
    revisions = [record.revision for record in store.history(job.name, 0, 100)]
    assert revisions == list(range(1, 42))
    assert store.get(job.name).revision == 41


def test_the_list_runs_from_new_to_old_in_pages(store: JobStore, new_job: NewJob) -> None:
    names = [created(store, new_job(f"digits-{number}")).name for number in range(5)]
    first = store.list(2)
    second = store.list(2, Position(first[-1].create_time, first[-1].name))
    assert [job.name for job in first + second] == names[:0:-1]


def test_jobs_of_one_instant_are_paged_by_name(store: JobStore, new_job: NewJob) -> None:
    job = new_job()
    for id_ in ("b", "c", "a"):
        created(store, replace(job, name=f"jobs/{id_}"))
    after = Position(job.create_time, "jobs/c")
    assert [each.name for each in store.list(10, after)] == ["jobs/b", "jobs/a"]


def test_a_job_made_between_two_pages_is_on_neither_twice(store: JobStore, new_job: NewJob) -> None:
    old = created(store, new_job("old"))
    newer = created(store, new_job("newer"))
    created(store, new_job("newest"))
    assert store.list(10, Position(newer.create_time, newer.name)) == (old,)


def test_unfinished_jobs_come_oldest_first(store: JobStore, new_job: NewJob) -> None:
    for id_ in ("a", "b", "c"):
        created(store, new_job(id_))
    store.record("jobs/b", *PATHS[State.SUCCEEDED])
    assert [job.name for job in store.unfinished()] == ["jobs/a", "jobs/c"]


def test_jobs_are_counted_by_state(store: JobStore, new_job: NewJob) -> None:
    for id_ in ("a", "b", "c"):
        created(store, new_job(id_))
    store.record("jobs/b", *PATHS[State.RUNNING])
    assert dict(store.count()) == {State.QUEUED: 2, State.RUNNING: 1}


def test_events_make_the_job_and_its_history(store: JobStore, job: Job) -> None:
    written = CheckpointWritten(Checkpoint(7, 1000, "ab" * 32))
    after = store.record(job.name, STARTING, RUNNING, Progressed(PROGRESS), written)
    assert after == store.get(job.name)
    assert (after.state, after.progress, after.revision) == (State.RUNNING, PROGRESS, 5)
    events = [record.event for record in store.history(job.name, 1, 10)]
    assert events == [STARTING, RUNNING, Progressed(PROGRESS), written]


def test_a_change_of_state_keeps_the_job_as_it_then_was(store: JobStore, job: Job) -> None:
    then = store.record(job.name, STARTING)
    store.record(job.name, RUNNING)
    assert store.history(job.name, 1, 1)[0].job == then


def test_one_wrong_event_keeps_all_of_its_call_out(store: JobStore, job: Job) -> None:
    with pytest.raises(WrongState, match="STARTING"):
        store.record(job.name, STARTING, SUCCEEDED)
    assert store.get(job.name) == job
    assert len(store.history(job.name, 0, 10)) == 1


def test_history_goes_on_after_a_revision(store: JobStore, job: Job) -> None:
    store.record(job.name, *PATHS[State.SUCCEEDED])
    assert [record.revision for record in store.history(job.name, 1, 2)] == [2, 3]
    assert store.history(job.name, 4, 10) == ()


def test_an_update_changes_what_no_event_does(store: JobStore, job: Job, clock: Clock) -> None:
    queue = Queue(1, ("jobs/other",), clock())
    after = store.update(job.name, lambda job: replace(job, queue=queue))
    assert after == store.get(job.name)
    assert (after.queue, after.revision) == (queue, job.revision)
    assert after.update_time > job.update_time


OWNED = (("owner", "ada"),)


def test_a_change_is_written_with_the_events_that_follow_it(store: JobStore, job: Job) -> None:
    after = store.record(job.name, STARTING, change=lambda job: replace(job, labels=OWNED))
    assert after == store.get(job.name)
    assert (after.labels, after.state, after.revision) == (OWNED, State.STARTING, 2)
    assert store.history(job.name, 1, 1)[0].job == after


def test_a_change_is_not_made_where_its_events_are_refused(store: JobStore, job: Job) -> None:
    with pytest.raises(WrongState):
        store.record(job.name, SUCCEEDED, change=lambda job: replace(job, labels=OWNED))
    assert store.get(job.name) == job


@pytest.mark.parametrize("field", ["state", "revision", "name"])
def test_an_update_cannot_move_a_job(store: JobStore, job: Job, field: str) -> None:
    value = {"state": State.FAILED, "revision": 9, "name": "jobs/other"}[field]
    with pytest.raises(ValueError, match="may not touch"):
        store.update(job.name, lambda job: replace(job, **{field: value}))
    assert store.get(job.name) == job


CANCELLABLE = [state for state in State if State.CANCELLING in TRANSITIONS[state]]


@pytest.mark.parametrize("state", CANCELLABLE)
def test_cancelling_writes_down_the_wish(store: JobStore, job: Job, state: State) -> None:
    store.record(job.name, *PATHS[state])
    after = store.cancel(job.name)
    assert (after.state, after.reason) == (State.CANCELLING, Reason.CANCEL_REQUESTED)


@pytest.mark.parametrize("state", [State.CANCELLING, State.CANCELLED])
def test_cancelling_again_changes_nothing(store: JobStore, job: Job, state: State) -> None:
    before = store.record(job.name, *PATHS[state])
    assert store.cancel(job.name) == before
    assert len(store.history(job.name, 0, 100)) == before.revision


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_b087_what_has_ended_cannot_be_cancelled(store: JobStore, job: Job, state: State) -> None:
    store.record(job.name, *PATHS[state])
    with pytest.raises(WrongState, match=f"is {state}") as raised:
        store.cancel(job.name)
    assert raised.value.metadata["state"] == state
    assert raised.value.metadata["needs"].split(", ") == sorted(CANCELLABLE)


def test_listeners_hear_of_commits_and_of_nothing_else(store: JobStore, new_job: NewJob) -> None:
    heard: list[str] = []
    unsubscribe = store.subscribe(heard.append)
    created(store, new_job("a"))
    store.record("jobs/a", STARTING)
    with pytest.raises(WrongState):
        store.record("jobs/a", SUCCEEDED)
    unsubscribe()
    store.record("jobs/a", RUNNING)
    assert heard == ["jobs/a", "jobs/a"]


def test_a_listener_may_read_the_store(store: JobStore, job: Job) -> None:
    seen: list[State] = []
    store.subscribe(lambda name: seen.append(store.get(name).state))
    store.record(job.name, STARTING)
    assert seen == [State.STARTING]


def test_checkpoints_come_newest_first(store: JobStore, job: Job) -> None:
    for step in (5, 20, 10):
        store.add_checkpoint(job.name, Checkpoint(step, 100, "ab"), f"/c/{step}")
    assert [(kept.checkpoint.step, kept.path) for kept in store.checkpoints(job.name)] == [
        (20, "/c/20"),
        (10, "/c/10"),
        (5, "/c/5"),
    ]


def test_a_checkpoint_of_the_same_step_takes_the_place(store: JobStore, job: Job) -> None:
    store.add_checkpoint(job.name, Checkpoint(5, 100, "ab"), "/c/5")
    store.add_checkpoint(job.name, Checkpoint(5, 200, "cd"), "/c/5")
    assert [kept.checkpoint.sha256 for kept in store.checkpoints(job.name)] == ["cd"]


def test_a_removed_checkpoint_is_gone(store: JobStore, job: Job) -> None:
    store.add_checkpoint(job.name, Checkpoint(5, 100, "ab"), "/c/5")
    store.remove_checkpoint(job.name, 5)
    store.remove_checkpoint(job.name, 5)
    assert store.checkpoints(job.name) == ()


def test_times_keep_their_microseconds(store: JobStore, new_job: NewJob) -> None:
    job = new_job()
    odd = job.create_time + timedelta(microseconds=1)
    created(store, replace(job, create_time=odd))
    assert store.get(job.name).create_time == odd


def with_workers(workers: int) -> Callable[[Job], Resources]:
    return lambda job: replace(job.spec.resources, workers=workers)


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING, State.RUNNING, State.RECOVERING])
def test_resources_change_while_a_job_waits_or_runs(
    store: JobStore, job: Job, state: State
) -> None:
    before = store.record(job.name, *PATHS[state]) if PATHS[state] else job
    after = store.change_resources(job.name, with_workers(2))
    assert after.spec == replace(job.spec, resources=Resources(workers=2))
    assert (after.state, after.revision) == (state, before.revision + 1)
    newest = store.history(job.name, before.revision, 10)
    assert [record.event for record in newest] == [ResourcesChanged(Resources(workers=2))]
    assert store.get(job.name) == after


def test_the_same_resources_again_are_no_event(store: JobStore, job: Job) -> None:
    first = store.change_resources(job.name, with_workers(2))
    assert store.change_resources(job.name, with_workers(2)).revision == first.revision


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_resources_of_an_ended_job_stay(store: JobStore, job: Job, state: State) -> None:
    store.record(job.name, *PATHS[state])
    with pytest.raises(WrongState, match=str(state)):
        store.change_resources(job.name, with_workers(2))


def test_a_change_of_resources_that_is_refused_changes_nothing(store: JobStore, job: Job) -> None:
    def refuse(job: Job) -> Resources:
        raise NotFound("worker", "2")

    with pytest.raises(NotFound):
        store.change_resources(job.name, refuse)
    assert store.get(job.name) == job


def test_a_long_history_loses_old_samples_and_nothing_else(store: JobStore, job: Job) -> None:
    store.record(job.name, STARTING, RUNNING)
    incident = IncidentHappened(Reason.WORKER_LOST, "gone", 1)
    measured, trained = Progressed(PROGRESS), Progressed(replace(PROGRESS, metrics=()))
    for _ in range(21):
        store.record(job.name, incident, measured, *[trained] * 498)
    newest = store.record(job.name, SUCCEEDED).revision
    history = store.history(job.name, 0, 20_000)
    revisions = [record.revision for record in history]
    assert len(history) <= MOST_EVENTS and newest == revisions[-1] == 10_504
    assert sum(record.event == measured for record in history) == 21
    others = [record.event for record in history if not isinstance(record.event, Progressed)]
    assert others == [StateChanged(State.QUEUED, Reason.CREATED), STARTING, RUNNING] + [
        incident
    ] * 21 + [SUCCEEDED]
    gone = next(each for each in range(5, newest) if each not in revisions)
    following = tuple(record for record in history if record.revision > gone)
    assert store.history(job.name, gone, 20_000) == following, "who resumes there loses no more"
