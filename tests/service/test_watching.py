"""A stream that resumes by itself: nothing lost, nothing repeated."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from gradloom.service.errors import TimedOut, Unavailable
from gradloom.service.jobs.job import Checkpoint, CheckpointWritten, Progress, Progressed, Recorded
from gradloom.service.watching import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    CheckpointEvent,
    Event,
    ProgressEvent,
    event_of,
    pause_after,
    resumed,
)
from gradloom.service.wire import event_to_wire
from gradloom.v1 import jobs_pb2

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
GONE = Unavailable("gone", reason="UNREACHABLE")


def progress(step: int) -> Progress:
    return Progress(
        step=step,
        steps=9,
        epoch=1,
        epochs=1,
        samples=step,
        samples_per_second=1.0,
        loss=0.5,
        learning_rate=0.1,
        gradient_norm=1.0,
    )


def response(revision: int) -> jobs_pb2.WatchJobResponse:
    return event_to_wire(Recorded(revision, NOON, Progressed(progress(revision))))


def heartbeat(revision: int) -> jobs_pb2.WatchJobResponse:
    return jobs_pb2.WatchJobResponse(revision=revision, heartbeat=jobs_pb2.Heartbeat())


@dataclass
class Service:
    """Streams to be opened one after the other: what each sends, and how it ends."""

    streams: list[list[jobs_pb2.WatchJobResponse | Exception]]
    opened_after: list[int] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def open(self, after_revision: int) -> Iterator[jobs_pb2.WatchJobResponse]:
        self.opened_after.append(after_revision)
        for item in self.streams.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item

    def watch(self, *, patience: float = 60.0) -> Iterator[Event]:
        return resumed(self.open, 0, patience=patience, pause=self.pauses.append, draw=lambda: 0.0)


def test_a_broken_stream_goes_on_after_the_last_event() -> None:
    service = Service([[response(1), response(2), GONE], [response(3)]])
    assert [event.revision for event in service.watch()] == [1, 2, 3]
    assert service.opened_after == [0, 2]


def test_heartbeats_are_not_events() -> None:
    service = Service([[response(1), heartbeat(1), response(2)]])
    assert [event.revision for event in service.watch()] == [1, 2]


def test_the_pause_grows_while_nobody_answers() -> None:
    service = Service([[GONE], [GONE], [GONE], [response(1)]])
    list(service.watch())
    assert service.pauses == sorted(service.pauses)
    assert len(set(service.pauses)) == 3


def test_an_answer_makes_the_pause_short_again() -> None:
    service = Service([[GONE], [GONE], [response(1), GONE], []])
    list(service.watch())
    assert service.pauses[-1] == service.pauses[0]


def test_patience_ends() -> None:
    service = Service([[GONE]] * 100)
    with pytest.raises(Unavailable):
        list(service.watch(patience=2.0))
    assert sum(service.pauses) <= 2.0


def test_a_deadline_is_not_retried() -> None:
    service = Service([[TimedOut("late", reason="DEADLINE_PASSED")]])
    with pytest.raises(TimedOut):
        list(service.watch())
    assert service.pauses == []


@pytest.mark.parametrize("failures", [0, 3, 50, 10_000])
@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_a_pause_stays_within_its_bounds(failures: int, drawn: float) -> None:
    assert SHORTEST_PAUSE <= pause_after(failures, drawn) <= LONGEST_PAUSE


def test_a_progress_event_is_a_progress_with_its_place() -> None:
    event = event_of(Recorded(7, NOON, Progressed(progress(3))))
    assert isinstance(event, ProgressEvent) and isinstance(event, Progress)
    assert (event.revision, event.time, event.step) == (7, NOON, 3)


def test_a_checkpoint_event_is_a_checkpoint_with_its_place() -> None:
    event = event_of(Recorded(8, NOON, CheckpointWritten(Checkpoint(3, 100, "ab"))))
    assert isinstance(event, CheckpointEvent) and isinstance(event, Checkpoint)
    assert (event.revision, event.step) == (8, 3)
