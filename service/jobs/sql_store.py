"""A JobStore in SQL, by SQLAlchemy Core; on SQLite for now."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import structlog
from sqlalchemy import (
    Connection,
    Delete,
    Engine,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from gradloom.service.errors import (
    AlreadyExists,
    GradloomError,
    NotFound,
    Unavailable,
    WrongState,
)
from gradloom.service.jobs import tables
from gradloom.service.jobs.job import Checkpoint, Event, Job, Recorded
from gradloom.service.jobs.recent import Recent
from gradloom.service.jobs.rows import (
    AnyRow,
    checkpoint_columns,
    checkpoint_of,
    event_columns,
    is_whole,
    job_columns,
    job_of,
    metrics_of_sample,
    micros,
    recorded_of,
    request_columns,
)
from gradloom.service.jobs.sqlite import Hold, hold, open_engine, refuse_shared, translated, writer
from gradloom.service.jobs.states import Reason, State
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
from gradloom.service.wire import event_from_bytes, job_from_bytes

_FINAL = tuple(state.value for state in State if state.is_final)


log = structlog.get_logger()


class SqlStore:
    """Jobs as rows; writers of this process take turns, so that none polls for SQLite's lock."""

    def __init__(self, path: Path, engine: Engine, held: Hold, clock: Clock) -> None:
        self._path = path
        self._inode = path.stat().st_ino
        self._reader = engine
        self._writer = writer(engine)
        self._turn = Lock()
        self._held = held
        self._clock = clock
        self._listeners = Listeners()
        self._recent = Recent(job_from_bytes)
        self._recent_events = Recent(event_from_bytes)

    def create(self, job: Job, *, request_id: str, content: str) -> Job:
        """See JobStore."""
        with self._writing() as connection:
            if earlier := self._requested(connection, request_id, content):
                return earlier
            if _row(connection, job.name) is not None:
                raise name_taken(job.name)
            job, first = begun(job)
            connection.execute(insert(tables.jobs), job_columns(job, self._recent))
            connection.execute(
                insert(tables.events), event_columns(job.name, first, self._recent_events)
            )
            if request_id:
                connection.execute(
                    insert(tables.requests), request_columns(request_id, content, job)
                )
        self._listeners.tell(job.name)
        return job

    def requested(self, request_id: str, content: str) -> Job | None:
        """See JobStore."""
        with self._reading() as connection:
            return self._requested(connection, request_id, content)

    def get(self, name: str) -> Job:
        """See JobStore; a job that cannot be read is FAILED, STATE_UNREADABLE."""
        with self._reading() as connection:
            return self._get(connection, name)

    def list(self, limit: int, after: Position | None = None) -> tuple[Job, ...]:
        """See JobStore."""
        age = (tables.jobs.c.create_time, tables.jobs.c.name)
        query = select(tables.jobs).order_by(*(column.desc() for column in age)).limit(limit)
        if after is not None:
            query = query.where(tuple_(*age) < (micros(after.create_time), after.name))
        with self._reading() as connection:
            return tuple(job_of(row, row.name, self._recent) for row in connection.execute(query))

    def unfinished(self) -> tuple[Job, ...]:
        """See JobStore; jobs that cannot be read are left out, and logged."""
        columns = tables.jobs.c
        query = select(tables.jobs).where(columns.state.not_in(_FINAL))
        query = query.order_by(columns.create_time, columns.name)
        with self._reading() as connection:
            jobs = [job_of(row, row.name, self._recent) for row in connection.execute(query)]
        for job in jobs:
            if job.state.is_final:
                log.error("job_unreadable", job=job.name)
        return tuple(job for job in jobs if not job.state.is_final)

    def count(self) -> Mapping[State, int]:
        """See JobStore."""
        state = tables.jobs.c.state
        with self._reading() as connection:
            rows = connection.execute(select(state, func.count()).group_by(state))
            return {State(word): number for word, number in rows if word in State.__members__}

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
        """See JobStore; an event that cannot be read is an incident of that name."""
        columns = tables.events.c
        query = select(tables.events).where(columns.name == name)
        query = query.where(columns.revision > after_revision)
        with self._reading() as connection:
            _must_exist(connection, name)
            rows = connection.execute(query.order_by(columns.revision).limit(limit))
            return tuple(recorded_of(row, self._recent_events) for row in rows)

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See JobStore."""
        return self._listeners.add(listener)

    def add_checkpoint(self, name: str, checkpoint: Checkpoint, path: str) -> None:
        """See JobStore."""
        with self._writing() as connection:
            _must_exist(connection, name)
            connection.execute(_checkpoint_deletion(name, checkpoint.step))
            row = checkpoint_columns(name, checkpoint, path)
            connection.execute(insert(tables.checkpoints), row)

    def checkpoints(self, name: str) -> tuple[StoredCheckpoint, ...]:
        """See JobStore; rows that cannot be read are left out."""
        columns = tables.checkpoints.c
        query = select(tables.checkpoints).where(columns.name == name)
        with self._reading() as connection:
            _must_exist(connection, name)
            rows = connection.execute(query.order_by(columns.step.desc())).all()
        return tuple(checkpoint_of(row) for row in rows if is_whole(row))

    def remove_checkpoint(self, name: str, step: int) -> None:
        """See JobStore."""
        with self._writing() as connection:
            _must_exist(connection, name)
            connection.execute(_checkpoint_deletion(name, step))

    def close(self) -> None:
        """See JobStore."""
        self._reader.dispose()
        self._held.release()

    def _commit(self, name: str, step: Step) -> Job:
        with self._writing() as connection:
            job, records = step(_readable(self._get(connection, name)))
            chosen = update(tables.jobs).where(tables.jobs.c.name == name)
            connection.execute(chosen.values(job_columns(job, self._recent)))
            for record in records:
                row = event_columns(name, record, self._recent_events)
                connection.execute(insert(tables.events), row)
        self._listeners.tell(name)
        if is_due(record.revision for record in records):
            self._thin(name)
        return job

    def _thin(self, name: str) -> None:
        """Forgets samples of a long history, which others do not wait for while it is read.

        What brought it here is written already, whether this fails or not.
        """
        try:
            with self._reading() as connection:
                gone = _forgotten(connection, name)
            if gone:
                self._forget(name, gone)
        except GradloomError as error:
            log.warning("history_not_thinned", job=name, error=str(error))

    def _forget(self, name: str, revisions: tuple[int, ...]) -> None:
        columns = tables.events.c
        chosen = columns.name == name, columns.revision == bindparam("revision_gone")
        with self._writing() as connection:
            connection.execute(
                delete(tables.events).where(*chosen),
                [{"revision_gone": revision} for revision in revisions],
            )

    def _requested(self, connection: Connection, request_id: str, content: str) -> Job | None:
        query = select(tables.requests).where(tables.requests.c.request_id == request_id)
        row = connection.execute(query).one_or_none() if request_id else None
        if row is None:
            return None
        if row.content != content:
            raise AlreadyExists(request_id, row.name)
        return self._get(connection, row.name)

    def _get(self, connection: Connection, name: str) -> Job:
        row = _row(connection, name)
        if row is None:
            raise NotFound("job", name)
        return job_of(row, name, self._recent)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._path), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._turn, translated(self._path), self._writer.begin() as connection:
            self._check_file()
            yield connection

    def _check_file(self) -> None:
        """Refuses to write into a file that was deleted or replaced: SQLite would not notice."""
        try:
            same = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise Unavailable(
                "The store's file was deleted or replaced: restart the service.",
                reason="STORE_LOST",
            )


def open_store(path: Path, clock: Clock, *, busy_seconds: float = 5.0) -> SqlStore:
    """The store in this file, made where there is none; StoreUnusable where it cannot be used."""
    path = path.resolve()
    refuse_shared(path, Path("/proc/self/mounts").read_text())
    held = hold(path, clock())
    try:
        return SqlStore(path, open_engine(path, busy_seconds=busy_seconds), held, clock)
    except BaseException:
        held.release()
        raise


def _row(connection: Connection, name: str) -> AnyRow | None:
    return connection.execute(select(tables.jobs).where(tables.jobs.c.name == name)).one_or_none()


def _must_exist(connection: Connection, name: str) -> None:
    query = select(tables.jobs.c.revision).where(tables.jobs.c.name == name)
    if connection.execute(query).one_or_none() is None:
        raise NotFound("job", name)


def _checkpoint_deletion(name: str, step: int) -> Delete:
    columns = tables.checkpoints.c
    return delete(tables.checkpoints).where(columns.name == name, columns.step == step)


def _forgotten(connection: Connection, name: str) -> tuple[int, ...]:
    """Revisions of samples that go; an event that cannot be read is none."""
    columns = tables.events.c
    query = select(tables.events).where(columns.name == name).order_by(columns.revision)
    metrics = {row.revision: metrics_of_sample(row) for row in connection.execute(query)}
    trained = [revision for revision, count in metrics.items() if count == 0]
    measured = [revision for revision, count in metrics.items() if count]
    return forgotten(trained, measured, len(metrics))


def _readable(job: Job) -> Job:
    if job.reason is Reason.STATE_UNREADABLE:
        raise WrongState(job.name, state=job.state, needs=("a readable record",))
    return job
