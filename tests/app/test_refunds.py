"""A deposit that comes back: believed when its chain shows it, and only then is anything paid again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.domain import events
from converter.domain.conversions import AttemptState, State
from converter.domain.errors import MalformedResponse, ServiceUnavailable
from converter.domain.orders import Order, OrderStatus, Refund
from converter.wallets.manual import ManualWallet
from tests.app.house import APPROVAL, DEPOSIT, House
from tests.builders import seconds
from tests.fakes import ScriptedService, bend, refuse, tell


def refunding(house: House) -> ScriptedService:
    """The better service sends the deposit back; beta stands behind it."""
    house.add("beta", APPROVAL, "0.099")
    service = house.add("alpha", DEPOSIT, "0.1")
    service.refunds = True
    return service


def begun(house: House) -> str:
    cid = house.receive()
    house.begin(cid)
    return cid


def refund_of(service: ScriptedService) -> Refund:
    [booked] = service.orders.values()
    assert booked.refund is not None
    return booked.refund


def arrive(house: House, service: ScriptedService, amount: str = "1.49") -> None:
    house.wallet.refunds[refund_of(service).txid] = Decimal(amount)


def test_nothing_is_paid_again_before_the_refund_is_confirmed(house: House) -> None:
    service = refunding(house)
    cid = begun(house)
    for _ in range(10):
        house.look(cid)
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
    assert "not confirmed yet" in house.get(cid).reason
    arrive(house, service)
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "beta")
    assert house.states(cid) == [("alpha", AttemptState.REFUNDED), ("beta", AttemptState.SETTLED)]
    assert len(house.payouts()) == 1
    [event] = house.events(events.CONVERSION_REFUNDED)
    assert event.payload["amount"] == "1.49"


def test_a_service_that_sent_the_deposit_back_is_not_asked_again_at_once(house: House) -> None:
    service = refunding(house)
    cid = begun(house)
    arrive(house, service)
    house.finish(cid)
    assert len(service.orders) == 1


def test_a_refund_that_is_much_too_small_goes_to_a_person(house: House) -> None:
    service = refunding(house)
    cid = begun(house)
    arrive(house, service, "0.3")
    done = house.finish(cid)
    assert done.state is State.NEEDS_REVIEW
    assert "brought 0.3 of 1.5" in done.reason
    assert len(house.attempts(cid)) == 1


def test_a_refund_without_a_transaction_goes_to_a_person(house: House) -> None:
    service = refunding(house)

    def nameless(order: Order | None) -> Order | None:
        return order and replace(order, refund=None)

    service.always("find", bend(nameless))
    done = house.finish(begun(house))
    assert done.state is State.NEEDS_REVIEW
    assert "names no transaction" in done.reason


def test_a_refund_to_a_wallet_of_a_person_goes_to_the_person(house: House) -> None:
    refunding(house)
    cid = begun(house)
    house.wallets["ETH"] = ManualWallet("ETH")
    done = house.finish(cid)
    assert done.state is State.NEEDS_REVIEW
    assert "a person must confirm" in done.reason


def test_one_transaction_is_the_refund_of_one_conversion_only(house: House) -> None:
    service = refunding(house)
    one = begun(house)
    arrive(house, service)
    assert house.finish(one).state is State.COMPLETED
    first = refund_of(service)
    house.clock.forward(61)  # the service may be asked again
    two = house.receive(2)
    house.begin(two)
    second = list(service.orders.values())[-1]
    second.refund = first
    done = house.finish(two)
    assert done.state is State.NEEDS_REVIEW
    assert one in done.reason
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("error", [ServiceUnavailable, MalformedResponse])
def test_a_node_that_does_not_answer_proves_no_refund(house: House, error: Any) -> None:
    service = refunding(house)
    house.wallet.on("received", refuse(error), refuse(error))
    cid = begun(house)
    arrive(house, service)
    house.look(cid)
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
    assert house.finish(cid).state is State.COMPLETED


def test_a_parked_conversion_goes_on_when_its_refund_turns_up(house: House) -> None:
    service = refunding(house)
    cid = begun(house)
    assert house.finish(cid).state is State.NEEDS_REVIEW
    arrive(house, service)
    house.look(cid)
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "beta")


def test_without_failover_a_refunded_conversion_fails(house: House) -> None:
    service = refunding(house)
    house.change_policy(auto_failover=False)
    cid = begun(house)
    arrive(house, service)
    done = house.finish(cid)
    assert done.state is State.FAILED
    assert "sent the deposit back" in done.reason


def test_a_service_that_takes_its_refund_back_is_followed(house: House) -> None:
    """Until the chain shows the refund, what the service says may change."""
    service = refunding(house)
    cid = begun(house)
    house.look(cid)
    [booked] = service.orders.values()
    booked.status, booked.refund = OrderStatus.PAYING_OUT, None
    booked.payouts.append("payout")
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")


# --- Held ------------------------------------------------------------------------------------------------------------


def held(order: Order | None) -> Order | None:
    return order and replace(order, status=OrderStatus.HELD, detail="verifying")


def test_a_held_order_is_told_once_with_its_deadline_and_then_a_person_is_asked(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    service.pays_out = False
    house.add("beta", APPROVAL, "0.099")
    cid = begun(house)
    service.always("find", bend(held))
    house.look(cid)
    house.look(cid)
    [event] = house.events(events.CONVERSION_HELD)
    assert event.payload["serviceId"] == "alpha"
    assert "verifying" in event.payload["reason"]
    assert event.payload["deadline"] > house.clock.time.isoformat()
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert len(house.events(events.CONVERSION_NEEDS_REVIEW)) == 1
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]


def test_a_held_order_that_is_paid_after_all_completes_without_a_person(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    cid = begun(house)
    service.on("find", *[bend(held)] * 3)
    assert house.finish(cid).state is State.COMPLETED


def test_an_order_that_expired_before_its_deposit_fails_over_at_once(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    house.add("beta", APPROVAL, "0.099")

    def expired(order: Order) -> Order:
        return replace(order, status=OrderStatus.EXPIRED)

    service.on("place", bend(expired))
    cid = begun(house)
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "beta")
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)
    assert house.wallet.broadcasts == []


def test_a_deposit_that_would_come_too_late_is_not_sent(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    house.add("beta", APPROVAL, "0.099")

    def ends_soon(order: Order) -> Order:
        assert order.deposit is not None
        soon = house.clock.time + seconds(50)
        return replace(order, deposit=replace(order.deposit, valid_until=soon))

    service.on("place", bend(ends_soon))
    cid = begun(house)
    assert house.finish(cid).service_id == "beta"
    assert "too late" in house.attempts(cid)[0].error
    assert house.wallet.broadcasts == []


def test_the_coins_of_a_payment_that_was_not_stored_are_freed(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    house.wallet.on("prepare", lambda scene: (scene.do(), house.clock.forward(31))[0])
    begun(house)
    assert house.wallet.broadcasts == []
    assert house.wallet.set_aside == 0
    assert service.payouts == []


def test_a_look_up_names_the_deposit_and_its_transaction(house: House) -> None:
    service = house.add("alpha", DEPOSIT, "0.1")
    seen: list[Any] = []
    found = service.find_order

    def find_order(ref: Any, deadline: Any) -> Any:
        seen.append(ref)
        return found(ref, deadline)

    service.find_order = find_order  # type: ignore[method-assign]
    cid = begun(house)
    house.finish(cid)
    assert seen[-1].deposit_txid == house.wallet.broadcasts[0].txid
    assert seen[-1].deposit.address == house.wallet.broadcasts[0].address


def test_an_absent_refund_is_no_refund(house: House) -> None:
    service = refunding(house)
    house.wallet.always("received", tell(None))
    cid = begun(house)
    arrive(house, service)
    house.look(cid)
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
