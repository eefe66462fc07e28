"""A job's events as a client sees them, and a stream of them that resumes by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from gradloom.service.errors import TimedOut, Unavailable
from gradloom.service.jobs.job import (
    Checkpoint,
    CheckpointWritten,
    Diagnosed,
    Diagnosis,
    IncidentHappened,
    Job,
    Progress,
    Progressed,
    Recorded,
    ResourcesChanged,
)
from gradloom.service.jobs.spec import Resources
from gradloom.service.wire import event_from_wire
from gradloom.v1 import jobs_pb2

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent(Progress):
    """Training went on."""

    revision: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointEvent(Checkpoint):
    """A checkpoint was written."""

    revision: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEvent(IncidentHappened):
    """Something went wrong and was dealt with."""

    revision: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisEvent(Diagnosis):
    """Something is found wrong with the training."""

    revision: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesEvent(Resources):
    """The user wants the job to have other workers from now on."""

    revision: int
    time: datetime


# A change of state comes as the job it led to. Every event has a revision to resume after.
Event = Job | ProgressEvent | CheckpointEvent | IncidentEvent | DiagnosisEvent | ResourcesEvent

Responses = Iterator[jobs_pb2.WatchJobResponse]


def event_of(recorded: Recorded) -> Event:
    """What a client gets to see of a recorded event."""
    match recorded.event:
        case Progressed(progress):
            return ProgressEvent(**_values(progress), **_place(recorded))
        case CheckpointWritten(checkpoint):
            return CheckpointEvent(**_values(checkpoint), **_place(recorded))
        case IncidentHappened() as incident:
            return IncidentEvent(**_values(incident), **_place(recorded))
        case Diagnosed(diagnosis):
            return DiagnosisEvent(**_values(diagnosis), **_place(recorded))
        case ResourcesChanged(resources):
            return ResourcesEvent(**_values(resources), **_place(recorded))
        case _:
            if recorded.job is None:
                raise ValueError(f"Event {recorded.revision} changes the state and has no job")
            return recorded.job


def resumed(
    open_stream: Callable[[int], Responses],
    after_revision: int,
    *,
    patience: float,
    pause: Callable[[float], None],
    draw: Callable[[], float],
) -> Iterator[Event]:
    """All events after a revision, each once, over as many streams as it takes.

    A stream that breaks is opened again after a pause; `draw` gives 0 to 1 for its jitter. Raises
    Unavailable where the pauses since the last answer come to more than `patience` seconds.
    """
    failures, waited = 0, 0.0
    while True:
        try:
            for response in open_stream(after_revision):
                failures, waited = 0, 0.0
                if recorded := event_from_wire(response):
                    after_revision = recorded.revision
                    yield event_of(recorded)
            return
        except TimedOut:
            raise
        except Unavailable:
            delay = pause_after(failures, draw())
            if waited + delay > patience:
                raise
        pause(delay)
        failures, waited = failures + 1, waited + delay


def pause_after(failures: int, drawn: float) -> float:
    """Seconds until the next attempt: twice as long each time, less a random part up to half."""
    longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(failures + 1, 16))
    return longest * (1 + drawn) / 2


# Values are of many types: the dataclasses they end in are checked.
def _values(
    record: Progress | Checkpoint | IncidentHappened | Diagnosis | Resources,
) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _place(recorded: Recorded) -> dict[str, Any]:
    return {"revision": recorded.revision, "time": recorded.time}
