"""Sweeps of several regions on one PostgreSQL at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.engine import Engine

from converter.ledger.repository import SqlLedger
from converter.sweeping import Errand
from tests.app.house import House
from tests.builders import a_request, an_id, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import emptied


def test_a_sweep_passes_over_what_another_one_has_in_hand_and_takes_the_rest(
    postgresql_engine: Engine, clock: HandClock
) -> None:
    ledger = SqlLedger(emptied(postgresql_engine), clock=clock)
    house = House(ledger, clock)
    with ledger.begin() as work:
        for number in (1, 2):
            work.conversions.add(an_id(number), a_request(), clock.time + seconds(number))
    clock.forward(10)
    with ThreadPoolExecutor(1) as other_region, ledger.begin() as work:
        first = work.conversions.due(1)[0]
        assert work.conversions.postpone(first, clock.time + seconds(15))
        meanwhile = other_region.submit(house.office("b").sweeping.due)
        errands: list[Errand] = meanwhile.result(timeout=2)
    assert [one.conversion_id for one in errands] == [an_id(2)]
