"""A person's word: heard under a claim like a worker's, kept with who said it, and refused against what is seen."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.auditing import Auditing
from converter.depositing import report_deposit
from converter.desk import Next
from converter.domain import events
from converter.domain.conversions import AttemptState, State
from converter.domain.errors import InvalidRequest, ServiceRejected, ServiceUnavailable
from converter.domain.orders import OperationKind, OperationRule, OrderStatus
from converter.domain.postings import PAYOUT, POOL, balances
from converter.reviewing import Reviewing, Word
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, House
from tests.fakes import Crash, ScriptedService, bend, die_before, lose_answer, refuse, tell, vanish

WORD = Word("ada", "asked the support: ticket 17")
UNPROVABLE = dict.fromkeys(OperationKind, OperationRule(moves_money=True))


def reviewing(house: House, owner: str = "operator") -> Reviewing:
    return Reviewing(house.office(owner).desk)


def parked(house: House, act: Any = vanish, kind: OperationKind = EXCHANGE) -> tuple[str, ScriptedService]:
    """A conversion before a person: its order is unknown, and nothing at the service proves anything."""
    alpha = house.add("alpha", kind, "0.1", rules=UNPROVABLE)
    house.add("beta", EXCHANGE, "0.099")
    alpha.on("place", act)
    alpha.always("find", tell(None))
    cid = house.receive()
    assert house.finish(cid).state is State.NEEDS_REVIEW
    return cid, alpha


def told(house: House, name: str) -> dict[str, Any]:
    [event] = house.events(name)
    return event.payload


def booked(house: House, cid: str) -> dict[tuple[str, str], Decimal]:
    """The balances of the first attempt."""
    with house.ledger.begin() as work:
        return balances(work.books.of(work.attempts.of(cid)[0].id))


# --- What is known ---------------------------------------------------------------------------------------------------


def test_a_parked_conversion_is_shown_with_what_was_sent_and_what_is_answered_now(house: House) -> None:
    cid, alpha = parked(house)
    [case] = reviewing(house).evidence.parked(ask=True)
    facts = case.facts()
    assert (facts["id"], facts["service"], facts["amount"]) == (cid, "alpha", "1.5")
    [sent] = facts["sent"]
    assert (sent["operation"], sent["state"], sent["sends"]) == ("order", "PREPARED", 1)
    assert sent["key"].startswith(cid.removeprefix("cv_"))
    assert sent["preparedAt"] < sent["sendBefore"]
    assert facts["answer"] == "does not know it"
    alpha.always("find", refuse(ServiceUnavailable))
    assert "could not be asked" in reviewing(house).evidence.parked(ask=True)[0].facts()["answer"]
    assert reviewing(house).evidence.parked(ask=False)[0].answer is None


def test_nothing_is_shown_of_what_goes_its_way(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1")
    house.receive()
    assert reviewing(house).evidence.parked(ask=True) == []


# --- It was executed -------------------------------------------------------------------------------------------------


def test_what_a_person_saw_arrive_completes_the_conversion(house: House) -> None:
    cid, _ = parked(house, lose_answer)
    done = reviewing(house).executed(cid, WORD, "f00d", "0.0999")
    assert (done.state, done.txid, done.delivered) == (State.COMPLETED, "f00d", Decimal("0.0999"))
    assert house.states(cid) == [("alpha", AttemptState.SETTLED)]
    kept = told(house, events.CONVERSION_RESOLVED)
    assert (kept["by"], kept["reason"], kept["verdict"]) == ("ada", WORD.reason, "executed")
    assert told(house, events.CONVERSION_COMPLETED)["txid"] == "f00d"
    assert booked(house, cid)[PAYOUT, "BTC"] == Decimal("0.0999")
    assert Auditing(house.ledger).look().breaches == ()


@pytest.mark.parametrize("txid", ["", "two words", "x" * 201])
def test_a_payout_has_a_transaction(house: House, txid: str) -> None:
    cid, _ = parked(house)
    with pytest.raises(InvalidRequest, match="txid"):
        reviewing(house).executed(cid, WORD, txid)
    assert house.get(cid).state is State.NEEDS_REVIEW


def test_an_amount_that_is_none_is_refused_before_anything_is_claimed(house: House) -> None:
    cid, _ = parked(house)
    fence = house.get(cid).fence
    with pytest.raises(InvalidRequest, match="delivered"):
        reviewing(house).executed(cid, WORD, "f00d", "0.1e-3")
    assert house.get(cid).fence == fence


# --- It was not ------------------------------------------------------------------------------------------------------


def test_what_a_person_knows_was_never_executed_is_converted_elsewhere_once(house: House) -> None:
    cid, _ = parked(house)
    assert reviewing(house).not_executed(cid, WORD) is Next.EXECUTE
    assert house.finish(cid).state is State.COMPLETED
    assert house.states(cid) == [("alpha", AttemptState.NOT_EXECUTED), ("beta", AttemptState.SETTLED)]
    assert len(house.payouts()) == 1
    assert told(house, events.CONVERSION_RESOLVED)["verdict"] == "not executed"
    assert set(booked(house, cid).values()) == {Decimal(0)}


@pytest.mark.parametrize(
    "status", [OrderStatus.OPEN, OrderStatus.PAYING_OUT, OrderStatus.SETTLED, OrderStatus.HELD], ids=str
)
def test_not_executed_is_refused_while_the_service_shows_it_as_taken(house: House, status: OrderStatus) -> None:
    cid, alpha = parked(house, lose_answer)
    alpha.always("find", bend(lambda order: replace(order, status=status, txid="")))
    with pytest.raises(InvalidRequest, match=str(status)):
        reviewing(house).not_executed(cid, WORD)
    conversion = house.get(cid)
    assert (conversion.state, conversion.owner) == (State.NEEDS_REVIEW, None)
    assert house.events(events.CONVERSION_RESOLVED) == []


def test_not_executed_is_refused_while_our_signed_payment_can_be_mined(house: House) -> None:
    """Whatever the service says: its transaction is out, and would pay after all."""
    alpha = house.add("alpha", DEPOSIT, "0.1")
    house.wallet.always("broadcast", vanish)
    cid = house.receive()
    assert house.finish(cid).state is State.NEEDS_REVIEW
    with pytest.raises(InvalidRequest, match="can be mined"):
        reviewing(house).not_executed(cid, WORD)
    other = house.transfer(cid)
    assert other is not None
    house.wallet.mined[other.nonce] = replace(other, txid="another")
    alpha.always("find", None)
    assert reviewing(house).not_executed(cid, WORD) is Next.EXECUTE


def test_not_executed_is_refused_after_a_person_reported_the_deposit_as_paid(house: House) -> None:
    alpha = house.add("alpha", DEPOSIT, "0.1")
    house.wallet.pays_itself = False
    cid = house.receive()
    house.begin(cid)
    report_deposit(house.ledger, cid, "f00d")
    alpha.always("find", bend(lambda order: replace(order, status=OrderStatus.EXPIRED)))
    assert house.finish(cid).state is State.NEEDS_REVIEW
    with pytest.raises(InvalidRequest, match="f00d"):
        reviewing(house).not_executed(cid, WORD)
    assert house.get(cid).state is State.NEEDS_REVIEW


def test_a_deposit_that_a_person_saw_come_back_frees_the_conversion_and_counts_once(house: House) -> None:
    house.add("alpha", DEPOSIT, "0.1")
    house.add("beta", DEPOSIT, "0.099")
    first, second = (stuck_deposit(house, number) for number in (1, 2))
    own = house.transfer(first)
    assert own is not None
    with pytest.raises(InvalidRequest, match="own deposit"):
        reviewing(house).not_executed(first, WORD, own.txid)
    assert reviewing(house).not_executed(first, WORD, "back-1") is Next.EXECUTE
    assert house.states(first)[0] == ("alpha", AttemptState.REFUNDED)
    with pytest.raises(InvalidRequest, match=first):
        reviewing(house).not_executed(second, WORD, "back-1")
    assert house.get(second).state is State.NEEDS_REVIEW


def stuck_deposit(house: House, number: int) -> str:
    """Deposited, and its service holds it until a person is asked."""
    alpha = house.services["alpha"]
    alpha.always("find", None)
    cid = house.receive(number)
    house.begin(cid)
    alpha.always("find", bend(lambda order: replace(order, status=OrderStatus.HELD)))
    assert house.finish(cid).state is State.NEEDS_REVIEW
    return cid


def test_a_refund_of_a_deposit_that_never_was_is_refused(house: House) -> None:
    cid, _ = parked(house)
    with pytest.raises(InvalidRequest, match="no deposit"):
        reviewing(house).not_executed(cid, WORD, "back-1")


def test_where_failover_is_switched_off_not_executed_ends_it(house: House) -> None:
    house.change_policy(auto_failover=False)
    cid, _ = parked(house)
    assert reviewing(house).not_executed(cid, WORD) is None
    assert house.get(cid).state is State.FAILED
    assert Auditing(house.ledger).look().breaches == ()


# --- Who may speak, and when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_word_has_a_reason(reason: str) -> None:
    with pytest.raises(InvalidRequest, match="reason"):
        Word("ada", reason)


def test_only_a_parked_conversion_is_resolved(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1")
    cid = house.receive()
    for speak in (
        lambda: reviewing(house).executed(cid, WORD, "f00d"),
        lambda: reviewing(house).not_executed(cid, WORD),
        lambda: reviewing(house).retry(cid, WORD),
    ):
        with pytest.raises(InvalidRequest, match="RECEIVED"):
            speak()
    house.finish(cid)
    with pytest.raises(InvalidRequest, match="COMPLETED"):
        reviewing(house).executed(cid, WORD, "f00d")


def test_while_a_worker_looks_at_it_a_person_waits(house: House) -> None:
    cid, _ = parked(house)
    with house.ledger.begin() as work:
        assert work.conversions.claim(cid, "worker", house.timing.lease, (State.NEEDS_REVIEW,))
    with pytest.raises(InvalidRequest, match="in this moment"):
        reviewing(house).not_executed(cid, WORD)


def test_a_worker_that_woke_up_after_the_word_changes_nothing(house: House) -> None:
    """It holds an older fence: what it found out is refused, and the conversion is not paid again."""
    cid, alpha = parked(house, lose_answer)

    def speak(scene: Any) -> Any:
        found = scene.do()
        house.clock.forward(60)
        alpha.always("find", None)
        reviewing(house, "ada").executed(cid, WORD, "f00d")
        return found

    alpha.always("find", speak)
    house.wait_until_due(cid)
    house.office("sleepy").settlement.settle(cid)
    done = house.get(cid)
    assert (done.state, done.txid) == (State.COMPLETED, "f00d")
    assert len(house.events(events.CONVERSION_COMPLETED)) == 1


# --- Again, or never -------------------------------------------------------------------------------------------------


def test_a_parked_conversion_is_tried_again_with_all_its_time(house: House) -> None:
    cid, alpha = parked(house, lose_answer)
    alpha.always("find", None)
    assert reviewing(house).retry(cid, WORD) is Next.SETTLE
    assert house.get(cid).state is State.RECONCILING
    assert Auditing(house.ledger).look().breaches == ()
    assert house.finish(cid).state is State.COMPLETED
    assert len(house.payouts()) == 1
    assert told(house, events.CONVERSION_RETRIED)["by"] == "ada"


def test_a_refused_withdrawal_is_sent_again_after_a_retry(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.1")
    alpha.always("advance", refuse(ServiceRejected))
    cid = house.receive()
    assert house.finish(cid).state is State.NEEDS_REVIEW
    alpha.always("advance", None)
    assert reviewing(house).retry(cid, WORD) is Next.SETTLE
    assert house.finish(cid).state is State.COMPLETED
    assert len(house.payouts()) == 1


def test_one_that_waits_for_its_next_round_is_looked_at_at_once(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.1")
    alpha.always("quote", refuse(ServiceRejected))
    cid = house.receive()
    for _ in range(5):
        house.look(cid)
    assert house.get(cid).state is State.WAITING
    alpha.always("quote", None)
    assert reviewing(house).retry(cid, WORD) is Next.START
    house.office().follow(Next.START, cid)
    assert house.get(cid).state in (State.SETTLING, State.COMPLETED)


def test_what_has_not_begun_is_cancelled_for_good(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1")
    cid = house.receive()
    assert reviewing(house).cancel(cid, WORD).state is State.CANCELLED
    house.office().follow(Next.START, cid)
    assert (house.get(cid).state, house.payouts()) == (State.CANCELLED, [])
    assert told(house, events.CONVERSION_CANCELLED)["reason"] == WORD.reason
    assert Auditing(house.ledger).look().breaches == ()


def test_between_two_attempts_it_may_be_cancelled_too(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1")
    cid = house.executing()
    assert reviewing(house).cancel(cid, WORD).state is State.CANCELLED
    assert house.office().execution.execute(cid) is None
    assert house.payouts() == []


@pytest.mark.parametrize("kind", [EXCHANGE, APPROVAL, DEPOSIT], ids=str)
def test_what_is_under_way_cannot_be_cancelled(house: House, kind: OperationKind) -> None:
    house.add("alpha", kind, "0.1").pays_out = False
    cid = house.receive()
    house.begin(cid)
    with pytest.raises(InvalidRequest):
        reviewing(house).cancel(cid, WORD)
    house.services["alpha"].pays_out = True
    assert house.finish(cid).state is State.COMPLETED


def test_an_attempt_whose_owner_died_bars_a_cancel(house: House) -> None:
    """The conversion is EXECUTING and nobody holds it, but its order may be out."""
    house.add("alpha", EXCHANGE, "0.1").on("place", die_before)
    cid = house.executing()
    with pytest.raises(Crash):
        house.office().execution.execute(cid)
    house.wait_until_due(cid)
    with pytest.raises(InvalidRequest, match="open"):
        reviewing(house).cancel(cid, WORD)
    assert house.get(cid).owner is None
    with house.ledger.begin() as work:
        assert work.books.balances()[POOL, "ETH"] == Decimal("-1.5")
