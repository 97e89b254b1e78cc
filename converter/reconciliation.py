"""Unknown -> proven: finds out what really happened to an operation whose outcome is not known.

The ledger's clock is read first, then the service is asked, then it is decided. An answer says what was so when it was
made; comparing it with a clock read afterwards would let a pause in between turn an old absence into proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from converter.desk import Desk, order_request
from converter.domain.conversions import Attempt, Conversion, Operation
from converter.domain.errors import ConverterError, LimiterRefused, Outcome
from converter.domain.orders import OperationKind, OperationRule, Order, OrderRef, OrderStatus, step_done
from converter.domain.transfers import Sighting
from converter.ports import Deadline, Work

PAUSES = (2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds between looks at the same unknown operation."""


@dataclass(frozen=True)
class Finding:
    """What was found out. `repeat` asks for the same bytes to be sent again; `absences` counts looks that found nothing
    after the quiet period; `error` is what stood in the way."""

    outcome: Outcome
    order: Order | None = None
    repeat: bool = False
    absences: int = 0
    error: str = ""
    asked: bool = True
    """False where our own limit did not let us ask."""
    look_again: timedelta | None = None
    """When a next look can prove more than this one did."""


class Reconciliation:
    """Asks services and chains. Reads only: what follows from a finding is done by settlement."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def find(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> Finding:
        """Find out about an operation that may or may not have been executed."""
        asked_at = self._desk.ledger.now()
        if operation.kind is OperationKind.DEPOSIT:
            return self._deposit(conversion, operation)
        try:
            order = self.look(conversion, attempt)
        except ConverterError as error:
            asked = not isinstance(error, LimiterRefused)
            return Finding(Outcome.UNKNOWN, error=str(error), absences=operation.absences, asked=asked)
        if order is not None and step_done(operation.kind, order.status):
            return Finding(Outcome.EXECUTED, order)
        rule = self._desk.services[attempt.service_id].capabilities.rules[operation.kind]
        return _absent(rule, operation, asked_at, order)

    def look(self, conversion: Conversion, attempt: Attempt) -> Order | None:
        """Ask the service for the order of an attempt."""
        with self._desk.ledger.begin() as work:
            ref = order_ref(work, conversion, attempt)
        service = self._desk.services[attempt.service_id]
        return service.find_order(ref, Deadline.after(self._desk.timing.read.total_seconds()))

    def _deposit(self, conversion: Conversion, operation: Operation) -> Finding:
        wallet = self._desk.wallets[conversion.request.from_asset.network]
        with self._desk.ledger.begin() as work:
            transfer = work.transfers.of(operation)
        if transfer is None:
            return Finding(Outcome.PENDING if not wallet.pays_itself else Outcome.UNKNOWN, error="no transfer reported")
        try:
            sighting = wallet.observe(transfer, Deadline.after(self._desk.timing.read.total_seconds()))
        except ConverterError as error:
            return Finding(Outcome.UNKNOWN, error=str(error))
        if sighting in (Sighting.PENDING, Sighting.CONFIRMED):
            return Finding(Outcome.EXECUTED)
        if sighting is Sighting.UNKNOWN:
            return Finding(Outcome.UNKNOWN, repeat=wallet.pays_itself, error="the chain does not know it yet")
        return Finding(Outcome.UNKNOWN, error=f"the chain says {sighting}: {transfer.txid}")


def order_ref(work: Work, conversion: Conversion, attempt: Attempt) -> OrderRef:
    """How the order of an attempt is found; the keys of its latest operations find its later steps."""
    latest = {one.kind: one for one in work.attempts.operations(attempt.id)}
    step = latest.get(OperationKind.WITHDRAWAL) or latest.get(OperationKind.APPROVAL)
    trade, deposit = latest.get(OperationKind.TRADE), latest.get(OperationKind.DEPOSIT)
    transfer = work.transfers.of(deposit) if deposit is not None else None
    return OrderRef(
        request=order_request(conversion, attempt),
        service_order_id=attempt.service_order_id,
        step_key=step.key if step is not None else None,
        trade_key=trade.key if trade is not None else None,
        deposit=attempt.deposit,
        deposit_txid=transfer.txid if transfer is not None else "",
    )


def _absent(rule: OperationRule, operation: Operation, asked_at: datetime, order: Order | None) -> Finding:
    """Decide on a look that did not find the operation executed."""
    if order is not None and order.untouched and operation.kind is OperationKind.APPROVAL:
        return Finding(Outcome.NOT_EXECUTED, order, error=f"closed before any approval: {order.detail}")
    if order is not None and order.status is OrderStatus.REJECTED:
        return Finding(Outcome.UNKNOWN, order, error=f"the service closed the order: {order.detail}")
    if rule.repeat_recognised:
        return Finding(Outcome.UNKNOWN, order, repeat=True, error="not executed yet; sent again")
    if rule.quiet is None:
        return Finding(Outcome.UNKNOWN, order, error="the service does not know it; that proves nothing")
    rest = operation.send_before + rule.quiet - asked_at
    if rest >= timedelta(0):
        return Finding(Outcome.UNKNOWN, order, error="the service does not know it yet", look_again=rest + _MARGIN)
    absences = operation.absences + 1
    if absences >= rule.absences:
        return Finding(Outcome.NOT_EXECUTED, order, absences=absences, error="the service never took it")
    return Finding(Outcome.UNKNOWN, order, absences=absences, error="absent; asked again", look_again=_AGAIN)


_MARGIN, _AGAIN = timedelta(milliseconds=500), timedelta(seconds=3)


def pause_after(unknown_for: timedelta) -> timedelta:
    """How long to wait before the next look, growing with the time that it has been unknown."""
    seconds, total = PAUSES[-1], 0.0
    for pause in PAUSES:
        total += pause
        if unknown_for.total_seconds() < total:
            seconds = pause
            break
    return timedelta(seconds=seconds)
