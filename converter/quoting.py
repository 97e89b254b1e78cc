"""Asks one service under a deadline and keeps its answer. Never raises for what a service does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from converter.desk import Desk
from converter.domain import events
from converter.domain.conversions import Conversion, State
from converter.domain.errors import AmountOutOfRange, BreakerRefused, ServiceError, policy_of
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.quotes import Quote, QuoteRequest, QuoteRow
from converter.ports import Deadline


class Quoting:
    """The use-case behind `rates.query`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def ask(self, conversion_id: str, asked_round: int, service_ids: Sequence[str]) -> dict[str, Any]:
        """Ask the services one after the other until one gives a valid quote; all within one deadline.

        Returns a small record for onlookers; what counts is in the ledger. A round that is over is not asked for.
        """
        with self._desk.ledger.begin() as work:
            conversion = work.conversions.get(conversion_id)
        if conversion.state is not State.QUOTING or conversion.round != asked_round:
            return {"conversion": conversion_id, "round": asked_round, "skipped": True}
        deadline = Deadline.after(self._desk.policy_of(conversion).request_timeout.total_seconds())
        record: dict[str, Any] = {}
        for service_id in service_ids:
            row = self._ask_one(conversion, service_id, deadline)
            self._store(row)
            record = {"conversion": conversion_id, "round": asked_round, "service": service_id, "error": row.error}
            if row.quote is not None:
                return {**record, "net": plain(row.quote.net)}
            if deadline.expired:
                break
        return record

    def _ask_one(self, conversion: Conversion, service_id: str, deadline: Deadline) -> QuoteRow:
        request = QuoteRequest(conversion.request.from_asset, conversion.request.to_asset, conversion.request.amount)
        asked_at = self._desk.ledger.now()
        started = time.monotonic()
        quote: Quote | None = None
        error: ServiceError | None = None
        try:
            quote = self._desk.services[service_id].quote(request, deadline)
        except ServiceError as failure:
            error = failure
        return QuoteRow(
            id=0,
            conversion_id=conversion.id,
            round=conversion.round,
            service_id=service_id,
            quote=quote,
            error=str(error) if error else "",
            elapsed_ms=round((time.monotonic() - started) * 1000),
            asked_at=asked_at,
            failed=error is not None and policy_of(error).counts_against_breaker,
            minimum=_missed_minimum(error, request),
        )

    def _store(self, row: QuoteRow) -> None:
        with self._desk.ledger.begin() as work:
            failures = work.quotes.recent_failures(row.service_id)
            work.quotes.add(row)
            if row.failed:
                payload = {"serviceId": row.service_id, "failures": failures + 1, "operation": "quote"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload, row.conversion_id))
            elif row.quote is not None and failures:
                payload = {"serviceId": row.service_id, "failures": failures}
                work.outbox.add(Event(events.SERVICE_RECOVERED, payload))


def _missed_minimum(error: ServiceError | None, request: QuoteRequest) -> Decimal | None:
    """The service's minimum, if the amount is below it (it may be above a maximum)."""
    if isinstance(error, AmountOutOfRange) and error.minimum is not None and request.amount < error.minimum:
        return error.minimum
    return None


def is_refusal(row: QuoteRow) -> bool:
    """Whether the service answered and does not want this conversion, as opposed to not having answered."""
    return row.quote is None and not row.failed and BreakerRefused.__name__ not in row.error
