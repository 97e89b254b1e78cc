"""The same ledger on SQLite, on a real PostgreSQL and in memory, which is what makes the last one believable.

Databases are migrated once per process and emptied for every test. `ledger` is any of the three; `sql_ledger` is for
what only a database can show.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url

from converter.ledger.engines import create_engine
from converter.ledger.migrations.run import upgrade
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import attempts, metadata
from tests.fakes import HandClock
from tests.memory_ledger import MemoryLedger
from tests.memory_ledger.store import altered

BACKENDS = ("sqlite", "postgresql")

AnyLedger = SqlLedger | MemoryLedger


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """URL of an empty database, dropped at the end."""
    name = f"converter_test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('contract') / 'ledger.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql_engine(postgres_url: str) -> Iterator[Engine]:
    with new_database(postgres_url) as url:
        engine = create_engine(url)
        upgrade(engine)
        yield engine
        engine.dispose()


def emptied(engine: Engine) -> Engine:
    with engine.begin() as connection:
        empty(connection)
    return engine


def empty(connection: Connection) -> None:
    """Delete everything. The guards of what is only ever added are taken away for it and put back."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.exec_driver_sql("ALTER TABLE postings DISABLE TRIGGER USER")
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
        connection.exec_driver_sql("ALTER TABLE postings ENABLE TRIGGER USER")
        return
    guards = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    for name, _ in guards:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    for _, sql in guards:
        connection.exec_driver_sql(sql)


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest) -> Engine:
    return emptied(request.getfixturevalue(f"{request.param}_engine"))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sql_ledger(engine: Engine, clock: HandClock) -> SqlLedger:
    return SqlLedger(engine, clock=clock)


@pytest.fixture(params=(*BACKENDS, "memory"))
def ledger(request: pytest.FixtureRequest, clock: HandClock) -> AnyLedger:
    if request.param == "memory":
        return MemoryLedger(clock)
    return SqlLedger(emptied(request.getfixturevalue(f"{request.param}_engine")), clock=clock)


def all_rows(ledger: AnyLedger, *tables: sa.Table) -> list[Any]:
    """Every row of these tables, to be compared with what is there later."""
    if isinstance(ledger, MemoryLedger):
        return [row for table in tables for row in getattr(ledger.store, table.name).values()]
    with ledger.engine.connect() as connection:
        return sorted((tuple(row) for table in tables for row in connection.execute(sa.select(table))), key=str)


def put_past_all_rules(ledger: AnyLedger, table: sa.Table, **values: Any) -> None:
    """Change all rows of a table."""
    if isinstance(ledger, SqlLedger):
        with ledger.engine.begin() as connection:
            connection.execute(table.update().values(**values))
        return
    store = ledger.store
    with ledger.begin():
        for row in list(getattr(store, table.name).values()):
            put = store.put_attempt if table is attempts else store.put_conversion
            put(row, altered(row, **values))


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"
        return
    with new_database(request.getfixturevalue("postgres_url")) as url:
        yield url
