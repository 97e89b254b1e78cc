"""A person's word on a conversion: it was executed, it was not, try again, cancel it. Moves money.

A person is one more worker: the conversion is claimed first, everything is changed under that fence and in one
transaction, and what is said is kept in the outbox with who said it and why. Against what can be seen no word counts:
while the service shows the order as taken, or our signed payment can still be mined, "not executed" is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from converter import ending
from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.conversions import Attempt, AttemptState, Conversion, OperationState, State
from converter.domain.errors import InvalidRequest
from converter.domain.events import Event
from converter.domain.money import parse_amount, plain
from converter.domain.orders import OrderStatus, Refund
from converter.domain.transfers import Sighting
from converter.evidence import Answer, Case, Evidence
from converter.ports import Work

_UNBEGUN = (State.RECEIVED, State.QUOTING, State.WAITING, State.EXECUTING)
_PAYING = (OrderStatus.PAYING_OUT, OrderStatus.SETTLED)
_TAKEN = (*_PAYING, OrderStatus.OPEN, OrderStatus.HELD)
"""The service has it in its hands. What it traded and did not pay out (FILLED, HALFWAY) is the pool's there."""
_NEVER_MINED = (Sighting.REPLACED, Sighting.FAILED)


@dataclass(frozen=True)
class Word:
    """Who says something, and why. Raises InvalidRequest without a reason."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip() or len(self.reason) > 1000:
            raise InvalidRequest("reason", "is missing or too long", "1 to 1000 characters: what was found out and how")

    def event(self, name: str, conversion_id: str, **facts: str | None) -> Event:
        """What is kept of it."""
        return Event(name, {"by": self.by, "reason": self.reason, **facts}, conversion_id)


class Reviewing:
    """The operator's hands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.evidence = Evidence(desk)

    def executed(self, conversion_id: str, word: Word, txid: str, delivered: str | None = None) -> Conversion:
        """The payout arrived in `txid`: complete the conversion. `delivered` None counts as what was promised.

        Raises InvalidRequest when it is not before a person, or has nothing that could have been executed.
        """
        _check_txid(txid)
        amount = None if delivered is None else self._amount(conversion_id, delivered)
        conversion, case = self._take(conversion_id)
        if case.attempt is None:
            self._put_back(conversion)
            raise InvalidRequest("executed", "it has no open attempt", "a conversion with one; `--not-executed` else")
        with self._desk.ledger.begin() as work:
            attempt = case.attempt
            _record(work, conversion, case, OperationState.EXECUTED)
            if attempt.state is AttemptState.PREPARED:
                attempt = work.attempts.move(conversion, attempt, AttemptState.EXECUTED)
            said = {"verdict": "executed", "txid": txid, "delivered": None if amount is None else plain(amount)}
            work.outbox.add(word.event(events.CONVERSION_RESOLVED, conversion.id, **said))
            ending.complete(work, conversion, attempt, amount, txid)
        return self.get(conversion_id)

    def not_executed(self, conversion_id: str, word: Word, refund_txid: str | None = None) -> Next | None:
        """Nothing was executed and nothing can be any more, or the deposit came back in `refund_txid`: free the
        conversion for another service. Moves money next.

        Raises InvalidRequest when it is not before a person, and while the service or the chain says otherwise.
        """
        if refund_txid is not None:
            _check_txid(refund_txid)
        conversion, case = self._take(conversion_id)
        objection = _against(case, refund_txid) or self._counted(refund_txid)
        if objection:
            self._put_back(conversion)
            raise InvalidRequest("not_executed", objection, "a conversion of which nothing was and can be executed")
        error = f"not executed, says {word.by}: {word.reason}"
        with self._desk.ledger.begin() as work:
            said = {"verdict": "not executed", "refundTxid": refund_txid}
            work.outbox.add(word.event(events.CONVERSION_RESOLVED, conversion.id, **said))
            if case.attempt is not None and refund_txid is not None:
                ending.bring_back(work, conversion, case.attempt, Refund("", None, refund_txid))
            elif case.attempt is not None:
                _record(work, conversion, case, OperationState.NOT_EXECUTED, error)
                ending.give_back(work, conversion, case.attempt, error, refused=True)
            return ending.go_on(self._desk, work, conversion, error)

    def retry(self, conversion_id: str, word: Word) -> Next:
        """Look again at once: at one that waits for its next round, or, with all its time again, at a parked one.

        Raises InvalidRequest for any other.
        """
        claimed = self._claim(conversion_id, (State.NEEDS_REVIEW, State.WAITING), "retry", "waits or is parked")
        with self._desk.ledger.begin() as work:
            work.outbox.add(word.event(events.CONVERSION_RETRIED, claimed.id, state=claimed.state))
            if claimed.state is State.WAITING:
                work.conversions.move(claimed, State.WAITING, due_at=work.now())
                return Next.START
            attempt = next((one for one in work.attempts.of(claimed.id) if one.is_open), None)
            to_state = State.EXECUTING if attempt is None else self._followed(work, attempt)
            ending.book(work, claimed, parked=False)
            work.conversions.move(claimed, to_state, due_at=work.now(), reason=f"tried again by {word.by}")
            return Next.EXECUTE if to_state is State.EXECUTING else Next.SETTLE

    def cancel(self, conversion_id: str, word: Word) -> Conversion:
        """End a conversion of which nothing is open. Raises InvalidRequest otherwise."""
        claimed = self._claim(conversion_id, _UNBEGUN, "cancel", "has not begun to be executed")
        with self._desk.ledger.begin() as work:
            is_open = any(one.is_open for one in work.attempts.of(claimed.id))
            if not is_open:
                work.outbox.add(word.event(events.CONVERSION_CANCELLED, claimed.id))
                if claimed.state is State.EXECUTING:
                    claimed = work.conversions.move(claimed, State.WAITING, release=False)
                work.conversions.move(claimed, State.CANCELLED, reason=f"cancelled by {word.by}: {word.reason}")
        if is_open:
            self._put_back(claimed)
            raise InvalidRequest("cancel", "an attempt is open", "a conversion of which nothing is open")
        return self.get(conversion_id)

    def _take(self, conversion_id: str) -> tuple[Conversion, Case]:
        """Claim a parked conversion, and then ask what is known of it: what is decided holds for what was seen."""
        conversion = self._claim(conversion_id, (State.NEEDS_REVIEW,), "resolve", "is before a person")
        return conversion, self.evidence.of(conversion, ask=True)

    def _claim(self, conversion_id: str, states: Sequence[State], field: str, accepted: str) -> Conversion:
        lease = self._desk.timing.lease
        with self._desk.ledger.begin() as work:
            found = work.conversions.get(conversion_id)
            claimed = work.conversions.claim(conversion_id, self._desk.owner, lease, states)
        if claimed is not None:
            return claimed
        if found.state in states:
            raise InvalidRequest(field, "a worker is looking at it in this moment", "the same again in some seconds")
        raise InvalidRequest(field, f"{found.id} is {found.state}", f"a conversion that {accepted}")

    def _put_back(self, conversion: Conversion) -> None:
        """Give the claim up; nothing else changes."""
        with self._desk.ledger.begin() as work:
            work.conversions.move(conversion, conversion.state)

    def _counted(self, refund_txid: str | None) -> str:
        """A refund brings back one deposit."""
        with self._desk.ledger.begin() as work:
            booked = None if refund_txid is None else work.attempts.of_refund(refund_txid)
        return "" if booked is None else f"the refund {refund_txid} was of {booked.conversion_id}"

    def _amount(self, conversion_id: str, delivered: str) -> Decimal:
        return parse_amount(delivered, self.get(conversion_id).request.to_asset.decimals, "delivered")

    @staticmethod
    def _followed(work: Work, attempt: Attempt) -> State:
        """What a parked conversion is when it is looked at again."""
        last = work.attempts.operations(attempt.id)[-1]
        return State.RECONCILING if last.state is OperationState.PREPARED else State.SETTLING

    def get(self, conversion_id: str) -> Conversion:
        """The conversion now. Raises ConversionNotFound."""
        with self._desk.ledger.begin() as work:
            return work.conversions.get(conversion_id)


def _record(work: Work, conversion: Conversion, case: Case, state: OperationState, error: str = "") -> None:
    """Record what was unknown of the last operation, if anything was."""
    operation = case.sent[-1].operation
    if operation.state is OperationState.PREPARED:
        work.attempts.record(conversion, operation, state, error)


def _check_txid(txid: str) -> None:
    if not 1 <= len(txid) <= 200 or not txid.isprintable() or " " in txid:
        raise InvalidRequest("txid", "is not a transaction id", "the id as its chain shows it")


def _against(case: Case, refund_txid: str | None) -> str:
    """What speaks against "not executed", empty when nothing does."""
    answer = case.answer or Answer()
    paid = next((one.transfer for one in reversed(case.sent) if one.transfer is not None), None)
    if refund_txid is not None:
        if case.attempt is None or case.attempt.state is not AttemptState.EXECUTED or paid is None:
            return "there is no deposit that could have come back"
        own = "that is the transaction of our own deposit" if refund_txid == paid.txid else ""
        return own or _shown(answer, _PAYING)
    if paid is not None and paid.raw and answer.sighting not in _NEVER_MINED:
        return f"our signed payment {paid.txid} was or can be mined (its chain says {answer.sighting or 'nothing'})"
    if paid is not None and not paid.raw:
        return f"a person reported its deposit as paid in {paid.txid}"
    return _shown(answer, _TAKEN)


def _shown(answer: Answer, speaking: Sequence[OrderStatus]) -> str:
    order = answer.order
    if order is None or order.status not in speaking:
        return ""
    return f"the service shows it as {order.status} {order.txid}".strip()
