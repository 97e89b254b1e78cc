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
from converter.domain.money import plain
from converter.domain.quotes import Fee, Quote, QuoteRequest, QuoteRow
from converter.ledger.tables import conversions, quotes

_LOOK_BACK = 20


def _row(row: Row[Any]) -> QuoteRow:
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


class SqlQuotes:
    """The `Quotes` port on one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, row: QuoteRow) -> int:
        """Store an answer once per conversion, round and service; a second one changes nothing. Returns its id."""
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
            "error": row.error,
            "minimum": row.minimum,
            "elapsed_ms": row.elapsed_ms,
            "asked_at": row.asked_at,
        }
        insert = sqlite_insert if self._connection.dialect.name == "sqlite" else postgresql_insert
        self._connection.execute(insert(quotes).values(**values).on_conflict_do_nothing())
        table = quotes.c
        return int(
            self._connection.execute(
                sa.select(table.id).where(
                    table.conversion_id == row.conversion_id,
                    table.round == row.round,
                    table.service_id == row.service_id,
                )
            ).scalar_one()
        )

    def of_round(self, conversion_id: str, asked_round: int) -> list[QuoteRow]:
        """All answers of a round."""
        query = (
            sa.select(
                quotes,
                conversions.c.from_coin,
                conversions.c.from_network,
                conversions.c.to_coin,
                conversions.c.to_network,
                conversions.c.amount,
            )
            .join(conversions, conversions.c.id == quotes.c.conversion_id)
            .where(quotes.c.conversion_id == conversion_id, quotes.c.round == asked_round)
            .order_by(quotes.c.id)
        )
        return [_row(row) for row in self._connection.execute(query)]

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
