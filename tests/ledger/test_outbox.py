"""Events: written with the change that they tell, read in their order, and none passed over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.engine import Engine

from converter.domain.events import Event
from converter.ledger.repository import SqlLedger
from tests.builders import START, a_request, an_id
from tests.fakes import HandClock
from tests.ledger.conftest import AnyLedger


def tell(ledger: AnyLedger, *names: str) -> None:
    with ledger.begin() as work:
        for name in names:
            work.outbox.add(Event(name))


def test_events_come_back_in_the_order_of_their_telling(ledger: AnyLedger) -> None:
    tell(ledger, "a", "b")
    tell(ledger, "c")
    with ledger.begin() as work:
        told = work.outbox.after(0)
        assert [event.name for event in told] == ["a", "b", "c"]
        assert [event.sequence for event in told] == sorted({event.sequence for event in told})
        assert [event.name for event in work.outbox.after(told[0].sequence)] == ["b", "c"]
        assert [event.name for event in work.outbox.after(0, limit=2)] == ["a", "b"]
        assert work.outbox.after(told[-1].sequence) == []
        assert work.outbox.last() == told[-1].sequence


def test_an_empty_outbox_ends_at_zero(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        assert work.outbox.last() == 0
        assert work.outbox.after(0) == []


def test_an_event_comes_back_whole(ledger: AnyLedger, clock: HandClock) -> None:
    payload = {
        "serviceId": "ü",
        "failures": 3,
        "seconds": 2.5,
        "reason": 'a "quote"\u0000',
        "deep": [{"x": None}],
        "y": True,
    }
    with ledger.begin() as work:
        work.outbox.add(Event("service:failure", payload, an_id(1)))
    with ledger.begin() as work:
        [event] = work.outbox.after(0)
    assert (event.name, event.payload, event.conversion_id) == ("service:failure", payload, an_id(1))
    assert event.at is not None
    assert (event.at - START).total_seconds() < 1


def test_what_was_rolled_back_was_never_told(ledger: AnyLedger) -> None:
    def broken() -> None:
        with ledger.begin() as work:
            work.conversions.add(an_id(1), a_request(), START)
            work.outbox.add(Event("lost"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    tell(ledger, "kept")
    with ledger.begin() as work:
        assert [event.name for event in work.outbox.after(0)] == ["kept"]
        assert work.conversions.page() == []


def test_events_of_many_threads_are_all_there(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: tell(ledger, f"e{number}"), range(30)))
    with ledger.begin() as work:
        told = work.outbox.after(0)
    assert sorted(event.name for event in told) == sorted(f"e{number}" for number in range(30))


def test_a_follower_passes_over_no_event(postgresql_engine: Engine) -> None:
    """Two transactions at once: the one that wrote first commits first, however slow it is."""
    ledger = SqlLedger(postgresql_engine)
    with ledger.begin() as work:
        place = work.outbox.last()
    wrote, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with ledger.begin() as work:
            work.outbox.add(Event("first"))
            work.outbox.flush()
            wrote.set()
            assert go_on.wait(4)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow)
        assert wrote.wait(4)
        second = pool.submit(tell, ledger, "second")
        with pytest.raises(TimeoutError):
            second.result(0.3)  # it waits for the first one's commit
        with ledger.begin() as work:
            assert work.outbox.after(place) == []
        go_on.set()
        first.result(4)
        second.result(4)
    with ledger.begin() as work:
        assert [event.name for event in work.outbox.after(place)] == ["first", "second"]
