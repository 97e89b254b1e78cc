"""Inserting a request: once for every idempotency key, whatever happens at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.domain.errors import IdempotencyConflict
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import conversions, idempotency_keys
from tests.builders import LIGHTNING, OTHER_BTC_ADDRESS, START, a_request, an_id
from tests.ledger.conftest import AnyLedger, all_rows


def counts(ledger: AnyLedger) -> tuple[int, int]:
    """Conversions and keys."""
    return len(all_rows(ledger, conversions)), len(all_rows(ledger, idempotency_keys))


def test_the_same_request_under_the_same_key_is_the_same_conversion(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        first = work.conversions.add(an_id(1), a_request(idempotency_key="k"), START)
    with ledger.begin() as work:
        again = work.conversions.add(an_id(2), a_request("1.500", idempotency_key="k"), START)
    assert again == first
    assert counts(ledger) == (1, 1)


def test_a_repeat_tells_how_the_conversion_stands_now(ledger: AnyLedger) -> None:
    from converter.domain.conversions import State
    from tests.builders import seconds

    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(idempotency_key="k"), START)
        claimed = work.conversions.claim(an_id(1), "a", seconds(1), (State.RECEIVED,))
        assert claimed is not None
        work.conversions.move(claimed, State.CANCELLED)
    with ledger.begin() as work:
        assert work.conversions.add(an_id(2), a_request(idempotency_key="k"), START).state is State.CANCELLED


@pytest.mark.parametrize(
    "other",
    [{"amount": "1.6"}, {"address": OTHER_BTC_ADDRESS}, {"to_asset": LIGHTNING}],
    ids=["amount", "address", "network"],
)
def test_another_request_under_the_same_key_is_refused_and_nothing_is_written(
    ledger: AnyLedger, other: dict[str, object]
) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(idempotency_key="k"), START)
    before = counts(ledger)
    with pytest.raises(IdempotencyConflict) as caught, ledger.begin() as work:
        work.conversions.add(an_id(2), a_request(**{"idempotency_key": "k", **other}), START)  # type: ignore[arg-type]
    assert caught.value.conversion_id == an_id(1)
    assert counts(ledger) == before


def test_requests_without_a_key_are_all_different(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number in (1, 2):
            work.conversions.add(an_id(number), a_request(), START)
    assert counts(ledger) == (2, 0)


def test_an_id_is_used_once(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), START)
    with pytest.raises(sa.exc.IntegrityError), ledger.begin() as work:
        work.conversions.add(an_id(1), a_request("2"), START)
    assert counts(ledger) == (1, 0)


def test_keys_are_compared_exactly(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number, key in enumerate(("k", "K", "k ", " k")):
            work.conversions.add(an_id(number), a_request(idempotency_key=key), START)
    assert counts(ledger) == (4, 4)


@pytest.mark.parametrize("threads", [2, 6])
def test_one_key_from_many_threads_at_once_is_one_conversion(engine: Engine, threads: int) -> None:
    ledger = SqlLedger(engine)
    barrier = threading.Barrier(threads)

    def add(number: int) -> str:
        barrier.wait(10)
        with ledger.begin() as work:
            return work.conversions.add(an_id(number), a_request(idempotency_key="k"), START).id

    for _ in range(3):
        with ledger.engine.begin() as connection:
            connection.execute(idempotency_keys.delete())
            connection.execute(conversions.delete())
        with ThreadPoolExecutor(threads) as pool:
            ids = list(pool.map(add, range(threads)))
        assert len(set(ids)) == 1
        assert counts(ledger) == (1, 1)


def test_two_different_requests_under_one_key_at_once_leave_one_of_them(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    barrier = threading.Barrier(2)

    def add(number: int) -> str:
        barrier.wait(10)
        try:
            with ledger.begin() as work:
                return work.conversions.add(an_id(number), a_request(str(number), idempotency_key="k"), START).id
        except IdempotencyConflict as conflict:
            return f"conflict with {conflict.conversion_id}"

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(add, (1, 2)))
    kept = told[1]
    assert told == [f"conflict with {kept}", kept]
    assert counts(ledger) == (1, 1)


def test_a_repeat_does_not_spoil_the_transaction_that_it_came_in(ledger: AnyLedger) -> None:
    """What else the transaction wrote is kept."""
    from converter.domain.events import Event

    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(idempotency_key="k"), START)
    with ledger.begin() as work:
        work.outbox.add(Event("before"))
        work.conversions.add(an_id(2), a_request(idempotency_key="k"), START)
        work.outbox.add(Event("after"))
    with ledger.begin() as work:
        assert [event.name for event in work.outbox.after(0)] == ["before", "after"]


def test_a_key_is_looked_up_without_a_trace(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        assert work.conversions.known(a_request(idempotency_key="k")) is None
        assert work.conversions.known(a_request()) is None
        kept = work.conversions.add(an_id(1), a_request(idempotency_key="k"), START)
    before = counts(ledger)
    with ledger.begin() as work:
        assert work.conversions.known(a_request("1.500", idempotency_key="k")) == kept
        assert work.conversions.known(a_request(idempotency_key="another")) is None
    with pytest.raises(IdempotencyConflict), ledger.begin() as work:
        work.conversions.known(a_request("2", idempotency_key="k"))
    assert counts(ledger) == before
