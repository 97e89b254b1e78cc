"""Answers to rate queries in memory, one per conversion, round and service."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

from converter.domain.conversions import Attempt
from converter.domain.quotes import Fee, QuoteRequest, QuoteRow
from tests.memory_ledger.store import Guard, Store, altered, money, note, utc

_LOOK_BACK = 20


class MemoryQuotes:
    """The `Quotes` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, row: QuoteRow) -> bool:
        store, place = self._store, (row.conversion_id, row.round)
        ids = store.quotes_of_round.get(place, ())
        if self._of_service(ids, row.service_id) is not None and Guard.ONE_QUOTE_PER_ROUND in store.guards:
            return False
        store.known(store.conversions, row.conversion_id)
        stored = self._stored(row, len(store.quotes) + 1)
        store.put(store.quotes, stored.id, stored)
        store.put(store.quotes_of_round, place, (*ids, stored.id))
        store.push(store.quotes_of_service.setdefault(row.service_id, []), stored.id)
        store.push(store.answer_times.setdefault(row.service_id, []), _time_of(stored))
        return True

    def of_round(self, conversion_id: str, asked_round: int) -> list[QuoteRow]:
        return [self._store.quotes[one] for one in self._store.quotes_of_round.get((conversion_id, asked_round), ())]

    def set_ranks(self, ranked: Sequence[int]) -> None:
        for rank, quote_id in enumerate(ranked):
            if quote_id in self._store.quotes:
                self._put(altered(self._store.quotes[quote_id], rank=rank))

    def late(self, row: QuoteRow) -> None:
        ids = self._store.quotes_of_round.get((row.conversion_id, row.round), ())
        kept = self._of_service(ids, row.service_id)
        if kept is not None and kept.late:
            ended = altered(kept, elapsed_ms=row.elapsed_ms, failed=row.failed)
            self._put(ended)
            place = bisect_left(self._store.quotes_of_service[row.service_id], kept.id)
            self._store.put_at(self._store.answer_times[row.service_id], place, _time_of(ended))

    def attempted(self, attempt: Attempt) -> QuoteRow | None:
        known, last = self._store.quotes_of_round, self._store.conversions[attempt.conversion_id].round
        while (attempt.conversion_id, last + 1) in known:
            last += 1
        for number in range(last, 0, -1):
            ids = known.get((attempt.conversion_id, number), ())
            row = self._of_service(ids, attempt.service_id)
            if row is not None and row.quote is not None and row.quote.net == attempt.promised:
                return row if row.asked_at <= attempt.created_at else None
        return None

    def latencies(self, service_id: str, limit: int) -> list[int]:
        times, found = self._store.answer_times.get(service_id, []), []
        for end in range(len(times), 0, -limit):
            found += [one for one in reversed(times[max(0, end - limit) : end]) if one is not None]
            if len(found) >= limit:
                break
        return found[:limit]

    def latest(self, service_id: str) -> QuoteRow | None:
        return next((row for row in self._newest(service_id) if row.quote is not None), None)

    def recent_failures(self, service_id: str) -> int:
        count = 0
        for row in self._newest(service_id):
            if count == _LOOK_BACK or (not row.failed and row.quote is not None):
                break
            count += row.failed
        return count

    def _newest(self, service_id: str) -> Iterator[QuoteRow]:
        quotes = self._store.quotes
        return (quotes[one] for one in reversed(self._store.quotes_of_service.get(service_id, ())))

    def _of_service(self, ids: Sequence[int], service_id: str) -> QuoteRow | None:
        return next((row for one in ids if (row := self._store.quotes[one]).service_id == service_id), None)

    def _stored(self, row: QuoteRow, quote_id: int) -> QuoteRow:
        """As a database gives it back: what was asked comes from the conversion."""
        quote = row.quote
        if quote is not None:
            asked = self._store.conversions[row.conversion_id].request
            gross, net = money(quote.gross), money(quote.net)
            expires_at = utc(quote.expires_at)
            assert gross is not None
            assert net is not None
            assert expires_at is not None
            quote = replace(
                quote,
                service_id=row.service_id,
                request=QuoteRequest(asked.from_asset, asked.to_asset, asked.amount),
                gross=gross,
                fees=tuple(Fee(fee.kind, money(fee.amount) or fee.amount) for fee in quote.fees),
                net=net,
                expires_at=expires_at,
            )
        return altered(
            row,
            id=quote_id,
            quote=quote,
            error=note(row.error),
            minimum=money(row.minimum),
            asked_at=utc(row.asked_at),
            rank=None,
        )

    def _put(self, row: QuoteRow) -> None:
        self._store.put(self._store.quotes, row.id, row)


def _time_of(row: QuoteRow) -> int | None:
    """Milliseconds of an answer that was no failure of ours, None for any other."""
    return row.elapsed_ms if not row.failed and (row.late or row.quote is not None) else None
