"""Asks one service under a deadline and keeps its answer. Never raises for what a service does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from converter.asking import Answer, Asking, Terms
from converter.desk import Desk
from converter.domain import events
from converter.domain.conversions import Conversion, State
from converter.domain.deadlines import SAMPLES, quote_deadline
from converter.domain.errors import AmountOutOfRange, BreakerRefused, LimiterRefused, ServiceError, policy_of
from converter.domain.events import Event
from converter.domain.quotes import QuoteRequest, QuoteRow
from converter.ports import Deadline

_OURS = (BreakerRefused.__name__, LimiterRefused.__name__)


class Quoting:
    """The use-case behind `rates.query`."""

    def __init__(self, desk: Desk, asking: Asking) -> None:
        self._desk = desk
        self._asking = asking

    def ask(self, conversion_id: str, asked_round: int, service_ids: Sequence[str]) -> dict[str, Any]:
        """Ask the services one after the other until one gives a valid quote; all within one deadline.

        Returns a small record for onlookers, which goes through the broker: who was asked and whether there is a
        quote, no amount and no text. What counts is in the ledger. A round that is over is not asked for.
        """
        with self._desk.ledger.begin() as work:
            conversion = work.conversions.get(conversion_id)
            latencies = {one: work.quotes.latencies(one, SAMPLES) for one in service_ids}
        if conversion.state is not State.QUOTING or conversion.round != asked_round:
            return {"conversion": conversion_id, "round": asked_round, "skipped": True}
        limit = self._desk.policy_of(conversion).request_timeout
        end = Deadline.after(limit.total_seconds())
        record: dict[str, Any] = {}
        for service_id in service_ids:
            usual = Deadline.after(quote_deadline(latencies[service_id], limit).total_seconds())
            row = self._ask_one(conversion, service_id, min(end, usual, key=lambda one: one.at))
            quoted = row.quote is not None
            record = {"conversion": conversion_id, "round": asked_round, "service": service_id, "quoted": quoted}
            if quoted or end.expired:
                break
        return record

    def _ask_one(self, conversion: Conversion, service_id: str, patience: Deadline) -> QuoteRow:
        """Wait for the answer until `patience`. The call itself has the configured time, however hasty this conversion
        is: what we had no time for is not held against the service."""
        request = QuoteRequest(conversion.request.from_asset, conversion.request.to_asset, conversion.request.amount)
        asked_at, waited = self._desk.ledger.now(), max(0.0, patience.remaining())
        last = Deadline.after(self._desk.policy.request_timeout.total_seconds())
        terms = Terms(patience, last, share=conversion.round == 1)
        answer = self._asking.ask(self._desk.services[service_id], request, terms)
        if isinstance(answer, Answer):
            row = _row(conversion, service_id, answer, asked_at)
            self._store(row)
            return row
        error = f"{service_id} quote: no answer within {waited:.1f} s"
        row = replace(_row(conversion, service_id, Answer(None, None, round(waited * 1000)), asked_at), error=error)
        row = replace(row, failed=True, late=True)
        if self._store(row):
            # Only now: an answer that comes this moment must find the row that it belongs to.
            answer.add_done_callback(lambda done: self._late(_row(conversion, service_id, done.result(), asked_at)))
        return row

    def _store(self, row: QuoteRow) -> bool:
        """Keep an answer; False when the service's answer of this round was known already."""
        with self._desk.ledger.begin() as work:
            failures = work.quotes.recent_failures(row.service_id)
            added = work.quotes.add(row)
            if added and row.failed and not row.late:
                payload = {"serviceId": row.service_id, "failures": failures + 1, "operation": "quote"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload, row.conversion_id))
            self._desk.shared.bulletin.write(work)
        return added

    def _late(self, row: QuoteRow) -> None:
        """An answer after its round had gone on: it counts for the statistics, and a failure is told."""
        with self._desk.ledger.begin() as work:
            work.quotes.late(row)
            if row.failed:
                failures = max(1, work.quotes.recent_failures(row.service_id))
                payload = {"serviceId": row.service_id, "failures": failures, "operation": "quote"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload, row.conversion_id))
            self._desk.shared.bulletin.write(work)


def _row(conversion: Conversion, service_id: str, answer: Answer, asked_at: datetime) -> QuoteRow:
    error = answer.error
    return QuoteRow(
        id=0,
        conversion_id=conversion.id,
        round=conversion.round,
        service_id=service_id,
        quote=answer.quote,
        error=str(error) if error else "",
        elapsed_ms=answer.elapsed_ms,
        asked_at=asked_at,
        failed=error is not None and policy_of(error).counts_against_breaker,
        minimum=_missed_minimum(error, conversion.request.amount),
    )


def _missed_minimum(error: ServiceError | None, amount: Decimal) -> Decimal | None:
    """The service's minimum, if the amount is below it (it may be above a maximum)."""
    if isinstance(error, AmountOutOfRange) and error.minimum is not None and amount < error.minimum:
        return error.minimum
    return None


def is_refusal(row: QuoteRow) -> bool:
    """Whether the service answered and does not want this conversion, as opposed to not having answered."""
    return row.quote is None and not row.failed and not row.late and not any(name in row.error for name in _OURS)
