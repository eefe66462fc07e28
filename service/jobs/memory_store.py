"""A JobStore in memory: for tests, and the reference for the SQL one."""

import builtins
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import RLock

from gradloom.service.errors import AlreadyExists, NotFound
from gradloom.service.jobs.job import Checkpoint, Event, Job, Progressed, Recorded
from gradloom.service.jobs.states import State
from gradloom.service.jobs.store import (
    Change,
    ChangeResources,
    Clock,
    Listener,
    Listeners,
    Position,
    Step,
    StoredCheckpoint,
    Unsubscribe,
    begun,
    cancellation,
    changed,
    fold,
    name_taken,
    resources_change,
    told,
)
from gradloom.service.jobs.thinning import forgotten, is_due


@dataclass(frozen=True, slots=True)
class _Entry:
    job: Job
    history: tuple[Recorded, ...]
    checkpoints: Mapping[int, StoredCheckpoint] = field(default_factory=dict)


class MemoryStore:
    """Jobs as a dictionary of frozen entries, under one lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = RLock()
        self._entries: dict[str, _Entry] = {}
        self._requests: dict[str, tuple[str, str]] = {}
        self._listeners = Listeners()

    def create(self, job: Job, *, request_id: str, content: str) -> Job:
        """See JobStore."""
        with self._lock:
            if earlier := self.requested(request_id, content):
                return earlier
            if job.name in self._entries:
                raise name_taken(job.name)
            job, first = begun(job)
            self._entries[job.name] = _Entry(job, (first,))
            if request_id:
                self._requests[request_id] = (content, job.name)
        self._listeners.tell(job.name)
        return job

    def requested(self, request_id: str, content: str) -> Job | None:
        """See JobStore."""
        with self._lock:
            if request_id not in self._requests:
                return None
            known, name = self._requests[request_id]
            if known != content:
                raise AlreadyExists(request_id, name)
            return self.get(name)

    def get(self, name: str) -> Job:
        """See JobStore."""
        return self._entry(name).job

    def list(self, limit: int, after: Position | None = None) -> tuple[Job, ...]:
        """See JobStore."""
        jobs = sorted(self._jobs(), key=_place, reverse=True)
        if after is not None:
            jobs = [job for job in jobs if _place(job) < (after.create_time, after.name)]
        return tuple(jobs[:limit])

    def unfinished(self) -> tuple[Job, ...]:
        """See JobStore."""
        return tuple(sorted((job for job in self._jobs() if not job.state.is_final), key=_place))

    def count(self) -> Mapping[State, int]:
        """See JobStore."""
        return Counter(job.state for job in self._jobs())

    def record(self, name: str, *events: Event, change: Change | None = None) -> Job:
        """See JobStore."""
        return self._commit(name, lambda job: told(job, change, events, self._clock()))

    def update(self, name: str, change: Change) -> Job:
        """See JobStore."""
        return self._commit(name, lambda job: (changed(job, change, self._clock()), ()))

    def cancel(self, name: str) -> Job:
        """See JobStore."""
        return self._commit(name, lambda job: fold(job, cancellation(job), self._clock()))

    def change_resources(self, name: str, change: ChangeResources) -> Job:
        """See JobStore."""
        return self._commit(
            name, lambda job: fold(job, resources_change(job, change), self._clock())
        )

    def history(self, name: str, after_revision: int, limit: int) -> tuple[Recorded, ...]:
        """See JobStore."""
        history = self._entry(name).history
        first = bisect_right(history, after_revision, key=lambda record: record.revision)
        return history[first : first + limit]

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See JobStore."""
        return self._listeners.add(listener)

    def add_checkpoint(self, name: str, checkpoint: Checkpoint, path: str) -> None:
        """See JobStore."""
        with self._lock:
            entry = self._entry(name)
            kept = {**entry.checkpoints, checkpoint.step: StoredCheckpoint(checkpoint, path)}
            self._entries[name] = replace(entry, checkpoints=kept)

    def checkpoints(self, name: str) -> tuple[StoredCheckpoint, ...]:
        """See JobStore."""
        kept = self._entry(name).checkpoints
        return tuple(kept[step] for step in sorted(kept, reverse=True))

    def remove_checkpoint(self, name: str, step: int) -> None:
        """See JobStore."""
        with self._lock:
            entry = self._entry(name)
            kept = {other: entry.checkpoints[other] for other in entry.checkpoints if other != step}
            self._entries[name] = replace(entry, checkpoints=kept)

    def close(self) -> None:
        """See JobStore."""

    def _commit(self, name: str, step: Step) -> Job:
        with self._lock:
            entry = self._entry(name)
            job, records = step(entry.job)
            history = (*entry.history, *records)
            if is_due(record.revision for record in records):
                history = _thinned(history)
            self._entries[name] = replace(entry, job=job, history=history)
        self._listeners.tell(name)
        return job

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            if name not in self._entries:
                raise NotFound("job", name)
            return self._entries[name]

    def _jobs(self) -> builtins.list[Job]:
        with self._lock:
            return [entry.job for entry in self._entries.values()]


def _thinned(history: tuple[Recorded, ...]) -> tuple[Recorded, ...]:
    samples = {r.revision: r.event.progress for r in history if isinstance(r.event, Progressed)}
    trained = [revision for revision, progress in samples.items() if not progress.metrics]
    measured = [revision for revision, progress in samples.items() if progress.metrics]
    gone = frozenset(forgotten(trained, measured, len(history)))
    return tuple(record for record in history if record.revision not in gone)


def _place(job: Job) -> tuple[object, str]:
    return (job.create_time, job.name)
