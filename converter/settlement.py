"""Follows an attempt to its end: the next step at its service, the deposit, the payout, or a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from converter.closing import Closing, becomes_executed
from converter.depositing import Depositing
from converter.desk import Desk, Next
from converter.domain.conversions import Attempt, Conversion, Operation, OperationState, State
from converter.domain.errors import (
    AuthenticationFailed,
    ClaimLost,
    ConverterError,
    LimiterRefused,
    Outcome,
    ServiceError,
    ServiceRejected,
)
from converter.domain.orders import BOUND_STEPS, NEXT_STEP, OperationKind, Order, OrderStatus
from converter.keeping import Keeping
from converter.reconciliation import Finding, Reconciliation, order_ref
from converter.refunding import Refunding
from converter.sending import NO_TIME, Prepared, Sending, Sent

_FOLLOWED = (State.SETTLING, State.RECONCILING, State.NEEDS_REVIEW)


class Settlement:
    """The use-case behind `conversions.settle`, and what execution hands an accepted or unknown attempt to."""

    def __init__(self, desk: Desk, sending: Sending, reconciliation: Reconciliation) -> None:
        self._desk = desk
        self._sending = sending
        self._reconciliation = reconciliation
        self._closing = Closing(desk)
        self._depositing = Depositing(desk, sending)
        self._refunding = Refunding(desk)
        self._keeping = Keeping(desk)

    def settle(self, conversion_id: str) -> Next | None:
        """Look at a conversion whose money is under way, and take it further. May move money."""
        lease = self._desk.timing.lease
        with self._desk.ledger.begin() as work:
            conversion = work.conversions.claim(conversion_id, self._desk.owner, lease, _FOLLOWED)
            if conversion is None:
                return None
            attempts = work.attempts.of(conversion_id)
        attempt = next((one for one in attempts if one.is_open), None)
        try:
            if attempt is None:
                return self._closing.park(conversion, "it has no open attempt")
            return self.resume(conversion, attempt)
        except ClaimLost:
            return None  # another owner goes on

    def resume(self, conversion: Conversion, attempt: Attempt) -> Next | None:
        """Go on with an open attempt from what the ledger holds of it."""
        if attempt.service_id not in self._desk.services:
            if conversion.state is State.NEEDS_REVIEW:
                return self._closing.stay_parked(conversion)
            return self._closing.park(conversion, f"{attempt.service_id} is not configured any more")
        with self._desk.ledger.begin() as work:
            operation = work.attempts.operations(attempt.id)[-1]
        if conversion.state is State.NEEDS_REVIEW:
            return self._look_again(conversion, attempt, operation)
        if operation.state is OperationState.PREPARED:
            finding = self._reconciliation.find(conversion, attempt, operation)
            return self._decide(conversion, Prepared(attempt, operation, NO_TIME), finding)
        if operation.state is OperationState.NOT_EXECUTED and operation.kind not in BOUND_STEPS:
            # Proven, but its owner died before the attempt was freed.
            return self._closing.free(conversion, attempt, operation.error, refused=False)
        try:
            order = self._reconciliation.look(conversion, attempt)
        except LimiterRefused:
            return self._closing.poll(conversion, _LIMITED)  # nobody was asked: no reason to call a person
        except ConverterError as error:
            return self._closing.poll_unseen(conversion, str(error))
        if order is None:
            return self._closing.poll_unseen(conversion, "the service does not show the order (yet)")
        return self._follow(conversion, attempt, order)

    def after_send(self, conversion: Conversion, prepared: Prepared, sent: Sent) -> Next | None:
        """Go on after an operation was sent and not refused."""
        if sent.outcome is Outcome.EXECUTED:
            return self._executed(conversion, prepared, sent.order)
        if sent.outcome is Outcome.NOT_EXECUTED:
            error = str(sent.error or "not sent in time")
            try:
                return self._step_refused(conversion, prepared, error)
            except ClaimLost:
                self._sending.keep_proof(prepared, error)
                raise
        return self._closing.unknown(conversion, prepared, Finding(Outcome.UNKNOWN, error=str(sent.error or "")))

    def _decide(self, conversion: Conversion, prepared: Prepared, finding: Finding) -> Next | None:
        if finding.outcome is Outcome.EXECUTED:
            return self._executed(conversion, prepared, finding.order)
        if finding.outcome is Outcome.NOT_EXECUTED:
            return self._step_refused(conversion, prepared, finding.error, refused=False)
        if finding.outcome is Outcome.PENDING:
            return self._by_hand(conversion, prepared)
        if finding.order is not None and finding.order.status is OrderStatus.REJECTED:
            return self._closing.park(conversion, finding.error)
        if finding.repeat and not self._closing.too_old(conversion, prepared):
            return self._repeat(conversion, prepared, finding.order)
        return self._closing.unknown(conversion, prepared, finding)

    def _repeat(self, conversion: Conversion, prepared: Prepared, order: Order | None) -> Next | None:
        """Send the very same again, counted first."""
        attempt, operation = prepared.attempt, prepared.operation
        step = "order" if operation.kind is OperationKind.ORDER else "advance"
        if operation.kind is not OperationKind.DEPOSIT and self._pause(attempt, step):
            return self._closing.unknown(conversion, prepared, Finding(Outcome.UNKNOWN, error=_LIMITED, asked=False))
        with self._desk.ledger.begin() as work:
            transfer = work.transfers.of(operation)
            again = self._sending.prepare_repeat(work, conversion, attempt, operation)
        if operation.kind is OperationKind.DEPOSIT and transfer is not None:
            sent = self._sending.broadcast(conversion, again, transfer)
        elif operation.kind is OperationKind.ORDER:
            sent = self._sending.place(conversion, again)
        elif order is not None:
            sent = self._sending.advance(conversion, again, order)
        else:
            sent = Sent(Outcome.UNKNOWN)
        return self.after_send(conversion, again, sent)

    def _executed(self, conversion: Conversion, prepared: Prepared, order: Order | None) -> Next | None:
        try:
            with self._desk.ledger.begin() as work:
                work.attempts.record(conversion, prepared.operation, OperationState.EXECUTED)
                attempt = becomes_executed(self._desk, work, conversion, prepared, order)
        except ClaimLost:
            # The next owner may be counting absences at a service whose look-ups flap: what we saw breaks the row.
            with self._desk.ledger.begin() as work:
                work.attempts.note(prepared.operation, prepared.operation.error, absences=0)
            raise
        if order is None:
            return self._closing.poll(conversion, "")
        return self._follow(conversion, attempt, order)

    def _follow(self, conversion: Conversion, attempt: Attempt, order: Order) -> Next | None:
        """Do what an order's status asks for. One step here leads to the next status and so to the next step."""
        if order.status is OrderStatus.SETTLED:
            self._closing.complete(conversion, attempt, order)
            return self._keeping.judge(attempt, order)
        if order.status in (OrderStatus.REJECTED, OrderStatus.EXPIRED):
            return self._closed(conversion, attempt, order)
        if order.status is OrderStatus.REFUNDED:
            refund, missing = self._refunding.confirmed(conversion, attempt, order)
            if refund is not None:
                return self._closing.refunded(conversion, attempt, refund)
            return self._closing.hold(conversion, attempt, missing)
        if order.status is OrderStatus.HELD:
            return self._closing.hold(conversion, attempt, f"the service holds the order: {order.detail}")
        step = NEXT_STEP.get(order.status)
        if step is OperationKind.DEPOSIT and self._is_taken(attempt, step):
            self._depositing.keep_known(conversion, attempt)
            return self._closing.poll(conversion, "")
        if step is None or self._is_taken(attempt, step):
            return self._closing.poll(conversion, "")
        if step is OperationKind.DEPOSIT:
            return self._deposit(conversion, attempt, order)
        return self._advance(conversion, attempt, order, step)

    def _is_taken(self, attempt: Attempt, step: OperationKind) -> bool:
        """Whether the step is open or executed by our own record. A look-up that lags behind does not undo it."""
        with self._desk.ledger.begin() as work:
            operations = work.attempts.operations(attempt.id)
        return any(one.kind is step and one.state is not OperationState.NOT_EXECUTED for one in operations)

    def _pause(self, attempt: Attempt, step: str) -> timedelta:
        """How long our own limit wants a step at the service to wait."""
        return self._desk.services[attempt.service_id].pause_before(step)

    def _advance(self, conversion: Conversion, attempt: Attempt, order: Order, step: OperationKind) -> Next | None:
        if pause := self._pause(attempt, "advance"):
            return self._closing.poll(conversion, _LIMITED, at_least=pause)
        with self._desk.ledger.begin() as work:
            prepared = self._sending.prepare_step(work, conversion, attempt, step)
            ref = order_ref(work, conversion, attempt)
        ref = replace(ref, service_order_id=order.ref.service_order_id or ref.service_order_id)
        sent = self._sending.advance(conversion, prepared, replace(order, ref=ref))
        return self.after_send(conversion, prepared, sent)

    def _deposit(self, conversion: Conversion, attempt: Attempt, order: Order) -> Next | None:
        try:
            prepared, transfer = self._depositing.prepare(conversion, attempt, order)
        except ConverterError as error:
            if isinstance(error, ClaimLost):
                raise
            return self._closing.free(conversion, attempt, str(error))
        if transfer is None:
            return self._closing.poll(conversion, "a person pays the deposit")
        return self.after_send(conversion, prepared, self._sending.broadcast(conversion, prepared, transfer))

    def _by_hand(self, conversion: Conversion, prepared: Prepared) -> Next | None:
        """A deposit that a person pays: the order itself tells when it arrived."""
        try:
            order = self._reconciliation.look(conversion, prepared.attempt)
        except ConverterError as error:
            return self._closing.poll(conversion, str(error))
        if order is None or order.status is OrderStatus.AWAITING_DEPOSIT:
            return self._closing.poll(conversion, "a person pays the deposit")
        if order.status is OrderStatus.EXPIRED:
            return self._closing.park(conversion, "the order expired, and nobody said whether the deposit was paid")
        return self._executed(conversion, prepared, order)

    def _step_refused(
        self, conversion: Conversion, prepared: Prepared, error: str, *, refused: bool = True
    ) -> Next | None:
        """A step was proven not executed; `refused` by the service, or never taken by it."""
        attempt, operation = prepared.attempt, prepared.operation
        with self._desk.ledger.begin() as work:
            work.attempts.record(conversion, operation, OperationState.NOT_EXECUTED, error)
            before = [
                one
                for one in work.attempts.operations(attempt.id)
                if one.kind is operation.kind and one.state is OperationState.NOT_EXECUTED
            ]
        if operation.kind not in BOUND_STEPS:
            return self._closing.free(conversion, attempt, error, refused=refused)
        # The first trade is done: only this service can go on, so it is asked again, and then a person.
        # An exchange that was away or over its limit has not refused; it is only asked less and less often.
        if sum(_is_refusal(one) for one in before) >= _REFUSED_STEPS:
            return self._closing.park(conversion, f"the service refuses the {operation.kind}: {error}")
        return self._closing.poll(conversion, error, at_least=timedelta(seconds=min(300, 10 * len(before))))

    def _closed(self, conversion: Conversion, attempt: Attempt, order: Order) -> Next | None:
        """The service closed the order. It frees the conversion only if nothing of ours can have moved after it."""
        with self._desk.ledger.begin() as work:
            operations = work.attempts.operations(attempt.id)
        if any(self._may_have_moved(attempt, one) for one in operations):
            return self._closing.park(conversion, f"the service closed the order as {order.status}: {order.detail}")
        return self._closing.free(conversion, attempt, f"{attempt.service_id}: {order.status} {order.detail}")

    def _may_have_moved(self, attempt: Attempt, operation: Operation) -> bool:
        if operation.kind in BOUND_STEPS:
            return True  # even refused: it stands behind a trade
        rule = self._desk.services[attempt.service_id].capabilities.rules[operation.kind]
        later_step = operation.kind is not OperationKind.ORDER
        return later_step and rule.moves_money and operation.state is not OperationState.NOT_EXECUTED

    def _look_again(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> Next | None:
        """A parked conversion: nothing new is sent for it, but a payout that turns up completes it, and a refund that
        is confirmed frees it. Its stored payment is kept known to its chain: its nonce bars those of later ones."""
        self._depositing.keep_known(conversion, attempt)
        try:
            order = self._reconciliation.look(conversion, attempt)
        except ConverterError:
            order = None
        if order is None or not self._is_over(conversion, attempt, order):
            return self._closing.stay_parked(conversion)
        if operation.state is OperationState.PREPARED:
            return self._executed(conversion, Prepared(attempt, operation, NO_TIME), order)
        return self._follow(conversion, attempt, order)

    def _is_over(self, conversion: Conversion, attempt: Attempt, order: Order) -> bool:
        if order.status is OrderStatus.REFUNDED:
            return self._refunding.confirmed(conversion, attempt, order)[0] is not None
        return order.status is OrderStatus.SETTLED


_REFUSAL_KINDS: tuple[type[ServiceError], ...] = (
    ServiceRejected,
    *ServiceRejected.__subclasses__(),
    AuthenticationFailed,
)
_REFUSALS = {kind.__name__ for kind in _REFUSAL_KINDS}


def _is_refusal(operation: Operation) -> bool:
    """Whether the service said no, by the name of the error that the ledger keeps."""
    return any(name in operation.error for name in _REFUSALS)


_LIMITED = "our own limit of calls to the service; a little later"

_REFUSED_STEPS = 5
"""Refusals of a second trade or of a withdrawal after which a person is asked."""
