"""Answers to rate queries, one per conversion, round and service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection, Row

from converter.domain.coins import asset
from converter.domain.conversions import Attempt
from converter.domain.money import plain
from converter.domain.quotes import Fee, Quote, QuoteRequest, QuoteRow
from converter.ledger.tables import conversions, quotes

_LOOK_BACK = 20


def quote_row(row: Row[Any]) -> QuoteRow:
    """An answer with what was asked, as the domain knows it."""
    quote = None
    if row.net is not None:
        quote = Quote(
            service_id=row.service_id,
            request=QuoteRequest(
                asset(row.from_coin, row.from_network), asset(row.to_coin, row.to_network), row.amount
            ),
            gross=row.gross,
            fees=tuple(Fee(kind, Decimal(amount)) for kind, amount in json.loads(row.fees)),
            net=row.net,
            firm=row.firm,
            expires_at=row.expires_at,
            reference=row.reference,
        )
    kept = {name: getattr(row, name) for name in QuoteRow.__dataclass_fields__ if name != "quote"}
    return QuoteRow(quote=quote, **kept)


def _rows() -> sa.Select[Any]:
    """Answers with what was asked."""
    asked = conversions.c
    wanted = (asked.from_coin, asked.from_network, asked.to_coin, asked.to_network, asked.amount)
    return sa.select(quotes, *wanted).join(conversions, asked.id == quotes.c.conversion_id)


class SqlQuotes:
    """The `Quotes` port on one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, row: QuoteRow) -> bool:
        """Store an answer once per conversion, round and service; False for a second one, which changes nothing."""
        quote = row.quote
        values = {
            "conversion_id": row.conversion_id,
            "round": row.round,
            "service_id": row.service_id,
            "gross": quote.gross if quote else None,
            "net": quote.net if quote else None,
            "fees": json.dumps([[fee.kind, plain(fee.amount)] for fee in quote.fees] if quote else []),
            "firm": bool(quote and quote.firm),
            "reference": quote.reference if quote else "",
            "expires_at": quote.expires_at if quote else None,
            "failed": row.failed,
            "late": row.late,
            "error": row.error,
            "minimum": row.minimum,
            "elapsed_ms": row.elapsed_ms,
            "asked_at": row.asked_at,
        }
        insert = sqlite_insert if self._connection.dialect.name == "sqlite" else postgresql_insert
        added = self._connection.execute(insert(quotes).values(**values).on_conflict_do_nothing())
        return bool(added.rowcount)

    def late(self, row: QuoteRow) -> None:
        """Note how an answer ended that came after its round had gone on: its time, and whether it failed."""
        table = quotes.c
        kept = sa.update(quotes).where(
            table.conversion_id == row.conversion_id,
            table.round == row.round,
            table.service_id == row.service_id,
            table.late,
        )
        self._connection.execute(kept.values(elapsed_ms=row.elapsed_ms, failed=row.failed))

    def attempted(self, attempt: Attempt) -> QuoteRow | None:
        """The answer whose offer an attempt took, None when it is not known any more."""
        query = _rows().where(
            quotes.c.conversion_id == attempt.conversion_id,
            quotes.c.service_id == attempt.service_id,
            quotes.c.net == attempt.promised,
            quotes.c.asked_at <= attempt.created_at,
        )
        row = self._connection.execute(query.order_by(quotes.c.id.desc()).limit(1)).one_or_none()
        return None if row is None else quote_row(row)

    def latencies(self, service_id: str, limit: int) -> list[int]:
        """Milliseconds of the newest offers, newest first, those that came too late for their round included."""
        offered = sa.or_(quotes.c.late, quotes.c.net.is_not(None))
        query = (
            sa.select(quotes.c.elapsed_ms)
            .where(quotes.c.service_id == service_id, quotes.c.failed.is_(False), offered)
            .order_by(quotes.c.id.desc())
            .limit(limit)
        )
        return list(self._connection.execute(query).scalars())

    def latest(self, service_id: str) -> QuoteRow | None:
        """The service's newest answer with an offer."""
        query = _rows().where(quotes.c.service_id == service_id, quotes.c.net.is_not(None))
        row = self._connection.execute(query.order_by(quotes.c.id.desc()).limit(1)).one_or_none()
        return None if row is None else quote_row(row)

    def of_round(self, conversion_id: str, asked_round: int) -> list[QuoteRow]:
        """All answers of a round."""
        query = _rows().where(quotes.c.conversion_id == conversion_id, quotes.c.round == asked_round)
        return [quote_row(row) for row in self._connection.execute(query.order_by(quotes.c.id))]

    def set_ranks(self, ranked: Sequence[int]) -> None:
        """Note the order in which quotes may be attempted (ids, best first)."""
        for rank, quote_id in enumerate(ranked):
            self._connection.execute(sa.update(quotes).where(quotes.c.id == quote_id).values(rank=rank))

    def recent_failures(self, service_id: str) -> int:
        """How many answers in a row failed, newest first; refusals neither count nor end the row."""
        query = (
            sa.select(quotes.c.failed)
            .where(quotes.c.service_id == service_id, sa.or_(quotes.c.failed, quotes.c.net.is_not(None)))
            .order_by(quotes.c.id.desc())
            .limit(_LOOK_BACK)
        )
        count = 0
        for failed in self._connection.execute(query).scalars():
            if not failed:
                break
            count += 1
        return count
