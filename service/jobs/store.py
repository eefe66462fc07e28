"""Where jobs are kept: the only seam between the API and the training floor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Protocol

from gradloom.service.errors import Conflict, WrongState
from gradloom.service.jobs.job import (
    Checkpoint,
    Event,
    Job,
    Recorded,
    ResourcesChanged,
    StateChanged,
    Transition,
    apply,
)
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.states import TRANSITIONS, Reason, State

Clock = Callable[[], datetime]
Change = Callable[[Job], Job]
ChangeResources = Callable[[Job], Resources]
Step = Callable[[Job], tuple[Job, tuple[Recorded, ...]]]
Listener = Callable[[str], None]
Unsubscribe = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of jobs, which runs from the newest to the oldest."""

    create_time: datetime
    name: str


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint and the file it is in."""

    checkpoint: Checkpoint
    path: str


class JobStore(Protocol):
    """Jobs and their histories, to be used from any thread; every call is one transaction.

    A call that has returned survives the loss of power; one that raised changed nothing. Every
    method that takes a name raises NotFound for an unknown one, and any may raise Unavailable;
    writers may raise QuotaExceeded where the disk is full.
    """

    def create(self, job: Job, *, request_id: str, content: str) -> Job:
        """Keeps a new job, queued, with the first event of its history.

        A request id that is not empty names the request: with the same content it gives the job
        it made before, as it is now; with other content it raises AlreadyExists. Raises Conflict
        where the job's name is taken.
        """
        ...

    def requested(self, request_id: str, content: str) -> Job | None:
        """The job an earlier request of this id made; AlreadyExists if of other content."""
        ...

    def get(self, name: str) -> Job:
        """The job as it is now."""
        ...

    def list(self, limit: int, after: Position | None = None) -> tuple[Job, ...]:
        """Jobs that follow the position, newest first."""
        ...

    def unfinished(self) -> tuple[Job, ...]:
        """Jobs that are in no final state, oldest first."""
        ...

    def count(self) -> Mapping[State, int]:
        """How many jobs are in each state."""
        ...

    def record(self, name: str, *events: Event, change: Change | None = None) -> Job:
        """Adds events to the history and gives the job after them; WrongState adds none.

        A change is made before them, if they are added; see update. Of a long history old samples
        of progress are forgotten; see thinning.
        """
        ...

    def update(self, name: str, change: Change) -> Job:
        """Changes what no event changes: queue, assignments, attempts, plan, receipt."""
        ...

    def cancel(self, name: str) -> Job:
        """Writes down the wish that the job ends; WrongState once it has ended otherwise."""
        ...

    def change_resources(self, name: str, change: ChangeResources) -> Job:
        """Writes down the resources the user wants for the job now, if they are other ones.

        WrongState once the job ends. What `change` raises is passed on.
        """
        ...

    def history(self, name: str, after_revision: int, limit: int) -> tuple[Recorded, ...]:
        """Events that follow the revision, oldest first; their revisions may have gaps."""
        ...

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """Calls the listener with the job's name after each commit, in the writer's thread."""
        ...

    def add_checkpoint(self, name: str, checkpoint: Checkpoint, path: str) -> None:
        """Keeps a checkpoint, in place of one of the same step."""
        ...

    def checkpoints(self, name: str) -> tuple[StoredCheckpoint, ...]:
        """The job's checkpoints, newest first."""
        ...

    def remove_checkpoint(self, name: str, step: int) -> None:
        """Forgets a checkpoint; the file is the caller's."""
        ...

    def close(self) -> None:
        """Lets go of the store; no call may follow."""
        ...


def name_taken(name: str) -> Conflict:
    """The error for a new job whose name another has."""
    return Conflict(
        f"{name} exists: create the job under another name.",
        reason="NAME_TAKEN",
        metadata={"name": name},
    )


def begun(job: Job) -> tuple[Job, Recorded]:
    """A new job and the first event of its history, which puts it in the queue."""
    first = StateChanged(State.QUEUED, Reason.CREATED)
    transition = Transition(first.state, first.reason, first.message, job.create_time, 1)
    job = replace(job, state=first.state, reason=first.reason, revision=1)
    job = replace(job, transitions=(transition,), update_time=job.create_time)
    return job, Recorded(1, job.create_time, first, job)


def fold(job: Job, events: tuple[Event, ...], time: datetime) -> tuple[Job, tuple[Recorded, ...]]:
    """The job after the events, and the events as its history has them."""
    records = []
    for event in events:
        job = apply(job, event, time)
        then = job if isinstance(event, StateChanged) else None
        records.append(Recorded(job.revision, time, event, then))
    return job, tuple(records)


def told(
    job: Job, change: Change | None, events: tuple[Event, ...], time: datetime
) -> tuple[Job, tuple[Recorded, ...]]:
    """The job after the change, if there is one, and the events; the events as fold gives them."""
    return fold(changed(job, change, time) if change else job, events, time)


def changed(job: Job, change: Change, time: datetime) -> Job:
    """The job after the change; ValueError if that touches what only an event may change."""
    after = change(job)
    if _moved_by_events(after) != _moved_by_events(job):
        raise ValueError(f"a change of {job.name} may not touch its name, state or history")
    return replace(after, update_time=time)


def _moved_by_events(job: Job) -> tuple[object, ...]:
    return (job.name, job.uid, job.create_time, job.state, job.revision, job.transitions)


def cancellation(job: Job) -> tuple[Event, ...]:
    """The events that say the user wants the job to end; none where that is said already."""
    if job.state in (State.CANCELLING, State.CANCELLED):
        return ()
    if State.CANCELLING not in TRANSITIONS[job.state]:
        raise WrongState(job.name, state=job.state, needs=_CANCELLABLE)
    return (StateChanged(State.CANCELLING, Reason.CANCEL_REQUESTED),)


_CANCELLABLE = tuple(state for state, targets in TRANSITIONS.items() if State.CANCELLING in targets)


def resources_change(job: Job, change: ChangeResources) -> tuple[Event, ...]:
    """The events that say the user wants other resources; none where the job has these."""
    if State.CANCELLING not in TRANSITIONS[job.state]:
        raise WrongState(job.name, state=job.state, needs=_CANCELLABLE)
    resources = change(job)
    return () if resources == job.spec.resources else (ResourcesChanged(resources),)


class Listeners:
    """Those who want to hear of commits."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners: tuple[Listener, ...] = ()

    def add(self, listener: Listener) -> Unsubscribe:
        """Adds one; what comes back takes it away again."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return lambda: self._remove(listener)

    def tell(self, name: str) -> None:
        """Tells all of them that something was committed for the job."""
        for listener in self._listeners:
            listener(name)

    def _remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)
