"""What an operator sees: questions that stay quick however much the ledger holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.coins import asset
from converter.domain.conversions import AttemptState, Conversion, State
from converter.domain.events import FAILOVER_FAILED, FAILOVER_SUCCESS
from converter.ledger.conversions import SqlConversions
from converter.ledger.quotes import quote_row
from converter.ledger.tables import attempts, conversions, events, quotes, rounds
from converter.ports.views import Failover, JudgedRow, Sides

ATTEMPTS_COUNTED = 5_000
"""Newest attempts of which shares are taken."""
ANSWERS_SEEN = 20_000
"""Newest answers, of all pairs, among which those of one pair are looked for: some 20 ms of reading."""
CONVERSIONS_SEEN = 2_000
"""Newest conversions whose pairs are told."""

_FAILOVER = sa.text(f"name IN ('{FAILOVER_SUCCESS}', '{FAILOVER_FAILED}')")
"""Literally: a partial index serves a query only if the database can see that its condition holds."""

sa.Index("events_failover", events.c.sequence, sqlite_where=_FAILOVER, postgresql_where=_FAILOVER)
sa.Index(
    "quotes_failed",
    quotes.c.service_id,
    quotes.c.id,
    sqlite_where=sa.text("failed = 1"),
    postgresql_where=sa.text("failed"),
)


class SqlViews:
    """The `Views` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def states(self) -> dict[State, int]:
        """How many conversions are in each state that has any; read from an index."""
        query = sa.select(conversions.c.state, sa.func.count().label("number")).group_by(conversions.c.state)
        return {State(row.state): row.number for row in self._connection.execute(query)}

    def oldest(self, state: State) -> Conversion | None:
        """The oldest conversion in this state; ids are ordered by time."""
        query = sa.select(conversions.c.id).where(conversions.c.state == state).order_by(conversions.c.id).limit(1)
        found = self._connection.execute(query).scalar()
        return None if found is None else SqlConversions(self._connection, self._now).get(found)

    def attempts_since(self, since: datetime) -> dict[str, int]:
        """Attempts begun since then, by service; of many thousands only the newest count."""
        table = attempts.c
        newest = sa.select(table.service_id, table.created_at).order_by(table.id.desc()).limit(ATTEMPTS_COUNTED)
        seen = newest.subquery().c
        query = sa.select(seen.service_id, sa.func.count().label("number")).where(seen.created_at >= since)
        return {row.service_id: row.number for row in self._connection.execute(query.group_by(seen.service_id))}

    def last_failure(self, service_id: str) -> tuple[datetime, str] | None:
        """When the service last failed to answer or refused an attempt, and what was said."""
        unanswered = (
            sa.select(quotes.c.asked_at, quotes.c.error)
            .where(quotes.c.service_id == service_id, quotes.c.failed == sa.true())
            .order_by(quotes.c.id.desc())
        )
        refused = (
            sa.select(attempts.c.updated_at, attempts.c.error)
            .where(attempts.c.state == AttemptState.NOT_EXECUTED, attempts.c.service_id == service_id)
            .order_by(attempts.c.id.desc())
        )
        found = [self._connection.execute(query.limit(1)).one_or_none() for query in (unanswered, refused)]
        return max(((row[0], row[1]) for row in found if row is not None), default=None)

    def pairs(self) -> list[Sides]:
        """What the newest conversions convert, the newest first."""
        table = conversions.c
        sides = (table.from_coin, table.from_network, table.to_coin, table.to_network)
        newest = sa.select(table.id, *sides).order_by(table.id.desc()).limit(CONVERSIONS_SEEN).subquery().c
        kinds = [newest[side.name] for side in sides]
        query = sa.select(*kinds).group_by(*kinds).order_by(sa.func.max(newest.id).desc())
        return [_sides(row) for row in self._connection.execute(query)]

    def quoted(self, sides: Sides, since: datetime, limit: int) -> list[JudgedRow]:
        """Offers for these sides since then, newest first, with what became of them."""
        seen = sa.select(quotes).order_by(quotes.c.id.desc()).limit(ANSWERS_SEEN).subquery()
        asked, gives, gets = conversions.c, *sides
        here = sa.and_(rounds.c.conversion_id == seen.c.conversion_id, rounds.c.number == seen.c.round)
        query = (
            sa.select(seen, asked.from_coin, asked.from_network, asked.to_coin, asked.to_network, asked.amount)
            .add_columns(rounds.c.judgement)
            .join(conversions, asked.id == seen.c.conversion_id)
            .outerjoin(rounds, here)
            .where(seen.c.net.is_not(None), seen.c.asked_at >= since)
            .where(asked.from_coin == gives.coin, asked.from_network == gives.network)
            .where(asked.to_coin == gets.coin, asked.to_network == gets.network)
            .order_by(seen.c.id.desc())
            .limit(limit)
        )
        read = lru_cache(maxsize=None)(_judgement)  # the quotes of a round share its text
        return [JudgedRow(quote_row(row), read(row.judgement)) for row in self._connection.execute(query)]

    def failovers(self, limit: int, before: int | None = None) -> list[Failover]:
        """Newest first. What made a service be left is told by its attempt, or by the event itself."""
        query = sa.select(events).where(_FAILOVER).order_by(events.c.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(events.c.sequence < before)
        found = [(row, json.loads(row.payload)) for row in self._connection.execute(query)]
        errors = self._errors([row.conversion_id for row, _ in found])
        return [
            Failover(
                row.sequence,
                row.at,
                row.conversion_id,
                told["from"],
                told.get("to"),
                told.get("reason") or _latest(errors.get((row.conversion_id, told["from"]), []), row.at),
            )
            for row, told in found
        ]

    def _errors(self, conversion_ids: list[str]) -> dict[tuple[str, str], list[tuple[datetime, str]]]:
        """When attempts began that came to nothing, and why, by conversion and service."""
        table = attempts.c
        query = sa.select(table.conversion_id, table.service_id, table.created_at, table.error).where(
            table.conversion_id.in_(set(conversion_ids)), table.error != ""
        )
        told: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
        for row in self._connection.execute(query.order_by(table.id)):
            told.setdefault((row.conversion_id, row.service_id), []).append((row.created_at, row.error))
        return told


def _latest(told: list[tuple[datetime, str]], by: datetime) -> str:
    return next((text for began, text in reversed(told) if began <= by), "")


def _sides(row: Row[Any]) -> Sides:
    return asset(row.from_coin, row.from_network), asset(row.to_coin, row.to_network)


def _judgement(text: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text or "{}")
    return found
