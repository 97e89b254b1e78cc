"""Houses to play in. Engines are made once for each process and emptied between plays: statements stay compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from converter.ledger.engines import create_engine
from converter.ledger.migrations.run import upgrade
from converter.ledger.repository import SqlLedger
from tests.app.house import House, NewHouse
from tests.builders import START
from tests.fakes import HandClock
from tests.ledger.conftest import empty

Kept = tuple[SqlLedger, HandClock]


def without_waiting_for_the_disk(connection: Any, _record: Any) -> None:
    """Nobody pulls the plug of the machine here; what is committed is seen by all as ever."""
    connection.execute("PRAGMA synchronous=OFF")


def kept_ledger(url: str) -> Iterator[Kept]:
    clock = HandClock()
    engine = create_engine(url)
    sa.event.listen(engine, "connect", without_waiting_for_the_disk)
    upgrade(engine)
    yield SqlLedger(engine, clock=clock), clock
    engine.dispose()


def emptied(kept: Kept) -> House:
    ledger, clock = kept
    with ledger.engine.begin() as connection:
        empty(connection)
    clock.time = START
    return House(ledger, clock)


@pytest.fixture(scope="session")
def ledger_in_a_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}")


@pytest.fixture(scope="session")
def ledger_in_memory() -> Iterator[Kept]:
    """For plays that are played hundreds of times, in one thread."""
    yield from kept_ledger("sqlite:///:memory:")


@pytest.fixture
def house(ledger_in_a_file: Kept) -> House:
    return emptied(ledger_in_a_file)


@pytest.fixture
def quick_house(ledger_in_memory: Kept) -> NewHouse:
    """Makes one house after the other."""
    return lambda: emptied(ledger_in_memory)
