"""Connections to the ledger's database: how a transaction begins, what a session waits for, and for how long."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from converter.domain.errors import ConfigurationError

READING = "only_reads"
"""Execution option of a connection that writes nothing: on SQLite its transactions bar nobody from writing."""


def _switch_to_wal(dbapi_connection: Any) -> None:
    """Switch a file to WAL, for good. SQLite does not wait for others that do the same at this moment; so we do."""
    end = time.monotonic() + 30
    while dbapi_connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            dbapi_connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.02)


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # we send BEGIN ourselves
        dbapi_connection.execute("PRAGMA busy_timeout=30000")
        _switch_to_wal(dbapi_connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails with "database is locked" under load.
        reading = connection.get_execution_options().get(READING)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    try:
        import psycopg  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "ledger: PostgreSQL needs the extra `postgres` (pip install converter[postgres])"
        ) from error
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=16,
        max_overflow=16,
        pool_pre_ping=True,
        hide_parameters=True,  # addresses and amounts: an error's text may be logged
        connect_args={**_NO_SILENCE, "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items())},
    )


_NO_SILENCE = {
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}
"""A partition that swallows packets without an error must not hang a worker. Measured with a cable cut between network
namespaces: a statement or a COMMIT fails after 3 to 5 s, a transaction that first has to replace its dead connection
after 5 to 7 s. The user timeout covers what was sent and not acknowledged, keepalives whoever only waits to receive.
Both are answered by the server's kernel, so neither cuts a COMMIT that is merely slow; shorter ones would turn every
network hiccup of a second into commits of unknown outcome."""

_SESSION = {
    "statement_timeout": 10000,
    "lock_timeout": 5000,
    "idle_in_transaction_session_timeout": 4000,
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 10000,
}
"""The server's side of it. To the server, too, a worker that was cut off in the middle of a transaction is only silent.
By itself it would wait two hours for it, with its rows locked against every sweep and every next owner, and with its
sessions counted against `max_connections`. No transaction of ours waits for anything but the ledger, so one that idles
for so long has lost its worker; it is less than `lock_timeout`, so that who waits for the row gets it."""


def create_engine(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://…`. Raises ConfigurationError for anything else."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError("ledger: not a database URL; accepted: sqlite:///path or postgresql://…") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(parsed)
    if backend == "postgresql":
        return _postgresql_engine(parsed)
    raise ConfigurationError(f"ledger: {backend} is not supported; accepted: sqlite:///path or postgresql://…")
