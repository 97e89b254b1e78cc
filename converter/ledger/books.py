"""Postings: added with the change that they belong to, never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.money import EXACT
from converter.domain.postings import Posting
from converter.ledger.tables import postings

_FIELDS = tuple(Posting.__dataclass_fields__)


def posting_of(row: Row[Any]) -> Posting:
    """A row as the domain knows it."""
    return Posting(**{name: getattr(row, name) for name in _FIELDS})


class SqlBooks:
    """The `Books` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def post(self, entries: Sequence[Posting]) -> None:
        """Add a transaction of the books. One that is there already is an error, and undoes the whole transaction."""
        if entries:
            at = {"at": self._now()}
            self._connection.execute(
                sa.insert(postings), [{name: getattr(one, name) for name in _FIELDS} | at for one in entries]
            )

    def of(self, attempt_id: int) -> list[Posting]:
        """Postings of an attempt, first to last."""
        query = sa.select(postings).where(postings.c.attempt_id == attempt_id).order_by(postings.c.id)
        return [posting_of(row) for row in self._connection.execute(query)]

    def balances(self) -> dict[tuple[str, str], Decimal]:
        """What each account holds of each coin, by (account, coin). Reads all postings."""
        found: dict[tuple[str, str], Decimal] = {}
        table = postings.c
        # SQLite has no exact numbers to sum with, so the sums are made here, on a stream of rows.
        query = sa.select(table.from_account, table.to_account, table.coin, table.amount)
        for giver, taker, coin, amount in self._connection.execute(query.execution_options(yield_per=1000)):
            found[giver, coin] = EXACT.subtract(found.get((giver, coin), Decimal(0)), amount)
            found[taker, coin] = EXACT.add(found.get((taker, coin), Decimal(0)), amount)
        return found
