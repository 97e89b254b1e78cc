"""Attempting: proven refusals move on, everything else stays where it is."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from converter.desk import Next
from converter.domain import events
from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    IntegrityMismatch,
    MalformedResponse,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import OperationKind
from converter.domain.policy import override_text
from converter.ledger.conversions import SqlConversions
from converter.ledger.repository import SqlWork
from converter.sending import Sending
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, KINDS, House
from tests.builders import seconds
from tests.fakes import first, lose_answer, refuse, then, vanish

PROVEN = (
    ServiceUnavailable,
    RateLimited,
    ServiceRejected,
    AmountOutOfRange,
    PairNotSupported,
    QuoteExpired,
    AuthenticationFailed,
)
UNPROVEN = (OutcomeUnknown, MalformedResponse, ServiceError)


def two(house: House, kind: OperationKind) -> None:
    """Two services of a kind; alpha is the better one."""
    house.add("alpha", kind, "0.1")
    house.add("beta", kind, "0.099")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", PROVEN)
def test_a_proven_refusal_moves_on_to_the_next_candidate(
    house: House, kind: OperationKind, error: type[Exception]
) -> None:
    two(house, kind)
    house.services["alpha"].on("place", refuse(error))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert (done.state, done.service_id, done.promised, done.failovers) == (
        State.COMPLETED,
        "beta",
        Decimal("0.099"),
        1,
    )
    assert house.states(cid) == [("alpha", AttemptState.NOT_EXECUTED), ("beta", AttemptState.SETTLED)]
    assert error.__name__ in house.attempts(cid)[0].error
    assert len(house.payouts()) == 1
    assert house.services["alpha"].count("find") == 0
    [told] = house.events(events.FAILOVER_SUCCESS)
    assert told.payload == {"from": "alpha", "to": "beta"}
    assert done.round == 1, "no new round was needed"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", UNPROVEN)
def test_an_unknown_outcome_waits_and_no_other_service_is_called(
    house: House, kind: OperationKind, error: type[Exception]
) -> None:
    two(house, kind)
    house.services["alpha"].on("place", refuse(error))
    cid = house.receive()
    waiting = house.begin(cid)
    assert waiting.state is State.RECONCILING
    assert error.__name__ in waiting.reason
    assert house.services["beta"].count("place") == 0
    assert house.states(cid) == [("alpha", AttemptState.PREPARED)]
    assert house.operations(cid)[0].state is OperationState.PREPARED
    [told] = house.events(events.CONVERSION_UNKNOWN)
    assert told.payload == {"serviceId": "alpha", "operation": "order"}


def test_an_order_that_is_not_ours_and_moves_nothing_is_left_behind(house: House) -> None:
    two(house, DEPOSIT)
    house.services["alpha"].on("place", refuse(IntegrityMismatch))
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).service_id == "beta"
    assert house.services["alpha"].payouts == []


def test_an_order_that_is_not_ours_and_may_have_moved_money_is_never_left_behind(house: House) -> None:
    two(house, EXCHANGE)
    house.services["alpha"].on("place", refuse(IntegrityMismatch))
    cid = house.receive()
    assert house.begin(cid).state is State.RECONCILING
    assert house.services["beta"].count("place") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_failover_a_refusal_ends_the_conversion_with_its_error(house: House, kind: OperationKind) -> None:
    two(house, kind)
    house.change_policy(auto_failover=False)
    house.services["alpha"].on("place", refuse(ServiceRejected, code="E42"))
    cid = house.receive()
    failed = house.begin(cid)
    assert failed.state is State.FAILED
    assert "E42" in failed.reason
    assert house.services["beta"].count("place") == 0
    assert house.events(events.CONVERSION_FAILED)[0].payload == {"reason": failed.reason}
    assert failed.owner is None


def test_a_conversion_may_switch_failover_off_for_itself(house: House) -> None:
    two(house, APPROVAL)
    house.services["alpha"].on("place", refuse(ServiceRejected))
    cid = house.receive(policy=override_text({"auto_failover": False}))
    assert house.begin(cid).state is State.FAILED


def test_when_all_refuse_a_new_round_asks_without_them(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL).always("place", refuse(ServiceRejected))
    house.add("delta", APPROVAL, "0.0899")
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert (done.state, done.service_id, done.round, done.failovers) == (State.COMPLETED, "delta", 2, 3)
    assert sorted(house.quotes(cid, 2)) == ["delta"]
    assert [one for one, _ in house.states(cid)] == ["alpha", "beta", "gamma", "delta"]


def test_when_nobody_is_left_the_conversion_waits_and_tries_again_later(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    alpha.always("place", refuse(ServiceRejected))
    cid = house.receive()
    assert house.begin(cid).state is State.WAITING
    for _ in range(45):
        house.look(cid)
    assert house.get(cid).state is State.WAITING
    assert alpha.payouts == []
    placed = [one.created_at for one in house.attempts(cid)]
    assert len(placed) >= 3
    assert all(later - earlier >= seconds(60) for earlier, later in pairwise(placed))
    alpha.always("place", None)
    assert house.finish(cid).state is State.COMPLETED


def test_the_same_service_attempted_again_later_is_no_failover(house: House) -> None:
    house.add("alpha", EXCHANGE).on("place", refuse(ServiceRejected))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert done.failovers == 0
    assert house.events(events.FAILOVER_SUCCESS) == []


def test_attempts_in_a_row_are_bounded(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL).always("place", refuse(ServiceRejected))
    house.change_policy(max_attempts=2)
    cid = house.executing()
    assert house.office().execution.execute(cid) is Next.START
    assert [one for one, _ in house.states(cid)] == ["alpha", "beta"]
    assert house.get(cid).state is State.WAITING


# --- Prices ----------------------------------------------------------------------------------------------------------


def test_an_order_carries_the_promise_and_the_least_that_is_accepted(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.09123457")
    house.change_policy(max_rate_difference=Decimal("0.02"))
    house.begin(house.receive())
    [booked] = alpha.orders.values()
    assert booked.request.net == Decimal("0.09123457")
    assert booked.request.minimum_net == Decimal("0.08940987")  # 0.0894098786 floored
    assert booked.request.quote_reference == "offer-alpha"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("later", "taken"), [("0.098", True), ("0.09799999", False)])
def test_a_price_that_fell_below_the_bound_is_a_proven_refusal(
    house: House, kind: OperationKind, later: str, taken: bool
) -> None:
    two(house, kind)
    cid = house.executing()
    house.services["alpha"].net = Decimal(later)
    house.office().follow(Next.EXECUTE, cid)
    assert house.finish(cid).service_id == ("alpha" if taken else "beta")
    assert len(house.payouts()) == 1


def test_offers_that_expired_before_they_were_attempted_are_asked_for_again(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    cid = house.executing()
    house.clock.forward(61)
    house.office().follow(Next.EXECUTE, cid)
    done = house.finish(cid)
    assert (done.state, done.round) == (State.COMPLETED, 2)
    assert alpha.count("place") == 1


def test_an_offer_that_expires_behind_a_refused_one_is_asked_for_again(house: House) -> None:
    two(house, APPROVAL)
    house.services["alpha"].on("place", then(lambda: house.clock.forward(61), refuse(ServiceRejected)))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert (done.service_id, done.round) == ("beta", 2)
    assert house.services["beta"].count("quote") == 2


def test_rounds_whose_offers_expire_at_once_are_slowed_down(house: House) -> None:
    """Asked and chosen, but the hint to execute always came too late."""
    house.add("alpha", APPROVAL)
    cid = house.receive()
    office = house.office()
    hints, pauses = [], []
    for _ in range(7):
        office.quote_and_select(cid)
        house.clock.forward(61)
        hints.append(office.execution.execute(cid))
        assert house.get(cid).state is State.WAITING
        pauses.append(house.pause(cid))
        house.wait_until_due(cid)
    assert hints == [Next.START] * 3 + [None] * 4, "after the third round it waits for the sweep"
    assert pauses == [0, 0, 0, 5, 10, 20, 40]


def test_a_service_that_never_took_the_order_may_be_attempted_again_at_once(house: House) -> None:
    """It refused nothing: the request was lost on the way."""
    alpha = house.add("alpha", APPROVAL)
    alpha.on("place", vanish)
    cid = house.receive()
    house.begin(cid)
    start = house.clock.time
    assert house.finish(cid).state is State.COMPLETED
    assert house.clock.time - start < seconds(30)
    assert [one.refused for one in house.attempts(cid)] == [False, False]
    assert len(house.payouts()) == 1


def test_a_worker_too_slow_to_send_does_not_spin(house: House) -> None:
    house.add("alpha", APPROVAL, send_within=seconds(0))
    cid = house.receive()
    assert house.begin(cid).state is State.WAITING
    assert len(house.attempts(cid)) < 10


# --- Admission -------------------------------------------------------------------------------------------------------


def test_a_candidate_whose_breaker_opened_meanwhile_is_passed_over_without_an_attempt(house: House) -> None:
    two(house, APPROVAL)
    house.place("alpha", max_failures=1)
    cid = house.executing()
    house.services["alpha"].on("place", refuse(ServiceUnavailable))
    other = house.receive(2)
    house.begin(other)  # opens alpha's breaker for executions
    house.office().follow(Next.EXECUTE, cid)
    assert house.finish(cid).service_id == "beta"
    assert [one for one, _ in house.states(cid)] == ["beta"]


def test_what_could_not_be_sent_in_time_is_not_executed_and_never_sent(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.091", send_within=seconds(0))
    house.add("beta", EXCHANGE)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).service_id == "beta"
    assert alpha.count("place") == 0
    assert house.attempts(cid)[0].error == "not sent in time"
    assert not house.attempts(cid)[0].refused


@pytest.mark.parametrize("slow", [(SqlConversions, "move"), (SqlWork, "clock")], ids=["a locked row", "a slow clock"])
def test_nothing_may_be_sent_later_than_the_ledger_says(
    house: House, monkeypatch: pytest.MonkeyPatch, slow: tuple[type, str]
) -> None:
    """`send_before + quiet` is the proof of absence, so `send_by` on our clock must never lie behind it: neither of an
    order, nor of the next step, nor of its repeat."""
    house.add("alpha", APPROVAL).on("advance", vanish)
    cid = house.executing()
    waited = 0.0
    monkeypatch.setattr("converter.ports.outside.time.monotonic", lambda: waited)
    prompt = getattr(*slow)

    def slowly(self, *args, **changes):  # type: ignore[no-untyped-def]
        nonlocal waited
        answer = prompt(self, *args, **changes)
        waited += 1.0
        house.clock.forward(1.0)
        return answer

    monkeypatch.setattr(*slow, slowly)
    leaves: dict[tuple[str, int], float] = {}
    send = Sending._send

    def note(self, conversion, prepared, call):  # type: ignore[no-untyped-def]
        operation, ours = prepared.operation, prepared.send_by.at - waited
        ledgers = (operation.send_before - house.clock.time).total_seconds()
        leaves[operation.kind, operation.sends] = ours - ledgers
        return send(self, conversion, prepared, call)

    monkeypatch.setattr(Sending, "_send", note)
    house.office().execution.execute(cid)
    house.look(cid)
    assert list(leaves) == [("order", 1), ("approval", 1), ("approval", 2)]
    assert [operation for operation, later_by in leaves.items() if later_by > 0.1] == []


# --- Owners ----------------------------------------------------------------------------------------------------------


def test_a_conversion_that_is_being_executed_is_not_executed_by_another(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE)
    cid = house.executing()
    seen = []
    alpha.on("place", first(lambda: seen.append(house.office("b").execution.execute(cid))))
    house.office("a").follow(Next.EXECUTE, cid)
    assert seen == [None]
    assert alpha.count("place") == 1
    assert house.finish(cid).state is State.COMPLETED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["executed", "refused", "unknown"])
def test_an_answer_that_comes_after_the_claim_was_lost_changes_nothing(
    house: House, kind: OperationKind, answer: str
) -> None:
    """The first owner's call takes longer than its lease; another owner takes over before the answer is there."""
    two(house, kind)
    alpha = house.services["alpha"]
    cid = house.executing()
    seen = {}

    def taken_over() -> None:
        house.clock.forward(31)
        house.office("b").follow(Next.EXECUTE, cid)
        seen["before"] = (house.get(cid), house.attempts(cid), house.operations(cid), len(house.events()))

    act = {"executed": None, "refused": refuse(ServiceRejected), "unknown": lose_answer}[answer]
    alpha.on("place", then(taken_over, act))
    assert house.office("a").execution.execute(cid) is None
    conversion, attempts, operations, told = seen["before"]
    assert (house.get(cid), house.attempts(cid), len(house.events())) == (conversion, attempts, told)
    if answer != "refused":  # only the sender knows of a refusal: that is kept, for whoever owns the conversion
        assert house.operations(cid) == operations
    done = house.finish(cid, "b")
    assert done.state is State.COMPLETED
    assert len(house.payouts()) == 1


def test_an_owner_that_lost_its_claim_does_not_begin_another_attempt(house: House) -> None:
    """Its refusal came late: the conversion belongs to somebody who does not know of the refusal."""
    two(house, EXCHANGE)
    cid = house.executing()
    office = house.office("b")

    def taken_over() -> None:
        house.clock.forward(31)
        office.execution.execute(cid)

    house.services["alpha"].on("place", then(taken_over, refuse(ServiceRejected)))
    house.office("a").execution.execute(cid)
    assert house.services["beta"].count("place") == 0
    assert house.get(cid).state is State.RECONCILING


def test_a_slow_refusal_of_an_owner_whose_lease_ran_out_is_recorded_if_nobody_took_over(house: House) -> None:
    two(house, EXCHANGE)
    house.services["alpha"].on("place", then(lambda: house.clock.forward(31), refuse(ServiceRejected)))
    cid = house.executing()
    assert house.office("a").execution.execute(cid) is None, "without its lease it prepares nothing more"
    assert house.states(cid) == [("alpha", AttemptState.NOT_EXECUTED)]
    assert house.finish(cid, "b").service_id == "beta"


def test_an_open_attempt_is_followed_and_never_added_to(house: House) -> None:
    two(house, EXCHANGE)
    cid = house.executing()
    house.services["alpha"].on("place", vanish)
    house.office("a").execution.execute(cid)
    for owner in "bcd":
        house.look(cid, owner)
    assert len(house.attempts(cid)) == 1
    assert house.services["beta"].count("place") == 0
