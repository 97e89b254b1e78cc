"""Following an order to its end: withdrawals, pauses, odd answers, and what the sweep finds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.desk import Next
from converter.domain import events
from converter.domain.conversions import AttemptState, OperationState, State, operation_key
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    PairNotSupported,
    QuoteExpired,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import OperationKind, Order, OrderStatus
from converter.sweeping import LIMIT, REPEAT
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.builders import seconds
from tests.fakes import Scene, bend, refuse, tell, vanish

ALWAYS = 100


def shown_as(status: OrderStatus) -> Any:
    def change(order: Order | None) -> Order | None:
        return replace(order, status=status) if order else None

    return bend(change)


# --- Withdrawals -----------------------------------------------------------------------------------------------------


def traded(house: House) -> tuple[Any, str]:
    """An exchange that takes our order, with another service behind it."""
    alpha = house.add("alpha", EXCHANGE, "0.1")
    house.add("beta", APPROVAL, "0.099")
    return alpha, house.receive()


def test_a_withdrawal_refused_once_is_asked_for_again_under_a_new_key(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("advance", refuse(ServiceRejected))
    house.begin(cid)
    done = house.finish(cid)
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")
    withdrawals = [one for one in house.operations(cid) if one.kind is OperationKind.WITHDRAWAL]
    assert [one.state for one in withdrawals] == [OperationState.NOT_EXECUTED, OperationState.EXECUTED]
    assert len({one.key for one in withdrawals}) == 2
    assert alpha.payouts == [withdrawals[1].key]


def test_a_withdrawal_refused_five_times_goes_to_a_person_and_never_to_another_service(house: House) -> None:
    alpha, cid = traded(house)
    alpha.always("advance", refuse(ServiceRejected, code="-4026"))
    house.begin(cid)
    pauses = [house.pause(cid)]
    for _ in range(3):
        house.look(cid)
        pauses.append(house.pause(cid))
    assert pauses == [10, 20, 30, 40]
    parked = house.look(cid)
    assert parked.state is State.NEEDS_REVIEW
    assert "-4026" in parked.reason
    assert alpha.count("advance") == 5
    assert house.states(cid) == [("alpha", AttemptState.EXECUTED)]
    for _ in range(20):
        house.look(cid)
    assert alpha.count("advance") == 5
    assert house.services["beta"].count("place") == 0
    assert len(house.events(events.CONVERSION_NEEDS_REVIEW)) == 1


@pytest.mark.parametrize("error", [AmountOutOfRange, PairNotSupported, QuoteExpired])
def test_any_kind_of_refusal_of_a_withdrawal_comes_before_a_person(house: House, error: type[Exception]) -> None:
    alpha, cid = traded(house)
    alpha.always("advance", refuse(error))
    house.begin(cid)
    assert house.finish(cid, looks=12).state is State.NEEDS_REVIEW


def test_an_exchange_that_refuses_our_key_for_the_withdrawal_comes_before_a_person(house: House) -> None:
    alpha, cid = traded(house)
    alpha.always("advance", refuse(AuthenticationFailed))
    house.begin(cid)
    assert house.finish(cid, looks=12).state is State.NEEDS_REVIEW
    assert alpha.count("advance") == 5


def test_keys_stay_short_while_an_exchange_is_away_for_a_night(house: House) -> None:
    alpha, cid = traded(house)
    alpha.always("advance", refuse(ServiceUnavailable))
    house.begin(cid)
    for _ in range(6):
        house.look(cid)
    tries = house.operations(cid)
    night, per_try = seconds(10 * 3600), (tries[-1].created_at - tries[1].created_at) / (len(tries) - 2)
    last = operation_key(house.attempts(cid)[0].key, OperationKind.WITHDRAWAL, int(night / per_try))
    assert len(last) <= 32


def test_an_exchange_that_is_down_for_the_withdrawal_keeps_the_conversion(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("advance", *[refuse(ServiceUnavailable)] * 4)
    house.begin(cid)
    assert house.finish(cid).service_id == "alpha"
    assert len(alpha.payouts) == 1
    assert house.services["beta"].count("place") == 0


def test_an_exchange_that_is_away_for_some_minutes_needs_nobody(house: House) -> None:
    alpha, cid = traded(house)
    back = house.clock.time + seconds(300)

    def away(scene: Scene) -> Any:
        if house.clock.time < back:
            raise ServiceUnavailable("alpha", "withdraw")
        return scene.do()

    alpha.always("advance", away)
    house.begin(cid)
    assert house.finish(cid).state is State.COMPLETED


def test_a_withdrawal_that_never_arrived_is_asked_for_again_only_after_proof(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("advance", vanish)
    house.begin(cid)
    start = house.clock.time
    done = house.finish(cid)
    assert done.state is State.COMPLETED
    assert house.clock.time - start > seconds(600)
    assert alpha.count("advance") == 2
    assert len(alpha.payouts) == 1


@pytest.mark.parametrize("looks", [1, 3])
def test_a_withdrawal_that_was_accepted_is_never_followed_by_a_second(house: House, looks: int) -> None:
    """The exchange took the withdrawal, but its history shows it only some looks later."""
    alpha, cid = traded(house)
    house.begin(cid)
    assert len(alpha.payouts) == 1
    assert house.operations(cid)[-1].state is OperationState.EXECUTED
    alpha.on("find", *[shown_as(OrderStatus.FILLED)] * looks)
    house.finish(cid)
    assert len(alpha.payouts) == 1


def test_an_answer_to_a_withdrawal_that_still_says_filled_is_not_withdrawn_again(house: House) -> None:
    alpha, cid = traded(house)
    alpha.always("advance", shown_as(OrderStatus.FILLED))
    house.begin(cid)
    assert len(alpha.payouts) == 1


def test_a_look_up_that_lags_behind_a_withdrawal_costs_nobody_the_claim(house: House) -> None:
    """The ledger knows that the step was taken: nothing is begun that its index would have to bar."""
    alpha, cid = traded(house)
    house.begin(cid)
    alpha.on("find", shown_as(OrderStatus.FILLED))
    looked = house.look(cid)
    assert (looked.state, looked.owner, looked.lease_until) == (State.SETTLING, None, None)
    assert house.finish(cid).state is State.COMPLETED
    assert len(alpha.payouts) == 1


def test_an_unknown_withdrawal_is_not_repeated_although_the_order_says_filled(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("advance", vanish)
    house.begin(cid)
    for _ in range(5):
        house.look(cid)
    assert alpha.count("advance") == 1


def test_a_withdrawal_that_comes_back_is_held_and_not_paid_again(house: House) -> None:
    alpha, cid = traded(house)
    house.begin(cid)
    [booked] = alpha.orders.values()
    booked.status = OrderStatus.HELD
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert alpha.count("advance") == 1


# --- Approvals -------------------------------------------------------------------------------------------------------


def test_an_approval_that_was_accepted_is_never_followed_by_a_second(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    cid = house.receive()
    house.begin(cid)
    alpha.on("find", shown_as(OrderStatus.AWAITING_APPROVAL))
    house.finish(cid)
    assert alpha.count("advance") == 1


def test_an_answer_to_an_approval_that_still_awaits_it_does_not_spin(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    alpha.always("advance", shown_as(OrderStatus.AWAITING_APPROVAL))
    cid = house.receive()
    house.begin(cid)
    assert alpha.count("advance") == 1


# --- Orders at work --------------------------------------------------------------------------------------------------


def test_an_order_at_work_is_looked_at_with_growing_pauses(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    alpha.pays_out = False
    cid = house.receive()
    house.begin(cid)
    pauses = []
    for _ in range(12):
        pauses.append(house.pause(cid))
        house.look(cid)
    assert pauses[0] == 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    alpha.pays_out = True
    assert house.finish(cid).state is State.COMPLETED


@pytest.mark.parametrize("status", [OrderStatus.OPEN, OrderStatus.PAYING_OUT])
def test_an_order_that_the_service_works_on_is_left_alone(house: House, status: OrderStatus) -> None:
    alpha = house.add("alpha", APPROVAL)
    cid = house.receive()
    house.begin(cid)
    alpha.on("find", *[shown_as(status)] * 5)
    for _ in range(5):
        assert house.look(cid).state is State.SETTLING
    assert alpha.count("advance") == 1
    assert house.finish(cid).state is State.COMPLETED


def test_an_exchange_order_that_fills_later_is_withdrawn_then(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("place", shown_as(OrderStatus.OPEN))
    alpha.on("find", *[shown_as(OrderStatus.OPEN)] * 3)
    house.begin(cid)
    for _ in range(3):
        house.look(cid)
    assert alpha.payouts == []
    assert house.finish(cid).state is State.COMPLETED
    assert len(alpha.payouts) == 1


def test_an_exchange_order_that_filled_nothing_frees_the_conversion(house: House) -> None:
    alpha, cid = traded(house)
    alpha.on("place", shown_as(OrderStatus.OPEN))
    alpha.always("find", shown_as(OrderStatus.REJECTED))
    house.begin(cid)
    assert house.finish(cid).service_id == "beta"
    assert house.states(cid)[0] == ("alpha", AttemptState.NOT_EXECUTED)
    assert alpha.payouts == []


def test_a_look_that_fails_changes_nothing_but_the_reason(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    cid = house.receive()
    house.begin(cid)
    alpha.on("find", refuse(ServiceUnavailable), tell(None))
    assert "ServiceUnavailable" in house.look(cid).reason
    assert "does not show" in house.look(cid).reason
    assert house.finish(cid).state is State.COMPLETED


def test_an_order_settled_at_once_is_completed_at_once(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    alpha.on("advance", shown_as(OrderStatus.SETTLED))
    cid = house.receive()
    assert house.begin(cid).state is State.COMPLETED


def test_settling_is_only_for_what_is_under_way(house: House) -> None:
    house.add("alpha", EXCHANGE)
    office = house.office()
    received = house.receive(1)
    executing = house.executing(number=2)
    for cid in (received, executing):
        before = house.get(cid)
        assert office.settlement.settle(cid) is None
        assert house.get(cid) == before


def test_a_followed_conversion_without_an_open_attempt_goes_to_a_person(house: House) -> None:
    """It cannot happen; if it does, a person should know."""
    from converter.ledger.tables import attempts

    house.add("alpha", APPROVAL)
    cid = house.receive()
    house.begin(cid)
    with house.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(attempts.update().values(state="REFUNDED"))
    assert house.look(cid).state is State.NEEDS_REVIEW


# --- The sweep -------------------------------------------------------------------------------------------------------


def test_the_sweep_knows_a_task_for_every_state_that_can_stand_still(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    house.change_policy(max_parallel_requests=1)
    tasks: dict[State, Next | None] = {}

    def note(cid: str) -> None:
        house.wait_until_due(cid)
        [errand] = [one for one in house.office().sweeping.due() if one.conversion_id == cid]
        assert errand.round == house.get(cid).round
        tasks[house.get(cid).state] = errand.task

    note(house.receive(1))
    asked = house.receive(2)
    house.office().planning.start(asked)
    note(asked)
    chosen = house.executing(number=3)
    note(chosen)
    house.office().follow(Next.EXECUTE, chosen)
    note(chosen)
    alpha.on("place", vanish)
    unknown = house.receive(4)
    house.begin(unknown)
    note(unknown)
    alpha.on("quote", refuse(ServiceRejected))
    waiting = house.receive(5)
    house.begin(waiting)
    note(waiting)
    alpha.on("place", vanish)
    alpha.always("find", refuse(ServiceUnavailable))
    parked = house.receive(6)
    house.begin(parked)
    house.finish(parked)
    note(parked)
    assert tasks == {
        State.RECEIVED: Next.START,
        State.QUOTING: None,
        State.EXECUTING: Next.EXECUTE,
        State.SETTLING: Next.SETTLE,
        State.RECONCILING: Next.SETTLE,
        State.WAITING: Next.START,
        State.NEEDS_REVIEW: Next.SETTLE,
    }


def test_a_hint_is_not_repeated_at_once(house: House) -> None:
    house.add("alpha", APPROVAL)
    cid = house.receive()
    sweeping = house.office().sweeping
    assert [one.conversion_id for one in sweeping.due()] == [cid]
    assert sweeping.due() == []
    house.clock.forward(REPEAT.total_seconds())
    assert len(sweeping.due()) == 1


def test_a_conversion_in_somebodys_hands_is_not_swept(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    cid = house.executing()
    seen = []

    def look(order: Order) -> Order:
        house.clock.forward(20)
        seen.append(house.office("b").sweeping.due())
        return order

    alpha.on("place", bend(look))
    house.office("a").follow(Next.EXECUTE, cid)
    assert seen == [[]]


def test_a_finished_conversion_is_never_swept(house: House) -> None:
    house.add("alpha", APPROVAL)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).state is State.COMPLETED
    house.clock.forward(10**8)
    assert house.office().sweeping.due() == []


def test_a_sweep_is_bounded(house: House) -> None:
    with house.ledger.begin() as work:
        for number in range(LIMIT + 3):
            from tests.builders import a_request, an_id

            work.conversions.add(an_id(number), a_request(), work.now())
    sweeping = house.office().sweeping
    assert len(sweeping.due()) == LIMIT
    assert len(sweeping.due()) == 3


def test_the_promise_of_the_quote_stands_in_the_conversion_while_it_is_executed(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.0911")
    cid = house.receive()
    house.begin(cid)
    assert (house.get(cid).promised, house.get(cid).service_id) == (Decimal("0.0911"), "alpha")
