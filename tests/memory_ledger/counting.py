"""What is counted over many rows in memory: exposure and statistics."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.conditions import pair_of
from converter.domain.conversions import Attempt, AttemptState, State
from converter.domain.exposure import UnderWay
from tests.memory_ledger.store import Store

_DAY = timedelta(days=1)


class MemoryExposure:
    """The `Exposure` port. A transaction is alone here, so every question is serialised."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def under_way(self, *, serialised: bool) -> list[UnderWay]:
        since = self._store.now() - _DAY
        found = []
        for attempt in (self._store.attempts[one] for one in self._store.open_attempts):
            is_settled = attempt.state is AttemptState.SETTLED
            if is_settled and attempt.created_at <= since:
                continue
            asked = self._store.conversions[attempt.conversion_id].request
            pair = pair_of(asked.from_asset, asked.to_asset)
            found.append(UnderWay(attempt.service_id, pair, asked.from_asset.coin, asked.amount, not is_settled))
        return found

    def candidates(self, service_id: str, from_coin: str, to_coin: str) -> list[tuple[str, Decimal]]:
        store, now, found = self._store, self._store.now(), []
        for conversion in (store.conversions[one] for one in store.unfinished):
            asked = conversion.request
            if conversion.state is not State.EXECUTING or (asked.from_asset.coin, asked.to_asset.coin) != (
                from_coin,
                to_coin,
            ):
                continue
            if any(one in store.open_attempts for one in store.attempts_of.get(conversion.id, ())):
                continue
            rows = (store.quotes[one] for one in store.quotes_of_round.get((conversion.id, conversion.round), ()))
            offers = (row for row in rows if row.service_id == service_id and row.rank is not None)
            found += [(conversion.id, asked.amount) for row in offers if row.quote and row.quote.expires_at > now]
        return found


_EXECUTED = (AttemptState.EXECUTED, AttemptState.SETTLED, AttemptState.REFUNDED)


def read_statistics(store: Store) -> dict[str, Any]:
    """Counts by service and in all. Goes over everything: not for the inside of a simulation."""
    services: dict[str, dict[str, Any]] = {}
    for row in store.quotes.values():
        counts = services.setdefault(row.service_id, {"service_id": row.service_id, **_nothing()})
        counts["quotes"] += 1
        counts["quote_failures"] += row.failed
        counts["elapsed_ms"] += row.elapsed_ms
        if row.failed:
            counts["last_failure"] = max(counts["last_failure"] or row.asked_at, row.asked_at)
    for attempt in store.attempts.values():
        _count(services.setdefault(attempt.service_id, _nothing()), attempt)
    return {
        "services": services,
        "states": dict(Counter(str(one.state) for one in store.conversions.values())),
        "failovers": sum(one.failovers for one in store.conversions.values()),
    }


def _nothing() -> dict[str, Any]:
    zeros = dict.fromkeys(("quotes", "quote_failures", "elapsed_ms", "attempts", "executions", "refused"), 0)
    return {**zeros, "last_failure": None}


def _count(counts: dict[str, Any], attempt: Attempt) -> None:
    counts["attempts"] += 1
    counts["executions"] += attempt.state in _EXECUTED
    if attempt.state is AttemptState.NOT_EXECUTED:
        counts["refused"] += 1
        counts["last_failure"] = max(counts["last_failure"] or attempt.updated_at, attempt.updated_at)
