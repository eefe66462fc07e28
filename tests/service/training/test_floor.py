"""The floor takes up jobs as CPUs come free, heeds wishes, and goes on after it was stopped."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.errors import QuotaExceeded
from gradloom.service.fleet.group import Gone
from gradloom.service.jobs.job import Event, IncidentHappened, Job, StateChanged
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.states import Reason, State
from gradloom.service.jobs.store import Change
from gradloom.service.training.floor import Floor
from gradloom.service.training.surroundings import Surroundings
from gradloom.worker.messages import Order, Task
from tests.service.training.floor_in_process import (
    InProcessFleet,
    InProcessGroup,
    ended,
    spec,
    submit,
    surroundings,
)


class Gate:
    """Holds every order back until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def fate(self, worker: int, order: Order) -> None:
        self.open.wait(60)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def around(tmp_path: Path, gate: Gate) -> Surroundings:
    return surroundings(tmp_path, InProcessFleet(gate.fate))


@contextmanager
def working(around: Surroundings) -> Iterator[Floor]:
    floor = Floor(around)
    floor.start()
    try:
        yield floor
    finally:
        floor.stop()


def await_state(around: Surroundings, job: Job, state: State) -> Job:
    """The job once it is in the state."""
    reached = threading.Event()

    def look(name: str) -> None:
        if around.store.get(job.name).state is state:
            reached.set()

    forget = around.store.subscribe(look)
    look(job.name)
    assert reached.wait(60), around.store.get(job.name)
    forget()
    return around.store.get(job.name)


def await_queue(around: Surroundings, job: Job) -> Job:
    """The job once it was told what it waits for."""
    told = threading.Event()

    def look(name: str) -> None:
        if around.store.get(job.name).queue is not None:
            told.set()

    forget = around.store.subscribe(look)
    look(job.name)
    assert told.wait(60)
    forget()
    return around.store.get(job.name)


def test_a_job_is_taken_from_the_store_and_trained(around: Surroundings, gate: Gate) -> None:
    gate.open.set()
    with working(around):
        job = submit(around, spec())
        await_state(around, job, State.SUCCEEDED)


def test_jobs_beyond_the_cpus_wait_with_their_place_and_reason(
    around: Surroundings, gate: Gate
) -> None:
    with working(around):
        first = submit(around, spec(workers=2), "jobs/a")
        await_state(around, first, State.RUNNING)
        second = await_queue(around, submit(around, spec(workers=1), "jobs/b"))
        third = await_queue(around, submit(around, spec(workers=1), "jobs/c"))
        gate.open.set()
    assert second.queue and second.queue.blocked_by == ("jobs/a",)
    assert third.queue and third.queue.position == 2
    assert second.reason is Reason.WAITING_FOR_CAPACITY
    assert second.message == "needs 1 of 2 CPUs, 0 free; held by jobs/a (2)"


def test_the_queue_moves_on_in_order(around: Surroundings, gate: Gate) -> None:
    with working(around):
        jobs = [submit(around, spec(workers=2), f"jobs/{n}") for n in range(3)]
        gate.open.set()
        done = [await_state(around, job, State.SUCCEEDED) for job in jobs]
    starts = [job.start_time for job in done]
    assert starts == sorted(starts, key=lambda time: time or 0)


def test_a_queued_job_can_be_cancelled(around: Surroundings, gate: Gate) -> None:
    with working(around):
        await_state(around, submit(around, spec(), "jobs/a"), State.RUNNING)
        second = await_queue(around, submit(around, spec(), "jobs/b"))
        around.store.cancel(second.name)
        await_state(around, second, State.CANCELLED)
        gate.open.set()


def test_a_running_job_can_be_cancelled(around: Surroundings, gate: Gate) -> None:
    with working(around):
        job = await_state(around, submit(around, spec(epochs=500)), State.RUNNING)
        around.store.cancel(job.name)
        gate.open.set()
        assert ended(around, job.name).wait(60)
    assert around.store.get(job.name).state is State.CANCELLED


def test_a_floor_that_starts_again_goes_on_with_what_was_running(
    around: Surroundings, gate: Gate
) -> None:
    job = submit(around, spec())
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    around.store.record(job.name, StateChanged(State.RUNNING, Reason.WORKERS_READY))
    gate.open.set()
    with working(around):
        done = await_state(around, job, State.SUCCEEDED)
    reasons = [transition.reason for transition in done.transitions]
    assert Reason.SERVICE_RESTARTED in reasons


def test_a_wish_to_cancel_outlives_the_service(around: Surroundings) -> None:
    job = submit(around, spec())
    around.store.cancel(job.name)
    with working(around):
        await_state(around, job, State.CANCELLED)


def test_a_stopped_floor_leaves_the_job_to_the_next_one(around: Surroundings, gate: Gate) -> None:
    with working(around) as floor:
        job = await_state(around, submit(around, spec(epochs=500)), State.RUNNING)
        gate.open.set()
        floor.stop()
    assert around.store.get(job.name).state is State.RUNNING


class FullStore(MemoryStore):
    """A store whose disk is full for a while."""

    failures = 3

    def record(self, name: str, *events: Event, change: Change | None = None) -> Job:
        is_progress = not any(isinstance(event, StateChanged) for event in events)
        if is_progress and self.failures:
            self.failures -= 1
            raise QuotaExceeded("the disk is full", reason="DISK_FULL")
        return super().record(name, *events, change=change)


def test_a_full_disk_costs_time_and_not_the_job(around: Surroundings, gate: Gate) -> None:
    full = replace(around, store=FullStore(around.now))
    gate.open.set()
    with working(full):
        await_state(full, submit(full, spec()), State.SUCCEEDED)


def test_a_running_job_makes_room_for_the_next_and_grows_again(
    around: Surroundings, gate: Gate
) -> None:
    """Two CPUs: the first job has both until the second comes, which it can do with one for."""
    elastic = replace(spec(epochs=400), resources=Resources(workers=2, min_workers=1))
    gate.open.set()
    with working(around):
        first = await_workers(around, submit(around, elastic, "jobs/a"), 2)
        second = submit(around, spec(workers=1, epochs=100), "jobs/b")
        await_workers(around, first, 1)
        await_state(around, second, State.SUCCEEDED)
        await_workers(around, first, 2)
        around.store.cancel(first.name)
        await_state(around, first, State.CANCELLED)


def test_the_user_changes_how_many_workers_a_running_job_has(
    around: Surroundings, gate: Gate
) -> None:
    gate.open.set()
    with working(around):
        job = await_workers(around, submit(around, spec(workers=1, epochs=400)), 1)
        around.store.change_resources(job.name, lambda job: Resources(workers=2))
        await_workers(around, job, 2)
        around.store.change_resources(job.name, lambda job: Resources(workers=1))
        await_workers(around, job, 1)
        around.store.cancel(job.name)
        await_state(around, job, State.CANCELLED)
    reasons = incidents(around, job)
    assert reasons == [Reason.WORKERS_CHANGED, Reason.WORKERS_CHANGED]


def incidents(around: Surroundings, job: Job) -> list[Reason]:
    history = around.store.history(job.name, 0, 10_000)
    return [each.event.reason for each in history if isinstance(each.event, IncidentHappened)]


def await_workers(around: Surroundings, job: Job, workers: int) -> Job:
    """The job once so many workers share its shards."""
    reached = threading.Event()

    def look(name: str) -> None:
        if len(around.store.get(job.name).assignments) == workers:
            reached.set()

    forget = around.store.subscribe(look)
    look(job.name)
    assert reached.wait(60), around.store.get(job.name)
    forget()
    return around.store.get(job.name)


class CrowdedFleet(InProcessFleet):
    """Others hold the CPUs while lacking says so: workers find no place."""

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> InProcessGroup:
        return CrowdedGroup(self)


class CrowdedGroup(InProcessGroup):
    def __init__(self, fleet: CrowdedFleet) -> None:
        super().__init__(fleet.fate)
        self._fleet = fleet

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        if self._fleet.lacking:
            self._events.put(Gone(worker, Reason.INSUFFICIENT_CAPACITY, self._fleet.lacking))
        else:
            super().start(worker, task, state)


def test_a_job_that_finds_no_place_waits_in_the_queue_until_there_is_one(tmp_path: Path) -> None:
    fleet = CrowdedFleet()
    around = surroundings(tmp_path, fleet)
    fleet.lacking = "needs 2 workers × 1 CPU, free: 1 on node-a"
    with working(around):
        job = await_queue(around, submit(around, spec()))
        assert (job.state, job.reason) == (State.QUEUED, Reason.INSUFFICIENT_CAPACITY)
        assert job.message == fleet.lacking
        fleet.lacking = ""
        done = await_state(around, job, State.SUCCEEDED)
    assert [transition.state for transition in done.transitions] == [
        State.QUEUED,
        State.STARTING,
        State.QUEUED,
        State.STARTING,
        State.RUNNING,
        State.SUCCEEDED,
    ]
    assert [attempt.number for attempt in done.attempts] == [1]
    assert not incidents(around, done)


def test_nothing_is_started_or_taken_up_again_while_the_fleet_is_in_trouble(
    tmp_path: Path,
) -> None:
    fleet = InProcessFleet()
    around = surroundings(tmp_path, fleet)
    fleet.trouble = "Ray at 10.0.0.1:6379 has not answered since 12:00:00."
    cut_off = submit(around, spec(), "jobs/a")
    around.store.record(cut_off.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    with working(around):
        queued = await_queue(around, submit(around, spec(), "jobs/b"))
        assert (queued.state, queued.reason) == (State.QUEUED, Reason.RAY_UNREACHABLE)
        assert queued.message == fleet.trouble
        assert around.store.get(cut_off.name).state is State.STARTING
        fleet.trouble = ""
        await_state(around, cut_off, State.SUCCEEDED)
        await_state(around, queued, State.SUCCEEDED)
