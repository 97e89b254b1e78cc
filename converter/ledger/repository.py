"""Opening the ledger and working on it in transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from converter.domain.conversions import State
from converter.domain.errors import ConfigurationError
from converter.domain.events import Event
from converter.ledger.alerts import SqlAlerts
from converter.ledger.attempts import SqlAttempts
from converter.ledger.books import SqlBooks
from converter.ledger.conversions import SqlConversions
from converter.ledger.deliveries import SqlDeliveries, SqlReceivers
from converter.ledger.engines import READING, create_engine
from converter.ledger.exposure import SqlExposure
from converter.ledger.figures import SqlFigures
from converter.ledger.followers import SqlFollowers
from converter.ledger.inspection import SqlInspection
from converter.ledger.lasting import SqlConditions, SqlMemory, SqlRounds
from converter.ledger.outbox import SqlOutbox
from converter.ledger.quotes import SqlQuotes
from converter.ledger.statistics import count_state, read_statistics
from converter.ledger.transfers import SqlTransfers
from converter.ledger.views import SqlViews

SCHEMA_VERSION = "0006"
"""The newest migration; workers refuse to run on any other schema."""


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
        self.heard: Callable[[Sequence[Event]], None] | None = None
        """Is told the events of every transaction of this process, once they are committed."""
        self._given_clock = clock

    @contextmanager
    def begin(self) -> Iterator[SqlWork]:
        """A transaction: committed at the end, rolled back by an exception."""
        with self.engine.begin() as connection:
            work = SqlWork(connection, self._clock)
            yield work
            work.outbox.flush()
        if self.heard is not None and work.outbox.told:
            self.heard(work.outbox.told)

    @contextmanager
    def view(self) -> Iterator[SqlWork]:
        """A transaction that only reads: it bars no writer and waits for none."""
        with self._reading() as connection:
            yield SqlWork(connection, self._clock)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        options: dict[str, Any] = {READING: True}
        if self.engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def now(self) -> datetime:
        """The ledger's clock, read by itself."""
        if self._given_clock is not None or self.engine.dialect.name == "sqlite":
            return (self._given_clock or _utc_now)()
        with self.engine.connect() as connection:
            return self._clock(connection)

    def gauging(self) -> SqlFigures:
        """How the ledger stands, for those who watch it."""
        return SqlFigures(self._reading, self._clock)

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
