"""The one place from which an operation leaves: prepared and committed first, sent once, recorded by its outcome.

The rule, step by step: the attempt or the operation is in the ledger, counted as sent, before any byte leaves; it
leaves only before `send_before`; an answer is recorded under our fence; an outcome that is not proven is left as it
is, PREPARED, which every later owner reads as "unknown". There is no handler for unforeseen errors here on purpose:
whatever breaks out of a call leaves the operation PREPARED, and reconciliation finds out.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from converter.desk import Desk, order_request
from converter.domain import postings
from converter.domain.conversions import (
    Attempt,
    AttemptState,
    Conversion,
    Operation,
    OperationState,
    attempt_key,
    operation_key,
)
from converter.domain.errors import ConverterError, IntegrityMismatch, Outcome, policy_of
from converter.domain.money import EXACT, floor_unit, plain
from converter.domain.orders import OperationKind, Order
from converter.domain.quotes import Quote
from converter.domain.transfers import Transfer
from converter.guard import Leave
from converter.ports import Deadline, Work


@dataclass(frozen=True)
class Sent:
    """What came of an operation. `order` is there when it was executed at a service."""

    outcome: Outcome
    order: Order | None = None
    error: ConverterError | None = None


@dataclass(frozen=True)
class Prepared:
    """A committed operation and the moment, on this process' clock, after which it is not sent any more."""

    attempt: Attempt
    operation: Operation
    send_by: Deadline


_IN_DOUBT = 5
"""Earlier payments that go out once more with a later one of the same account."""

NO_TIME = Deadline(0.0)
"""For an operation that was prepared by another process: it is not sent from here without being counted again."""


class Sending:
    """Prepares, sends and records operations."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def prepare_attempt(self, work: Work, conversion: Conversion, number: int, quote: Quote) -> Prepared:
        """Insert the attempt and its order operation in this transaction. Raises ClaimLost."""
        send_by, now = self._send_by(quote.service_id), work.clock()
        within = self._desk.services[quote.service_id].capabilities.send_within
        key = attempt_key(conversion.id, number)
        difference = self._desk.policy_of(conversion).max_rate_difference
        attempt = Attempt(
            id=0,
            conversion_id=conversion.id,
            number=number,
            service_id=quote.service_id,
            key=key,
            state=AttemptState.PREPARED,
            promised=quote.net,
            minimum_net=floor_unit(EXACT.multiply(quote.net, 1 - difference), conversion.request.to_asset.decimals),
            quote_reference=quote.reference,
            service_order_id=None,
            deposit_address="",
            deposit_amount=None,
            deposit_memo="",
            deposit_valid_until=None,
            refund_txid=None,
            refused=False,
            error="",
            created_at=now,
            updated_at=now,
        )
        operation = _operation(conversion, attempt, (1, OperationKind.ORDER), (now, within))
        work.conversions.hold(conversion, self._desk.timing.lease)
        attempt, operation = work.attempts.prepare(conversion, attempt, operation)
        work.books.post(postings.opened(conversion, attempt))
        return Prepared(attempt, operation, send_by)

    def prepare_step(self, work: Work, conversion: Conversion, attempt: Attempt, kind: OperationKind) -> Prepared:
        """Insert the next operation of an open attempt in this transaction. Raises ClaimLost."""
        send_by = self._send_by(attempt.service_id)
        within = self._desk.services[attempt.service_id].capabilities.send_within
        sequence = len(work.attempts.operations(attempt.id)) + 1
        operation = _operation(conversion, attempt, (sequence, kind), (work.clock(), within))
        work.conversions.hold(conversion, self._desk.timing.lease)
        return Prepared(attempt, work.attempts.prepare_step(conversion, operation), send_by)

    def prepare_repeat(self, work: Work, conversion: Conversion, attempt: Attempt, operation: Operation) -> Prepared:
        """Count another send of the same bytes in this transaction. Raises ClaimLost."""
        send_by = self._send_by(attempt.service_id)
        within = self._desk.services[attempt.service_id].capabilities.send_within
        work.conversions.hold(conversion, self._desk.timing.lease)
        operation = work.attempts.count_send(conversion, operation, work.clock() + within)
        return Prepared(attempt, operation, send_by)

    def place(self, conversion: Conversion, prepared: Prepared, leave: Leave | None = None) -> Sent:
        """Send the order of an attempt, with the leave that was asked for before it was prepared; None: once more."""
        service = self._desk.services[prepared.attempt.service_id]
        request = order_request(conversion, prepared.attempt)
        if leave is not None and prepared.send_by.expired:
            service.leave(leave)
        return self._send(conversion, prepared, lambda: service.place_order(request, prepared.send_by, leave))

    def advance(self, conversion: Conversion, prepared: Prepared, order: Order) -> Sent:
        """Send the next step of an order at its service."""
        service = self._desk.services[prepared.attempt.service_id]
        return self._send(conversion, prepared, lambda: service.advance_order(order, prepared.send_by))

    def broadcast(self, conversion: Conversion, prepared: Prepared, transfer: Transfer) -> Sent:
        """Hand a stored transaction to its chain. Executed or unknown, never less.

        A stored transaction holds a nonce, so it is always broadcast in the end; repeating it is harmless. One that is
        in doubt would hold back this one and all behind it, so those before it go out once more first.
        """
        wallet = self._desk.wallets[conversion.request.from_asset.network]
        with self._desk.ledger.begin() as work:
            before = work.transfers.in_doubt_before(transfer, _IN_DOUBT)

        def call() -> None:
            for earlier in before:
                with suppress(ConverterError):
                    wallet.broadcast(earlier, prepared.send_by)
            wallet.broadcast(transfer, prepared.send_by)

        sent = self._send(conversion, prepared, call)
        return sent if sent.outcome is Outcome.EXECUTED else replace(sent, outcome=Outcome.UNKNOWN)

    def keep_proof(self, prepared: Prepared, error: str) -> None:
        """Our only send was refused or never left, and the conversion has another owner now: the proof is kept for it.

        Without it that owner could not know, and would have to wait for a person where an absence proves nothing.
        """
        with self._desk.ledger.begin() as work:
            work.attempts.record_unsent(prepared.operation, error)

    def _send(self, conversion: Conversion, prepared: Prepared, call: Callable[[], Order | None]) -> Sent:
        began = time.monotonic()
        sent = self._outcome(conversion, prepared, call)
        elapsed = timedelta(seconds=time.monotonic() - began)
        self._desk.shared.meter.sent(prepared.attempt.service_id, prepared.operation.kind, sent.outcome, elapsed)
        return sent

    def _outcome(self, conversion: Conversion, prepared: Prepared, call: Callable[[], Order | None]) -> Sent:
        first_and_ours = prepared.operation.sends == 1 and prepared.operation.fence == conversion.fence
        if prepared.send_by.expired:
            return Sent(Outcome.NOT_EXECUTED if first_and_ours else Outcome.UNKNOWN)
        try:
            order = call()
        except ConverterError as error:
            outcome = policy_of(error).outcome
            if isinstance(error, IntegrityMismatch) and not self._moves_money(prepared):
                # An order that moves nothing by itself and is not what we asked for is never followed by a payment.
                outcome = Outcome.NOT_EXECUTED
            if outcome is Outcome.NOT_EXECUTED and not first_and_ours:
                # Another send of the same bytes may have succeeded: this refusal proves nothing about that one.
                outcome = Outcome.UNKNOWN
            return Sent(outcome, error=error)
        return Sent(Outcome.EXECUTED, order)

    def _moves_money(self, prepared: Prepared) -> bool:
        rules = self._desk.services[prepared.attempt.service_id].capabilities.rules
        return rules[prepared.operation.kind].moves_money

    def _send_by(self, service_id: str) -> Deadline:
        # Taken before the ledger's clock is read and before the commit: what is slow there shortens the time to send,
        # and nothing can leave later than the ledger's `send_before` says.
        return Deadline.after(self._desk.services[service_id].capabilities.send_within.total_seconds())


def _operation(
    conversion: Conversion, attempt: Attempt, place: tuple[int, OperationKind], times: tuple[datetime, timedelta]
) -> Operation:
    (sequence, kind), (now, within) = place, times
    return Operation(
        id=0,
        attempt_id=attempt.id,
        sequence=sequence,
        kind=kind,
        key=operation_key(attempt.key, kind, sequence),
        state=OperationState.PREPARED,
        fence=conversion.fence,
        sends=1,
        absences=0,
        send_before=now + within,
        request_hash=_request_hash(conversion, attempt, kind),
        error="",
        created_at=now,
        updated_at=now,
    )


def _request_hash(conversion: Conversion, attempt: Attempt, kind: OperationKind) -> str:
    request = order_request(conversion, attempt)
    content = [kind, request.key, str(request.from_asset), str(request.to_asset), plain(request.amount)]
    return hashlib.sha256(json.dumps([*content, request.address, plain(request.net)]).encode()).hexdigest()
