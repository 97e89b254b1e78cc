"""Unknown -> proven, by kind of service: executed, not executed, or before a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.desk import Next
from converter.domain import events
from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.errors import OutcomeUnknown, ServiceRejected, ServiceUnavailable
from converter.domain.orders import OperationKind, OperationRule, Order, OrderRef, OrderStatus
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, KINDS, House
from tests.builders import an_order_request, seconds
from tests.fakes import (
    RULES,
    Crash,
    FragileLedger,
    bend,
    die_after,
    die_before,
    first,
    lose_answer,
    refuse,
    tell,
    then,
    vanish,
)

SECOND_STEP = {DEPOSIT: "broadcast", EXCHANGE: "advance", APPROVAL: "advance"}


def party(house: House, kind: OperationKind) -> Any:
    """Who takes the step that moves money out."""
    return house.wallet if kind is DEPOSIT else house.services["alpha"]


def unknown_order(house: House, kind: OperationKind, act: Any = vanish, **capabilities: Any) -> str:
    """A conversion whose order at alpha is unknown, with beta ready behind it."""
    house.add("alpha", kind, "0.1", **capabilities).on("place", act)
    house.add("beta", kind, "0.099")
    cid = house.receive()
    assert house.begin(cid).state is State.RECONCILING
    return cid


def unknown_step(house: House, kind: OperationKind, act: Any) -> str:
    """A conversion whose second step at alpha is unknown, with beta ready behind it."""
    house.add("alpha", kind, "0.1")
    house.add("beta", kind, "0.099")
    party(house, kind).on(SECOND_STEP[kind], act)
    cid = house.receive()
    assert house.begin(cid).state is State.RECONCILING
    return cid


# --- The order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_whose_answer_was_lost_is_found_and_goes_on(house: House, kind: OperationKind) -> None:
    cid = unknown_order(house, kind, lose_answer)
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")
    assert house.services["alpha"].count("place") == 1
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_never_arrived_frees_the_conversion_only_after_the_quiet_time(
    house: House, kind: OperationKind
) -> None:
    cid = unknown_order(house, kind)
    [operation] = house.operations(cid)
    rule = house.services["alpha"].capabilities.rules[OperationKind.ORDER]
    assert rule.quiet is not None
    proven_from = operation.send_before + rule.quiet
    while house.get(cid).state is State.RECONCILING:
        assert house.services["beta"].count("place") == 0
        house.look(cid)
    assert house.clock.time > proven_from
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "beta")
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_without_failover_a_proven_absence_ends_the_conversion(house: House, kind: OperationKind) -> None:
    house.change_policy(auto_failover=False)
    cid = unknown_order(house, kind)
    failed = house.finish(cid)
    assert failed.state is State.FAILED
    assert "never took it" in failed.reason
    assert house.payouts() == []
    assert len(house.events(events.CONVERSION_FAILED)) == 1


def test_the_clock_is_read_before_the_service_is_asked(house: House) -> None:
    """An answer that is an hour old when it comes says what was so an hour ago."""
    cid = unknown_order(house, DEPOSIT)
    alpha = house.services["alpha"]
    alpha.on("find", then(lambda: house.clock.forward(3600), tell(None)))
    house.wait_until_due(cid)
    house.office().settlement.settle(cid)
    assert house.states(cid) == [("alpha", AttemptState.PREPARED)]
    assert house.operations(cid)[0].absences == 0


def test_so_many_absences_are_needed_as_the_service_declares(house: House) -> None:
    rules = {**RULES[EXCHANGE], OperationKind.ORDER: OperationRule(moves_money=True, quiet=seconds(5), absences=4)}
    cid = unknown_order(house, EXCHANGE, rules=rules)
    house.clock.forward(60)
    counts = []
    for _ in range(3):
        house.look(cid)
        counts.append(house.operations(cid)[0].absences)
    assert counts == [1, 2, 3]
    assert house.services["beta"].count("place") == 0
    house.look(cid)
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)


def test_absences_before_the_quiet_time_do_not_count(house: House) -> None:
    cid = unknown_order(house, EXCHANGE)
    for _ in range(3):  # 2, 5 and 15 seconds: the last look is at about 22 of 25 seconds
        house.look(cid)
        assert house.operations(cid)[0].absences == 0


def test_a_look_that_fails_proves_nothing_and_forgets_nothing(house: House) -> None:
    cid = unknown_order(house, EXCHANGE)
    house.clock.forward(60)
    house.look(cid)
    assert house.operations(cid)[0].absences == 1
    house.services["alpha"].on("find", refuse(ServiceUnavailable))
    house.look(cid)
    assert house.operations(cid)[0].absences == 1
    assert house.get(cid).state is State.RECONCILING


def test_an_order_that_turns_up_between_absences_ends_the_doubt(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    house.clock.forward(60)
    house.services["alpha"].on("find", tell(None))
    house.look(cid)
    assert house.operations(cid)[0].absences == 1
    assert house.finish(cid).service_id == "alpha"
    assert len(house.payouts()) == 1


def test_pauses_between_looks_follow_the_declared_row(house: House) -> None:
    house.add("alpha", EXCHANGE).on("place", vanish)
    house.services["alpha"].always("find", refuse(ServiceUnavailable))
    cid = house.receive()
    house.begin(cid)
    pauses = []
    for _ in range(7):
        pauses.append(house.pause(cid))
        house.look(cid)
    assert pauses == [2, 5, 15, 30, 60, 60, 60]


def test_an_order_that_the_service_closed_untouched_frees_the_conversion(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    house.services["alpha"].always("find", bend(lambda order: replace(order, status=OrderStatus.REJECTED)))
    done = house.finish(cid)
    assert done.service_id == "beta"
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)


def test_no_failover_is_told_for_an_order_that_filled_nothing(house: House) -> None:
    for name, net in (("alpha", "0.1"), ("beta", "0.0995"), ("gamma", "0.099")):
        house.add(name, EXCHANGE, net)
    house.services["alpha"].on("place", refuse(ServiceRejected))
    house.services["beta"].on("place", bend(lambda order: replace(order, status=OrderStatus.REJECTED)))
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).service_id == "gamma"
    assert [one.payload for one in house.events(events.FAILOVER_SUCCESS)] == [{"from": "beta", "to": "gamma"}]


# --- The step that moves money out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", [lose_answer, vanish])
def test_a_step_that_is_unknown_ends_in_exactly_one_payout(house: House, kind: OperationKind, act: Any) -> None:
    cid = unknown_step(house, kind, act)
    assert house.services["beta"].count("place") == 0
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")
    assert len(house.payouts()) == 1
    assert house.services["beta"].count("place") == 0


@pytest.mark.parametrize("kind", [DEPOSIT, APPROVAL])
def test_a_repeat_is_counted_before_it_leaves(house: House, kind: OperationKind) -> None:
    cid = unknown_step(house, kind, vanish)
    seen = []
    party(house, kind).on(SECOND_STEP[kind], first(lambda: seen.append(house.operations(cid)[-1].sends)))
    house.finish(cid)
    assert seen == [2]


@pytest.mark.parametrize("kind", [DEPOSIT, APPROVAL])
@pytest.mark.parametrize("error", [ServiceRejected, ServiceUnavailable])
def test_a_repeat_that_is_refused_never_frees_the_attempt(
    house: House, kind: OperationKind, error: type[Exception]
) -> None:
    """The first send may have been the one that went through."""
    cid = unknown_step(house, kind, vanish)
    party(house, kind).on(SECOND_STEP[kind], refuse(error))
    house.look(cid)
    operation = house.operations(cid)[-1]
    assert (operation.sends, operation.state) == (2, OperationState.PREPARED)
    assert house.get(cid).state is State.RECONCILING
    assert house.services["beta"].count("place") == 0
    assert house.finish(cid).service_id == "alpha"
    assert len(house.payouts()) == 1


def test_a_repeat_that_could_not_be_sent_in_time_never_frees_the_attempt(house: House) -> None:
    """It did not leave; what is in doubt is the send before it, which the service does not show yet."""
    cid = unknown_step(house, APPROVAL, lose_answer)
    alpha = house.services["alpha"]
    lagging = bend(lambda order: replace(order, status=OrderStatus.AWAITING_APPROVAL))
    alpha.on("find", lagging)
    within = alpha.capabilities.send_within
    alpha.capabilities = replace(alpha.capabilities, send_within=seconds(0))
    house.look(cid)
    operation = house.operations(cid)[-1]
    assert (operation.sends, operation.state) == (2, OperationState.PREPARED)
    assert house.get(cid).state is State.RECONCILING
    assert house.services["beta"].count("place") == 0
    alpha.capabilities = replace(alpha.capabilities, send_within=within)
    assert house.finish(cid).service_id == "alpha"
    assert len(house.payouts()) == 1


def test_a_refusal_by_another_owner_than_the_one_who_prepared_never_frees_the_attempt(house: House) -> None:
    alpha = house.add("alpha", APPROVAL, "0.1")
    house.add("beta", APPROVAL, "0.099")
    cid = house.executing()
    alpha.on("advance", die_before)
    with pytest.raises(BaseException, match="advance"):
        house.office("a").execution.execute(cid)
    alpha.on("advance", refuse(ServiceRejected))
    house.look(cid, "b")
    assert house.get(cid).state is State.RECONCILING
    assert house.states(cid) == [("alpha", AttemptState.PENDING)]
    assert house.services["beta"].count("place") == 0


def test_an_approval_that_is_refused_at_its_one_send_frees_the_conversion(house: House) -> None:
    alpha = house.add("alpha", APPROVAL, "0.1")
    house.add("beta", APPROVAL, "0.099")
    alpha.on("advance", refuse(ServiceRejected))
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).service_id == "beta"
    assert alpha.payouts == []
    assert len(house.payouts()) == 1


def test_an_approval_in_doubt_whose_order_was_closed_goes_to_a_person(house: House) -> None:
    cid = unknown_step(house, APPROVAL, vanish)
    house.services["alpha"].always("find", bend(lambda order: replace(order, status=OrderStatus.REJECTED)))
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert house.services["beta"].count("place") == 0


def test_an_approval_in_doubt_whose_order_was_closed_before_any_frees_the_conversion(house: House) -> None:
    cid = unknown_step(house, APPROVAL, vanish)
    closed = {"status": OrderStatus.REJECTED, "untouched": True}
    house.services["alpha"].always("find", bend(lambda order: replace(order, **closed)))
    assert house.finish(cid).service_id == "beta"
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("status", [OrderStatus.OPEN, OrderStatus.SETTLED])
def test_only_a_closed_order_is_untouched(status: OrderStatus) -> None:
    with pytest.raises(ValueError, match="untouched"):
        Order(OrderRef(an_order_request()), status, untouched=True)


def test_a_repeat_by_a_slow_owner_is_not_recorded_after_another_took_over(house: House) -> None:
    cid = unknown_step(house, APPROVAL, vanish)
    alpha = house.services["alpha"]
    house.wait_until_due(cid)

    def taken_over() -> None:
        house.clock.forward(31)
        house.office("b").settlement.settle(cid)

    alpha.on("advance", then(taken_over, refuse(ServiceRejected)))
    assert house.office("a").settlement.settle(cid) is None
    assert house.finish(cid, "b").state is State.COMPLETED
    assert len(house.payouts()) == 1


# --- Before a person -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_unknown_goes_to_a_person_with_the_evidence_and_never_fails(
    house: House, kind: OperationKind
) -> None:
    cid = unknown_order(house, kind, lose_answer)
    house.services["alpha"].always("find", refuse(ServiceUnavailable))
    start = house.clock.time
    parked = house.finish(cid)
    assert parked.state is State.NEEDS_REVIEW
    assert seconds(3600) < house.clock.time - start < seconds(3600 + 120)
    [told] = house.events(events.CONVERSION_NEEDS_REVIEW)
    [evidence] = told.payload["evidence"]
    assert evidence["serviceId"] == "alpha"
    assert evidence["key"] == house.attempts(cid)[0].key
    assert (evidence["operation"], evidence["state"], evidence["sends"]) == ("order", "PREPARED", 1)
    for _ in range(30):
        house.look(cid)
    assert house.get(cid).state is State.NEEDS_REVIEW
    assert len(house.events(events.CONVERSION_NEEDS_REVIEW)) == 1
    assert house.services["beta"].count("place") == 0


def test_what_nothing_can_prove_goes_to_a_person_sooner(house: House) -> None:
    rules = {**RULES[EXCHANGE], OperationKind.ORDER: OperationRule(moves_money=True)}
    cid = unknown_order(house, EXCHANGE, rules=rules)
    start = house.clock.time
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert seconds(900) < house.clock.time - start < seconds(900 + 120)
    assert house.states(cid) == [("alpha", AttemptState.PREPARED)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_parked_conversion_is_completed_when_its_payout_turns_up(house: House, kind: OperationKind) -> None:
    cid = unknown_order(house, kind, lose_answer)
    alpha = house.services["alpha"]
    alpha.always("find", refuse(ServiceUnavailable))
    house.finish(cid)
    [booked] = alpha.orders.values()
    booked.status = OrderStatus.SETTLED  # an operator at the service finished it by hand
    alpha.always("find", None)
    done = house.look(cid)
    assert done.state is State.COMPLETED
    assert done.delivered == Decimal("0.1")
    assert house.states(cid) == [("alpha", AttemptState.SETTLED)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_sent_for_a_parked_conversion(house: House, kind: OperationKind) -> None:
    cid = unknown_order(house, kind, lose_answer)
    alpha = house.services["alpha"]
    alpha.always("find", refuse(ServiceUnavailable))
    house.finish(cid)
    alpha.always("find", None)
    for _ in range(10):
        house.look(cid)
    assert house.get(cid).state is State.NEEDS_REVIEW
    assert alpha.count("advance") == 0
    assert house.wallet.broadcasts == []
    assert house.payouts() == []


def test_a_parked_conversion_is_looked_at_every_five_minutes(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    house.services["alpha"].always("find", refuse(ServiceUnavailable))
    house.finish(cid)
    assert house.pause(cid) == 300
    house.look(cid)
    assert house.pause(cid) == 300


def test_a_service_taken_out_of_the_configuration_leaves_its_open_order_to_a_person(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    del house.services["alpha"]
    parked = house.finish(cid, "b")
    assert parked.state is State.NEEDS_REVIEW
    assert "alpha is not configured any more" in parked.reason


def test_a_person_is_asked_once_about_a_service_that_was_taken_out(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    del house.services["alpha"]
    house.finish(cid, "b")
    for _ in range(5):
        house.look(cid, "b")
    assert len(house.events(events.CONVERSION_NEEDS_REVIEW)) == 1


def test_a_service_that_comes_back_into_the_configuration_completes_what_was_parked(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    alpha = house.services.pop("alpha")
    house.finish(cid, "b")
    house.services["alpha"] = alpha
    [booked] = alpha.orders.values()
    booked.status = OrderStatus.SETTLED
    assert house.look(cid, "b").state is State.COMPLETED


@pytest.mark.parametrize("shown", [tell(None), refuse(OutcomeUnknown)])
def test_an_order_that_its_service_stops_showing_comes_before_a_person(
    house: House, shown: Callable[[Any], Any]
) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    house.begin(cid)
    house.services["alpha"].always("find", shown)
    for _ in range(100):
        house.clock.forward(3600)
        house.look(cid)
    assert house.get(cid).state is State.NEEDS_REVIEW


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_between_the_proof_of_absence_and_the_failover_loses_nothing(house: House, kind: OperationKind) -> None:
    cid = unknown_order(house, kind)
    house.clock.forward(120)
    if kind is EXCHANGE:  # the first of its two absences
        house.look(cid)
    house.wait_until_due(cid)
    fragile = FragileLedger(house.ledger, dies_at=4)  # claim, read the operation twice, record the absence
    with pytest.raises(Crash):
        house.office("a", fragile).settlement.settle(cid)
    assert house.operations(cid)[0].state is OperationState.NOT_EXECUTED
    assert house.states(cid) == [("alpha", AttemptState.PREPARED)]
    assert house.finish(cid, "b").state is State.COMPLETED
    assert len(house.payouts()) == 1


def test_a_crash_after_the_order_was_executed_is_reconciled(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    alpha.on("place", die_after)
    cid = house.executing()
    with pytest.raises(BaseException, match="place"):
        house.office("a").execution.execute(cid)
    assert house.get(cid).state is State.EXECUTING
    assert house.office("b").execution.execute(cid) is None, "the lease still holds"
    assert house.finish(cid, "b").state is State.COMPLETED
    assert alpha.count("place") == 1
    assert len(house.payouts()) == 1


def test_reconciling_by_two_owners_at_once_is_done_by_one(house: House) -> None:
    cid = unknown_order(house, EXCHANGE, lose_answer)
    alpha = house.services["alpha"]
    house.wait_until_due(cid)
    seen = []
    alpha.on("find", first(lambda: seen.append(house.office("b").settlement.settle(cid))))
    house.office("a").follow(Next.SETTLE, cid)
    assert seen == [None]
    assert len(house.payouts()) == 1
