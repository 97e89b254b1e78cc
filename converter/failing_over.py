"""The failovers that were, newest first: from which service, to which, and why."""

from __future__ import annotations

from typing import Any

from converter.domain.errors import InvalidRequest
from converter.ports import Failover, ViewedLedger

LIMIT = 200
"""Failovers on one page."""


def failovers(ledger: ViewedLedger, limit: int = 100, cursor: str | None = None) -> dict[str, Any]:
    """A page as plain JSON; `next` is the cursor of the page behind it. Raises InvalidRequest."""
    if not 1 <= limit <= LIMIT:
        raise InvalidRequest("limit", f"{limit} is out of its range", f"1 to {LIMIT}")
    before = None if cursor is None else _sequence(cursor)
    with ledger.view() as work:
        found = work.views.failovers(limit, before)
    more = len(found) == limit and found[-1].sequence > 1
    return {"failovers": [failover_facts(one) for one in found], "next": str(found[-1].sequence) if more else None}


def failover_facts(failover: Failover) -> dict[str, Any]:
    """One failover; `to` is None when no other service took over."""
    return {
        "at": failover.at.isoformat(),
        "conversionId": failover.conversion_id,
        "from": failover.from_service,
        "to": failover.to_service,
        "succeeded": failover.succeeded,
        "reason": failover.reason or None,
    }


def _sequence(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidRequest("cursor", f"{cursor[:40]!r} is none", "the `next` of the page before")
    return int(cursor)
