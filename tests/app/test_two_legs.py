"""A route over a middle coin: the conversion stays at its service, whatever happens to the second trade."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from converter.domain import events
from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.errors import QuoteExpired, RateLimited, ServiceRejected, ServiceUnavailable
from converter.domain.orders import OperationKind, OperationRule, OrderStatus
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.fakes import (
    RULES,
    Crash,
    FragileLedger,
    ScriptedService,
    bend,
    die_after,
    die_before,
    lose_answer,
    refuse,
    tell,
    vanish,
)

STEPS = [OperationKind.ORDER, OperationKind.TRADE, OperationKind.WITHDRAWAL]


def exchange(house: House) -> ScriptedService:
    """The better service trades over a middle coin; beta stands behind it and must never be needed."""
    house.add("beta", APPROVAL, "0.099")
    service = house.add("alpha", EXCHANGE, "0.1")
    service.legs = 2
    return service


def begun(house: House) -> str:
    cid = house.receive()
    house.begin(cid)
    return cid


def completed_once(house: House, cid: str, service: ScriptedService) -> None:
    assert house.finish(cid).state is State.COMPLETED
    assert house.states(cid) == [("alpha", AttemptState.SETTLED)]
    [booked] = service.orders.values()
    assert len(booked.trades) == 1
    assert len(house.payouts()) == 1


def test_both_trades_and_the_withdrawal_are_operations_of_one_attempt(house: House) -> None:
    service = exchange(house)
    cid = begun(house)
    completed_once(house, cid, service)
    assert [one.kind for one in house.operations(cid)] == STEPS
    keys = {one.key for one in house.operations(cid)}
    assert len(keys) == 3
    [booked] = service.orders.values()
    assert booked.trades[0] in keys


@pytest.mark.parametrize("act", [vanish, lose_answer], ids=["lost on the way", "answer lost"])
def test_an_unclear_second_trade_is_looked_up_and_made_once(house: House, act: Any) -> None:
    service = exchange(house)
    service.on("trade", act)
    cid = begun(house)
    assert house.get(cid).state is State.RECONCILING
    completed_once(house, cid, service)


@pytest.mark.parametrize("die", [die_before, die_after])
def test_a_death_at_the_second_trade_costs_no_money(house: House, die: Any) -> None:
    service = exchange(house)
    service.on("trade", die)
    cid = house.executing()
    with pytest.raises(Crash):
        house.office("a").execution.execute(cid)
    completed_once(house, cid, service)


@pytest.mark.parametrize("dies_at", range(2, 14))
@pytest.mark.parametrize("committed", [True, False])
def test_a_death_at_any_transaction_costs_no_money(house: House, dies_at: int, committed: bool) -> None:
    service = exchange(house)
    cid = house.executing()
    fragile = FragileLedger(house.ledger, dies_at, committed=committed)
    with suppress(Crash):
        house.office("a", fragile).execution.execute(cid)
    assert house.finish(cid).state is State.COMPLETED
    assert len(house.payouts()) == 1
    assert all(len(one.trades) == 1 for one in service.orders.values())


@pytest.mark.parametrize("error", [QuoteExpired, ServiceRejected, ServiceUnavailable, RateLimited])
def test_a_refused_second_trade_is_tried_again_there_under_another_key(house: House, error: Any) -> None:
    service = exchange(house)
    service.on("trade", refuse(error), refuse(error))
    cid = begun(house)
    completed_once(house, cid, service)
    trades = [one for one in house.operations(cid) if one.kind is OperationKind.TRADE]
    assert [one.state for one in trades] == [OperationState.NOT_EXECUTED] * 2 + [OperationState.EXECUTED]
    assert len({one.key for one in trades}) == 3


def test_a_second_trade_that_is_refused_for_good_goes_to_a_person_with_the_middle_coin(house: House) -> None:
    service = exchange(house)
    service.always("trade", refuse(QuoteExpired, detail="the price is worse now"))
    cid = begun(house)
    done = house.finish(cid)
    assert done.state is State.NEEDS_REVIEW
    assert "refuses the trade" in done.reason
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
    assert house.payouts() == []


def test_a_service_that_calls_the_whole_order_rejected_behind_the_first_trade_is_not_believed(house: House) -> None:
    """The middle coin lies there: failing over would spend the original coin a second time."""
    service = exchange(house)
    service.on("trade", refuse(QuoteExpired))
    cid = begun(house)
    [booked] = service.orders.values()
    booked.status = OrderStatus.REJECTED
    done = house.finish(cid)
    assert done.state is State.NEEDS_REVIEW
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]


def test_a_lagging_look_up_does_not_lead_to_a_third_trade(house: House) -> None:
    service = exchange(house)
    service.pays_out = False
    cid = begun(house)
    [booked] = service.orders.values()
    stale = bend(lambda order: order and type(order)(**{**vars(order), "status": OrderStatus.HALFWAY}))
    service.on("find", stale, stale)
    house.look(cid)
    house.look(cid)
    assert len(booked.trades) == 1
    service.pays_out = True
    completed_once(house, cid, service)


def test_the_look_up_of_a_withdrawal_names_the_key_of_the_trade_too(house: House) -> None:
    service = exchange(house)
    service.on("advance", lose_answer)
    cid = begun(house)
    seen: list[Any] = []
    found = service.find_order

    def find_order(ref: Any, deadline: Any) -> Any:
        seen.append((ref.trade_key, ref.step_key))
        return found(ref, deadline)

    service.find_order = find_order  # type: ignore[method-assign]
    completed_once(house, cid, service)
    keys = {one.kind: one.key for one in house.operations(cid)}
    assert set(seen) == {(keys[OperationKind.TRADE], keys[OperationKind.WITHDRAWAL])}


def test_an_order_that_is_gone_behind_the_first_trade_is_followed_not_freed(house: House) -> None:
    service = exchange(house)
    service.on("trade", refuse(QuoteExpired))
    cid = begun(house)
    service.on("find", tell(None), tell(None))
    house.look(cid)
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
    completed_once(house, cid, service)
    assert not house.events(events.FAILOVER_SUCCESS)


def test_the_doubt_about_a_step_is_as_old_as_the_step(house: House) -> None:
    """The first trade was in doubt for a while; the second, in doubt as well, is looked at soon and not parked."""
    service = exchange(house)
    service.on("place", lose_answer)
    cid = begun(house)
    service.on("find", *[refuse(ServiceUnavailable)] * 12)
    for _ in range(12):
        house.look(cid)
    assert house.pause(cid) >= 30
    service.on("trade", lose_answer)
    house.look(cid)
    assert house.get(cid).state is State.RECONCILING
    assert house.pause(cid) <= 3
    assert len(house.events(events.CONVERSION_UNKNOWN)) == 2
    completed_once(house, cid, service)


def test_a_refusal_that_comes_after_the_claim_was_lost_is_kept_as_proof(house: House) -> None:
    """Its only sender knows that nothing was executed; whoever owns the conversion by then could not find out."""
    rule = OperationRule(moves_money=True)
    rules = {**RULES[EXCHANGE], OperationKind.TRADE: rule, OperationKind.WITHDRAWAL: rule}
    house.add("beta", APPROVAL, "0.099")
    service = house.add("alpha", EXCHANGE, "0.1", rules=rules)

    def slow_refusal(scene: Any) -> Any:
        house.clock.forward(31)  # the lease has lapsed, and another worker looked
        house.sweep("b")
        raise ServiceRejected(scene.party, scene.operation)

    service.on("advance", slow_refusal)
    cid = begun(house)
    assert [one.state for one in house.operations(cid)][-1] is OperationState.NOT_EXECUTED
    assert house.finish(cid, "b").state is State.COMPLETED
    assert len(house.payouts()) == 1


def test_what_was_sent_again_meanwhile_is_not_called_unsent(house: House) -> None:
    """A repeat by another owner may have been executed: the refusal of the first send says nothing about it."""
    rules = {**RULES[APPROVAL]}
    house.add("beta", APPROVAL, "0.099")
    service = house.add("alpha", APPROVAL, "0.1", rules=rules)

    def slow_refusal(scene: Any) -> Any:
        house.clock.forward(31)
        service.on("advance", lose_answer)
        house.sweep("b")
        raise ServiceRejected(scene.party, scene.operation)

    service.on("advance", slow_refusal)
    cid = begun(house)
    done = house.finish(cid, "b")
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")
    assert len(house.payouts()) == 1
