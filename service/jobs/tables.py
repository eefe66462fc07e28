"""The tables of the SQL store, and how an older store is brought up to them."""

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData()

# Times are microseconds since 1970, UTC. A body is the protobuf bytes of what its row is about;
# the columns beside it are what queries need. A checksum covers all other columns of its row.
jobs = Table(
    "jobs",
    metadata,
    Column("name", String, primary_key=True),
    Column("uid", String, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)
Index("jobs_by_age", jobs.c.create_time, jobs.c.name)
Index("jobs_by_state", jobs.c.state)

events = Table(
    "events",
    metadata,
    Column("name", String, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("content", String, nullable=False),
    Column("name", String, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("name", String, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("path", String, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)


def _first_tables(connection: Connection) -> None:
    metadata.create_all(connection)


# The nth entry turns a store of version n into one of version n + 1.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first_tables,)
