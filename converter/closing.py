"""The ends and pauses of an attempt: completed, freed for another service, looked at later, parked for a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from converter import ending
from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.conversions import Attempt, AttemptState, Conversion, State
from converter.domain.events import Event
from converter.domain.orders import OperationKind, Order, OrderStatus, Refund
from converter.ports import Work
from converter.reconciliation import Finding, pause_after
from converter.sending import Prepared


class Closing:
    """Each method writes one transaction, gives the claim up, and says which task should look next."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def complete(self, conversion: Conversion, attempt: Attempt, order: Order) -> None:
        """The payout is final."""
        with self._desk.ledger.begin() as work:
            ending.complete(work, conversion, attempt, order.delivered, order.txid)

    def free(self, conversion: Conversion, attempt: Attempt, error: str, *, refused: bool = True) -> Next | None:
        """The attempt is proven not executed: another service may be attempted.

        `refused`: by the service; else it may be attempted there again at once.
        """
        with self._desk.ledger.begin() as work:
            ending.give_back(work, conversion, attempt, error, refused=refused)
            return ending.go_on(self._desk, work, conversion, error)

    def refunded(self, conversion: Conversion, attempt: Attempt, refund: Refund) -> Next | None:
        """The deposit is back, and its chain confirms it: another service may be attempted."""
        with self._desk.ledger.begin() as work:
            error = ending.bring_back(work, conversion, attempt, refund)
            return ending.go_on(self._desk, work, conversion, error)

    def hold(self, conversion: Conversion, attempt: Attempt, reason: str) -> Next | None:
        """The service holds the money (compliance, a refund under way): told at once, and a person's after a while."""
        timing = self._desk.timing
        with self._desk.ledger.begin() as work:
            now = work.now()
            deadline = (conversion.since if conversion.state is State.SETTLING else now) + timing.park
            if now < deadline and reason != conversion.reason:
                payload = {"serviceId": attempt.service_id, "reason": reason, "deadline": deadline.isoformat()}
                work.outbox.add(Event(events.CONVERSION_HELD, payload, conversion.id))
        if now >= deadline:
            return self.park(conversion, reason)
        return self.poll(conversion, reason, at_least=timing.poll_limit)

    def poll(self, conversion: Conversion, reason: str, at_least: timedelta = timedelta(0)) -> Next | None:
        """Look at the order again later."""
        timing = self._desk.timing
        with self._desk.ledger.begin() as work:
            followed_for = work.now() - conversion.since if conversion.state is State.SETTLING else timedelta(0)
            pause = max(at_least, min(timing.poll_limit, max(timing.poll, followed_for / 2)))
            ending.book(work, conversion, parked=False)
            work.conversions.move(conversion, State.SETTLING, due_at=work.now() + pause, reason=reason)
        return None

    def poll_unseen(self, conversion: Conversion, reason: str) -> Next | None:
        """The order cannot be seen now: look again, or ask a person when that has lasted."""
        with self._desk.ledger.begin() as work:
            followed_for = work.now() - conversion.since
        if conversion.state is State.SETTLING and followed_for > self._desk.timing.park:
            return self.park(conversion, reason)
        return self.poll(conversion, reason)

    def unknown(self, conversion: Conversion, prepared: Prepared, finding: Finding) -> Next | None:
        """The outcome is not proven: keep what is known and look again, or ask a person when it gets old."""
        if finding.asked and self.too_old(conversion, prepared):
            return self.park(conversion, f"unknown for too long: {finding.error}")
        with self._desk.ledger.begin() as work:
            work.attempts.note(prepared.operation, finding.error, absences=finding.absences)
            since = _in_doubt_since(conversion, prepared) if conversion.state is State.RECONCILING else work.now()
            if conversion.state is not State.RECONCILING or not prepared.operation.error:
                payload = {"serviceId": prepared.attempt.service_id, "operation": prepared.operation.kind}
                work.outbox.add(Event(events.CONVERSION_UNKNOWN, payload, conversion.id))
            pause = pause_after(work.now() - since)
            ending.book(work, conversion, parked=False)
            due_at = work.now() + min(pause, finding.look_again or pause)
            work.conversions.move(conversion, State.RECONCILING, due_at=due_at, reason=finding.error)
        return None

    def too_old(self, conversion: Conversion, prepared: Prepared) -> bool:
        """Whether an unknown operation should go to a person now."""
        if conversion.state is not State.RECONCILING:
            return False
        rule = self._desk.services[prepared.attempt.service_id].capabilities.rules[prepared.operation.kind]
        provable = rule.repeat_recognised or rule.quiet is not None
        limit = self._desk.timing.park if provable else self._desk.timing.park_unprovable
        return self._desk.ledger.now() - _in_doubt_since(conversion, prepared) > limit

    def park(self, conversion: Conversion, reason: str) -> Next | None:
        """Hand the conversion to a person, with the evidence. It is never aged into failed."""
        with self._desk.ledger.begin() as work:
            work.outbox.add(
                Event(
                    events.CONVERSION_NEEDS_REVIEW,
                    {"reason": reason, "evidence": _evidence(work, conversion)},
                    conversion.id,
                )
            )
            ending.book(work, conversion, parked=True)
            due_at = work.now() + self._desk.timing.review_poll
            work.conversions.move(conversion, State.NEEDS_REVIEW, due_at=due_at, reason=reason)
        return None

    def stay_parked(self, conversion: Conversion) -> Next | None:
        """Nothing new."""
        with self._desk.ledger.begin() as work:
            work.conversions.move(conversion, State.NEEDS_REVIEW, due_at=work.now() + self._desk.timing.review_poll)
        return None


def _in_doubt_since(conversion: Conversion, prepared: Prepared) -> datetime:
    """When the doubt about this operation began; the one about the step before it was another."""
    return max(conversion.since, prepared.operation.created_at)


def becomes_executed(
    desk: Desk, work: Work, conversion: Conversion, prepared: Prepared, order: Order | None
) -> Attempt:
    """Note on the attempt what an executed operation means for it."""
    attempt, operation = prepared.attempt, prepared.operation
    rule = desk.services[attempt.service_id].capabilities.rules[operation.kind]
    changes: dict[str, Any] = {}
    if order is not None and order.ref.service_order_id and not attempt.service_order_id:
        changes["service_order_id"] = order.ref.service_order_id
    if order is not None and order.deposit is not None and not attempt.deposit_address:
        changes.update(
            deposit_address=order.deposit.address,
            deposit_amount=order.deposit.amount,
            deposit_memo=order.deposit.memo,
            deposit_valid_until=order.deposit.valid_until,
        )
    to_state = attempt.state
    nothing_filled = order is not None and order.status is OrderStatus.REJECTED
    if rule.moves_money and not nothing_filled and attempt.state is not AttemptState.EXECUTED:
        to_state = AttemptState.EXECUTED
        _tell_failover(work, conversion, attempt)
    elif operation.kind is OperationKind.ORDER and attempt.state is AttemptState.PREPARED:
        to_state = AttemptState.PENDING
    return work.attempts.move(conversion, attempt, to_state, **changes)


def _tell_failover(work: Work, conversion: Conversion, attempt: Attempt) -> None:
    earlier = [one.service_id for one in work.attempts.of(conversion.id) if one.number < attempt.number]
    if earlier and earlier[-1] != attempt.service_id:
        payload = {"from": earlier[-1], "to": attempt.service_id}
        work.outbox.add(Event(events.FAILOVER_SUCCESS, payload, conversion.id))


def _evidence(work: Work, conversion: Conversion) -> list[dict[str, Any]]:
    """What was sent where, when and under which key."""
    return [
        {
            "serviceId": attempt.service_id,
            "orderId": attempt.service_order_id,
            "operation": operation.kind,
            "key": operation.key,
            "state": operation.state,
            "sends": operation.sends,
            "sendBefore": operation.send_before.isoformat(),
            "error": operation.error,
        }
        for attempt in work.attempts.of(conversion.id)
        for operation in work.attempts.operations(attempt.id)
    ]
