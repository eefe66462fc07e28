"""The SQLite file under the SQL store: opened safely, by one process at a time, and migrated."""

import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from gradloom.service.errors import GradloomError, QuotaExceeded, Unavailable
from gradloom.service.jobs.tables import MIGRATIONS

# FULL, since an acknowledged job must survive the loss of power: one fsync a commit.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
_CONNECTIONS = 8
_SHARED_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse")
# The root of a rootless container: FUSE, but of this machine's own disk.
_LOCAL_FUSE = "fuse.fuse-overlayfs"


class StoreUnusable(GradloomError):
    """The service cannot start on this store."""

    code: ClassVar[str] = "FAILED_PRECONDITION"

    def __init__(self, path: Path, reason: str, why: str) -> None:
        super().__init__(f"The store {path} {why}", reason=reason, metadata={"path": str(path)})


@dataclass(frozen=True, slots=True)
class Hold:
    """A store held by this process; the kernel lets go of it when the process ends."""

    descriptor: int

    def release(self) -> None:
        """Lets others have it."""
        os.close(self.descriptor)


def hold(path: Path, now: datetime) -> Hold:
    """Takes the store for this process; StoreUnusable where another has it."""
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace")
        os.close(descriptor)
        raise StoreUnusable(
            path, "STORE_IN_USE", f"is used by {holder}: stop it, or use another --data-dir."
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()} since {now:%F %T}".encode())
    return Hold(descriptor)


def refuse_shared(path: Path, mounts: str) -> None:
    """Raises StoreUnusable on a file system that may lie about locks.

    `mounts` is the text of /proc/self/mounts.
    """
    kind = _filesystem(path, mounts)
    if kind != _LOCAL_FUSE and kind.split(".")[0] in _SHARED_FILESYSTEMS:
        raise StoreUnusable(
            path,
            "STORE_ON_SHARED_DISK",
            f"is on a {kind} file system, where SQLite's locks fail: use a local --data-dir.",
        )


def _filesystem(path: Path, mounts: str) -> str:
    kinds = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines()}
    return next((kinds[place] for place in (path, *path.parents) if place in kinds), "")


def open_engine(path: Path, *, busy_seconds: float = 5.0) -> Engine:
    """An engine on the file, which is made or migrated where that is due."""
    _make_private(path)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=busy_seconds,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        _migrate(writer(engine), path)
    except DBAPIError as error:
        engine.dispose()
        raise StoreUnusable(
            path, "STORE_DAMAGED", f"cannot be read ({error.orig}): restore a backup."
        ) from error
    except StoreUnusable:
        engine.dispose()
        raise
    return engine


def writer(engine: Engine) -> Engine:
    """The same engine, whose transactions take SQLite's write lock when they begin.

    One that reads first and then writes fails at once where another wrote in between, whatever
    the busy timeout.
    """
    return engine.execution_options(gradloom_begin="BEGIN IMMEDIATE")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises what SQLite says as our own errors."""
    try:
        yield
    except PoolTimeout as error:
        raise _busy(path) from error
    except DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", "") or ""
        # SQLITE_IOERR_WRITE is a kind of SQLITE_IOERR.
        kind = "_".join(name.split("_")[:2])
        if kind not in _ERRORS:
            raise
        raise _ERRORS[kind](path) from error


def _make_private(path: Path) -> None:
    """Makes the file, for its owner's eyes only, and its name durable."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # Python's sqlite3 begins no transactions by itself then: _begin does.
    connection.isolation_level = None
    # One damaged text must not make a whole query fail.
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("gradloom_begin", "BEGIN"))


def _migrate(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if version > len(MIGRATIONS):
            raise StoreUnusable(
                path,
                "STORE_NEWER",
                f"has version {version}, this Gradloom knows {len(MIGRATIONS)}: upgrade it.",
            )
        for migration in MIGRATIONS[version:]:
            migration(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _busy(_path: Path) -> GradloomError:
    return Unavailable("The store is busy: try again in a second.", reason="STORE_BUSY")


def _full(path: Path) -> GradloomError:
    status = os.statvfs(path.parent)
    free = status.f_bavail * status.f_frsize
    return QuotaExceeded(
        f"The disk of {path} is full ({free} bytes free): make room there.",
        reason="DISK_FULL",
        metadata={"path": str(path), "freeBytes": str(free)},
    )


def _down(_path: Path) -> GradloomError:
    return Unavailable(
        "The store cannot be read or written: see the service's log.", reason="STORE_DOWN"
    )


_ERRORS = {
    "SQLITE_BUSY": _busy,
    "SQLITE_LOCKED": _busy,
    "SQLITE_FULL": _full,
    "SQLITE_IOERR": _down,
    "SQLITE_CORRUPT": _down,
    "SQLITE_NOTADB": _down,
    "SQLITE_CANTOPEN": _down,
    "SQLITE_READONLY": _down,
    "SQLITE_PROTOCOL": _down,
}
