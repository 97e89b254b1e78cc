"""The ends of an attempt, each within a transaction of its caller: the payout is final, or nothing was executed."""

from __future__ import annotations

from decimal import Decimal

from converter.desk import Desk, Next
from converter.domain import events, postings
from converter.domain.conversions import Attempt, AttemptState, Conversion, State
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.orders import Refund
from converter.ports import Work


def complete(work: Work, conversion: Conversion, attempt: Attempt, delivered: Decimal | None, txid: str) -> None:
    """The payout is final: settle the attempt, close its books, complete the conversion. Raises ClaimLost."""
    work.attempts.move(conversion, attempt, AttemptState.SETTLED)
    taken, booked = work.quotes.attempted(attempt), work.books.of(attempt.id)
    quote = taken.quote if taken is not None else None
    work.books.post(postings.settled(conversion, attempt, booked, quote, delivered))
    payload = {
        "serviceId": attempt.service_id,
        "promised": plain(attempt.promised),
        "delivered": plain(delivered) if delivered is not None else None,
        "txid": txid,
    }
    work.outbox.add(Event(events.CONVERSION_COMPLETED, payload, conversion.id))
    work.conversions.move(
        conversion,
        State.COMPLETED,
        service_id=attempt.service_id,
        promised=attempt.promised,
        delivered=delivered,
        txid=txid,
        reason=_shortfall(attempt, delivered),
    )


def give_back(work: Work, conversion: Conversion, attempt: Attempt, error: str, *, refused: bool) -> None:
    """The attempt is proven not executed: its coins are the pool's again. `refused`: by the service."""
    work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED, error=error, refused=refused)
    work.books.post(postings.returned(conversion, attempt, work.books.of(attempt.id)))


def bring_back(work: Work, conversion: Conversion, attempt: Attempt, refund: Refund) -> str:
    """The deposit is back, and its chain confirms it. Returns what to say of it."""
    error = f"{attempt.service_id} sent the deposit back: {refund.txid}"
    work.attempts.move(conversion, attempt, AttemptState.REFUNDED, error=error, refused=True, refund_txid=refund.txid)
    work.books.post(postings.returned(conversion, attempt, work.books.of(attempt.id), refund.amount))
    amount = None if refund.amount is None else plain(refund.amount)
    payload = {"serviceId": attempt.service_id, "txid": refund.txid, "amount": amount}
    work.outbox.add(Event(events.CONVERSION_REFUNDED, payload, conversion.id))
    return error


def go_on(desk: Desk, work: Work, conversion: Conversion, error: str) -> Next | None:
    """After an attempt came to nothing: with the next service, or not at all where failover is switched off."""
    if desk.policy_of(conversion).auto_failover:
        due_at = work.now() + desk.timing.handover
        work.conversions.move(conversion, State.EXECUTING, due_at=due_at, reason=error)
        return Next.EXECUTE
    work.outbox.add(Event(events.CONVERSION_FAILED, {"reason": error}, conversion.id))
    # SETTLING and RECONCILING do not fail; what was followed here goes through EXECUTING first.
    if conversion.state is not State.EXECUTING:
        conversion = work.conversions.move(conversion, State.EXECUTING, release=False)
    work.conversions.move(conversion, State.FAILED, reason=error)
    return None


def book(work: Work, conversion: Conversion, *, parked: bool) -> None:
    """Post that a person is asked where the coins of the open attempt are, or is not any more."""
    if not parked and conversion.state is not State.NEEDS_REVIEW:
        return
    for attempt in work.attempts.of(conversion.id):
        if attempt.is_open:
            change = postings.parked if parked else postings.resumed
            work.books.post(change(conversion, attempt, work.books.of(attempt.id)))


def _shortfall(attempt: Attempt, delivered: Decimal | None) -> str:
    if delivered is not None and delivered < attempt.minimum_net:
        return f"delivered {plain(delivered)} of promised {plain(attempt.promised)}"
    return ""
