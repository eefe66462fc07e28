"""The SQLite file: who may open it, and what its errors become."""

import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from gradloom.service.errors import QuotaExceeded, Unavailable
from gradloom.service.jobs.sqlite import (
    StoreUnusable,
    hold,
    open_engine,
    refuse_shared,
    translated,
    writer,
)
from gradloom.service.jobs.store import Clock
from gradloom.service.jobs.tables import MIGRATIONS

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
sshfs /home/me/remote fuse.sshfs rw 0 0
tmpfs /home/me/fast tmpfs rw 0 0
overlay /home/container fuse.fuse-overlayfs rw 0 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    with open_engine(path).begin():
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_commits_reach_the_disk_and_schemas_are_not_trusted(path: Path) -> None:
    with open_engine(path).connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "trusted_schema")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "trusted_schema": 0}


def test_f36_a_newer_store_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnusable, match=f"version 99, this Gradloom knows {len(MIGRATIONS)}"):
        open_engine(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says. " * 100)
    with pytest.raises(StoreUnusable, match="restore a backup"):
        open_engine(path)


def test_f30_a_store_has_one_service(path: Path, clock: Clock) -> None:
    held = hold(path, clock())
    with pytest.raises(StoreUnusable, match=r"is used by pid \d+ on .+ since 2026-01-01"):
        hold(path, clock())
    held.release()
    hold(path, clock()).release()


@pytest.mark.parametrize(
    ("path", "kind"), [("/home/jobs.db", "nfs4"), ("/home/me/remote/a/jobs.db", "fuse.sshfs")]
)
def test_f45_a_shared_file_system_is_refused(path: str, kind: str) -> None:
    with pytest.raises(StoreUnusable, match=kind):
        refuse_shared(Path(path), MOUNTS)


@pytest.mark.parametrize("path", ["/var/a.db", "/home/me/fast/a.db", "/home/container/a.db"])
def test_f45_a_local_file_system_is_fine(path: str) -> None:
    refuse_shared(Path(path), MOUNTS)


def test_f38_a_writer_takes_the_lock_at_once(path: Path) -> None:
    engine = open_engine(path, busy_seconds=0.02)
    with (
        writer(engine).begin(),
        pytest.raises(Unavailable, match="busy"),
        translated(path),
        writer(engine).begin(),
    ):
        pass


def test_f38_a_reader_waits_for_no_writer(path: Path) -> None:
    engine = open_engine(path, busy_seconds=0.02)
    with writer(engine).begin(), engine.connect() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 0


def test_f39_a_full_disk_is_named(path: Path) -> None:
    engine = open_engine(path)
    with (
        pytest.raises(QuotaExceeded, match=str(path)) as raised,
        translated(path),
        writer(engine).begin() as connection,
    ):
        connection.exec_driver_sql("PRAGMA max_page_count = 12")
        connection.exec_driver_sql("INSERT INTO requests VALUES ('a', hex(zeroblob(1000000)), 'b')")
    assert int(raised.value.metadata["freeBytes"]) > 0


def test_a_mistake_of_ours_is_not_dressed_up(path: Path) -> None:
    with (
        pytest.raises(IntegrityError),
        translated(path),
        writer(open_engine(path)).begin() as connection,
    ):
        connection.exec_driver_sql("INSERT INTO requests VALUES ('a', NULL, 'b')")
