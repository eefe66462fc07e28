"""Rows of the SQL store: how jobs, events and checkpoints become columns, and back.

A row that was damaged on disk is noticed by its checksum, and told from a whole one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import Row

from gradloom.service.errors import InvalidRequest
from gradloom.service.jobs.job import Checkpoint, IncidentHappened, Job, Recorded
from gradloom.service.jobs.recent import Recent
from gradloom.service.jobs.spec import JobSpec, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.service.jobs.store import StoredCheckpoint
from gradloom.service.wire import event_bytes, job_bytes, metrics_in
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import Model, Optimizer, Sgd, SoftmaxCrossEntropy

# A row of a Core select: its columns are typed by the tables, which mypy cannot follow.
AnyRow = Row[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def job_columns(job: Job, recent: Recent[Job]) -> dict[str, object]:
    """The columns of a job."""
    body = job_bytes(job)
    recent.add(body, job)
    return _sealed(
        name=job.name,
        uid=job.uid,
        create_time=micros(job.create_time),
        state=job.state.value,
        revision=job.revision,
        body=body,
    )


def event_columns(name: str, record: Recorded, recent: Recent[Recorded]) -> dict[str, object]:
    """The columns of an event of a job."""
    body = event_bytes(record)
    recent.add(body, record)
    return _sealed(name=name, revision=record.revision, time=micros(record.time), body=body)


def checkpoint_columns(name: str, checkpoint: Checkpoint, path: str) -> dict[str, object]:
    """The columns of a checkpoint of a job."""
    return _sealed(
        name=name,
        step=checkpoint.step,
        size_bytes=checkpoint.size_bytes,
        sha256=checkpoint.sha256,
        path=path,
    )


def request_columns(request_id: str, content: str, job: Job) -> dict[str, object]:
    """The columns of a request that made a job."""
    return {"request_id": request_id, "content": content, "name": job.name}


def _sealed(**columns: object) -> dict[str, object]:
    return {**columns, "checksum": _checksum(columns.values())}


def is_whole(row: AnyRow) -> bool:
    """Whether the row is as it was written; the checksum is its last column."""
    values: tuple[object, ...] = tuple(row)
    return _checksum(values[:-1]) == values[-1]


def _checksum(values: Iterable[object]) -> bytes:
    return blake2b(repr(tuple(values)).encode(), digest_size=8).digest()


def checkpoint_of(row: AnyRow) -> StoredCheckpoint:
    """The checkpoint of a whole row."""
    return StoredCheckpoint(Checkpoint(row.step, row.size_bytes, row.sha256), row.path)


def job_of(row: AnyRow, name: str, recent: Recent[Job]) -> Job:
    """The job of a row; FAILED, STATE_UNREADABLE where the row is damaged."""
    try:
        return recent.read(row.body) if is_whole(row) else _kept_aside(row, name)
    except InvalidRequest:
        return _kept_aside(row, name)


def _kept_aside(row: AnyRow, name: str) -> Job:
    """What can be said of a job whose row is damaged; the row stays as it is."""
    created = _time(row.create_time)
    return Job(
        name=name,
        uid=str(row.uid),
        spec=UNKNOWN_SPEC,
        create_time=created,
        update_time=created,
        state=State.FAILED,
        reason=Reason.STATE_UNREADABLE,
        message="The job's record in the store is damaged: restore a backup, or submit it again.",
        revision=row.revision if isinstance(row.revision, int) else 0,
        end_time=created,
    )


# Stands in for the spec of a job whose record is damaged.
UNKNOWN_SPEC = JobSpec(
    name="unknown",
    data=DataSpec(target=""),
    model=Model(()),
    loss=SoftmaxCrossEntropy(),
    optimizer=Optimizer(Sgd(learning_rate=1.0)),
    training=Training(batch_size=1),
)


def recorded_of(row: AnyRow, recent: Recent[Recorded]) -> Recorded:
    """The event of a row; an incident that says so where the row is damaged."""
    try:
        return recent.read(row.body) if is_whole(row) else _lost_event(row)
    except InvalidRequest:
        return _lost_event(row)


def metrics_of_sample(row: AnyRow) -> int | None:
    """How many metrics a sample of progress has; None where a row is another event or damaged."""
    return metrics_in(row.body) if is_whole(row) else None


def _lost_event(row: AnyRow) -> Recorded:
    lost = IncidentHappened(Reason.STATE_UNREADABLE, "This event's record is damaged.")
    return Recorded(row.revision, _time(row.time), lost)


def micros(time: datetime) -> int:
    """A time as its column has it."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(value: object) -> datetime:
    """The time of a column; 1970 where damage made it none."""
    try:
        return _EPOCH + timedelta(microseconds=value if isinstance(value, int) else 0)
    except OverflowError:
        return _EPOCH
