"""Opening the ledger and working on it in transactions."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from converter.domain.conversions import State
from converter.domain.errors import ConfigurationError
from converter.ledger.alerts import SqlAlerts
from converter.ledger.attempts import SqlAttempts
from converter.ledger.books import SqlBooks
from converter.ledger.conversions import SqlConversions
from converter.ledger.deliveries import SqlDeliveries, SqlReceivers
from converter.ledger.exposure import SqlExposure
from converter.ledger.followers import SqlFollowers
from converter.ledger.inspection import SqlInspection
from converter.ledger.lasting import SqlConditions, SqlMemory, SqlRounds
from converter.ledger.outbox import SqlOutbox
from converter.ledger.quotes import SqlQuotes
from converter.ledger.statistics import count_state, read_statistics
from converter.ledger.transfers import SqlTransfers
from converter.ledger.views import SqlViews

SCHEMA_VERSION = "0007"
"""The newest migration; workers refuse to run on any other schema."""

_READING = "converter_reading"
"""The option of a connection whose transaction only reads."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqlWork:
    """One transaction."""

    def __init__(self, connection: Connection, clock: Callable[[Connection], datetime]) -> None:
        self._connection = connection
        self._clock = clock
        self._time: datetime | None = None

    def now(self) -> datetime:
        """The ledger's clock, read once per transaction."""
        if self._time is None:
            self._time = self.clock()
        return self._time

    def clock(self) -> datetime:
        """The ledger's clock, read now, on this transaction's own connection."""
        return self._clock(self._connection)

    @cached_property
    def conversions(self) -> SqlConversions:
        """Conversions."""
        return SqlConversions(self._connection, self.now)

    @cached_property
    def quotes(self) -> SqlQuotes:
        """Quotes."""
        return SqlQuotes(self._connection)

    @cached_property
    def attempts(self) -> SqlAttempts:
        """Attempts and operations."""
        return SqlAttempts(self._connection, self.now)

    @cached_property
    def transfers(self) -> SqlTransfers:
        """Transfers."""
        return SqlTransfers(self._connection, self.now)

    @cached_property
    def books(self) -> SqlBooks:
        """Postings."""
        return SqlBooks(self._connection, self.now)

    @cached_property
    def outbox(self) -> SqlOutbox:
        """Events."""
        return SqlOutbox(self._connection, self.now)

    @cached_property
    def followers(self) -> SqlFollowers:
        """How far the outbox was read."""
        return SqlFollowers(self._connection, self.now)

    @cached_property
    def receivers(self) -> SqlReceivers:
        """Who is sent messages."""
        return SqlReceivers(self._connection, self.now)

    @cached_property
    def deliveries(self) -> SqlDeliveries:
        """Messages to receivers."""
        return SqlDeliveries(self._connection, self.now)

    @cached_property
    def alerts(self) -> SqlAlerts:
        """What an operator should know."""
        return SqlAlerts(self._connection)

    @cached_property
    def conditions(self) -> SqlConditions:
        """What lasts."""
        return SqlConditions(self._connection, self.now)

    @cached_property
    def rounds(self) -> SqlRounds:
        """Explain records."""
        return SqlRounds(self._connection, self.now)

    @cached_property
    def exposure(self) -> SqlExposure:
        """How much is under way."""
        return SqlExposure(self._connection, self.now)

    @cached_property
    def inspection(self) -> SqlInspection:
        """What must never be."""
        return SqlInspection(self._connection, self.now)

    @cached_property
    def memory(self) -> SqlMemory:
        """Kept shared state."""
        return SqlMemory(self._connection)

    @cached_property
    def views(self) -> SqlViews:
        """What an operator sees."""
        return SqlViews(self._connection, self.now)

    def statistics(self) -> dict[str, Any]:
        """Counts by service and in all."""
        return read_statistics(self._connection)

    def count(self, state: State, at_most: int) -> int:
        """How many conversions are in this state; no more are counted than `at_most`."""
        return count_state(self._connection, state, at_most)


class SqlLedger:
    """The ledger on SQLite or PostgreSQL.

    The clock is the host's on SQLite, which serves one host only, and the server's on PostgreSQL, which serves many.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime] | None = None) -> None:
        self.engine = engine
        self._given_clock = clock

    @contextmanager
    def begin(self) -> Iterator[SqlWork]:
        """A transaction: committed at the end, rolled back by an exception."""
        with self.engine.begin() as connection:
            work = SqlWork(connection, self._clock)
            yield work
            work.outbox.flush()

    @contextmanager
    def view(self) -> Iterator[SqlWork]:
        """A transaction that only reads: it bars no writer and waits for none."""
        options: dict[str, Any] = {_READING: True}
        if self.engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield SqlWork(connection, self._clock)

    def now(self) -> datetime:
        """The ledger's clock, read by itself."""
        if self._given_clock is not None or self.engine.dialect.name == "sqlite":
            return (self._given_clock or _utc_now)()
        with self.engine.connect() as connection:
            return self._clock(connection)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def _clock(self, connection: Connection) -> datetime:
        if self._given_clock is not None:
            return self._given_clock()
        if connection.dialect.name == "sqlite":
            return _utc_now()
        moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)


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
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

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
        reading = connection.get_execution_options().get(_READING)
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


def schema_version(engine: Engine) -> str | None:
    """The schema's version, None for an empty database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return version


def open_ledger(url: str, *, migrate: bool = False) -> SqlLedger:
    """Open the ledger; with `migrate`, bring its schema up to date first. Raises ConfigurationError."""
    engine = create_engine(url)
    if schema_version(engine) != SCHEMA_VERSION:
        if not migrate:
            raise ConfigurationError("ledger: its schema is not current; run `converter migrate`")
        from converter.ledger.migrations.run import upgrade  # noqa: PLC0415  Alembic takes a second to import

        upgrade(engine)
    return SqlLedger(engine)
