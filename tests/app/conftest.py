from __future__ import annotations

from collections.abc import Callable

import pytest
from converter.ledger.repository import SqlLedger

from tests.app.house import House, NewHouse
from tests.fakes import HandClock


@pytest.fixture
def new_house(new_sqlite_ledger: Callable[[], SqlLedger], clock: HandClock) -> NewHouse:
    """Makes houses with a ledger each, all under the test's clock."""
    return lambda: House(new_sqlite_ledger(), clock)


@pytest.fixture
def house(new_house: NewHouse) -> House:
    return new_house()
