"""A conversion at a service of each kind, with nothing in the way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.domain import events
from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.orders import OperationKind
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, KINDS, House

STEPS = {
    DEPOSIT: [OperationKind.ORDER, OperationKind.DEPOSIT],
    EXCHANGE: [OperationKind.ORDER, OperationKind.WITHDRAWAL],
    APPROVAL: [OperationKind.ORDER, OperationKind.APPROVAL],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversion_is_paid_out_once_and_completed(house: House, kind: OperationKind) -> None:
    service = house.add("alpha", kind)
    cid = house.receive()
    assert house.begin(cid).state is State.SETTLING

    done = house.finish(cid)

    assert done.state is State.COMPLETED
    assert len(service.payouts) == 1
    assert (done.service_id, done.promised, done.delivered) == ("alpha", Decimal("0.09"), Decimal("0.09"))
    assert done.txid.startswith("payout-")
    assert (done.due_at, done.owner, done.lease_until, done.reason) == (None, None, None, "")
    assert done.completed_at is not None


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_in_the_ledger_as_executed_and_was_sent_once(house: House, kind: OperationKind) -> None:
    house.add("alpha", kind)
    cid = house.receive()
    house.begin(cid)
    house.finish(cid)
    operations = house.operations(cid)
    assert [one.kind for one in operations] == STEPS[kind]
    assert {one.state for one in operations} == {OperationState.EXECUTED}
    assert {one.sends for one in operations} == {1}
    assert [one.sequence for one in operations] == [1, 2]
    assert house.states(cid) == [("alpha", AttemptState.SETTLED)]


@pytest.mark.parametrize("kind", KINDS)
def test_onlookers_hear_the_story_in_its_order(house: House, kind: OperationKind) -> None:
    house.add("alpha", kind)
    cid = house.receive()
    house.begin(cid)
    house.finish(cid)
    told = [event.name for event in house.events()]
    assert told == [events.CONVERSION_QUOTED, events.CONVERSION_EXECUTING, events.CONVERSION_COMPLETED]
    payload = house.events(events.CONVERSION_COMPLETED)[0].payload
    assert payload["serviceId"] == "alpha"
    assert (payload["promised"], payload["delivered"]) == ("0.09", "0.09")


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_hint_at_any_point_changes_nothing(house: House, kind: OperationKind) -> None:
    service = house.add("alpha", kind)
    cid = house.receive()
    house.begin(cid)
    office = house.office("b")
    for _ in range(5):
        office.planning.start(cid)
        office.selecting.select(cid, 1)
        office.execution.execute(cid)
        office.settlement.settle(cid)
    done = house.finish(cid)
    assert done.state is State.COMPLETED
    for _ in range(2):
        assert office.planning.start(cid) is None
        assert office.execution.execute(cid) is None
        assert office.settlement.settle(cid) is None
    assert house.get(cid) == done
    assert len(service.payouts) == 1
    assert service.count("place") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_asked_of_a_service_while_a_transaction_is_open(house: House, kind: OperationKind) -> None:
    """No HTTP inside a transaction: SQLite would make every other worker wait for the service."""
    service = house.add("alpha", kind)
    open_now: list[bool] = []

    def note(scene):  # type: ignore[no-untyped-def]
        open_now.append(house.ledger.engine.pool.checkedout() > 0)  # type: ignore[attr-defined]
        return scene.do()

    for operation in ("quote", "place", "advance", "find"):
        service.always(operation, note)
    for operation in ("account", "prepare", "broadcast", "observe"):
        house.wallet.always(operation, note)
    cid = house.receive()
    house.begin(cid)
    house.finish(cid)
    assert len(open_now) >= 4
    assert not any(open_now)


@pytest.mark.parametrize("kind", KINDS)
def test_what_arrived_is_told_when_it_is_less_than_the_bound(house: House, kind: OperationKind) -> None:
    from dataclasses import replace

    from tests.fakes import bend

    service = house.add("alpha", kind)
    service.always("find", bend(lambda order: replace(order, delivered=Decimal("0.05")) if order else None))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert done.state is State.COMPLETED
    assert done.delivered == Decimal("0.05")
    assert "0.05" in done.reason
    assert "0.09" in done.reason


def test_two_conversions_at_once_do_not_touch_each_other(house: House) -> None:
    alpha, beta = house.add("alpha", DEPOSIT), house.add("beta", EXCHANGE, "0.0899")
    first, second = house.receive(1), house.receive(2, amount="1.51")
    house.begin(first)
    house.begin(second, "b")
    assert house.finish(first).state is State.COMPLETED
    assert house.finish(second, "b").state is State.COMPLETED
    assert len(alpha.payouts) == 2
    assert beta.payouts == []
    assert sorted(house.wallet.mined) == [0, 1]
    assert {one.amount for one in house.wallet.mined.values()} == {Decimal("1.5"), Decimal("1.51")}
