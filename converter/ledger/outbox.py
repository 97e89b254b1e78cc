"""Events, appended in the transaction of the change that they tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.conversions import TERMINAL
from converter.domain.events import CONVERSION_CANCELLED, CONVERSION_COMPLETED, CONVERSION_FAILED, Event, Only
from converter.ledger.tables import conversions, events

_LOCK = 7226082
_KEPT = (CONVERSION_CANCELLED, CONVERSION_COMPLETED, CONVERSION_FAILED)
"""How a conversion ended stays: each audit counts it."""


def event_of(row: Row[Any]) -> Event:
    """A row as the domain knows it."""
    return Event(row.name, json.loads(row.payload), row.conversion_id, row.sequence, row.at)


class SqlOutbox:
    """The `Outbox` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now
        self._added: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Append, at the end of the transaction."""
        self._added.append(
            {
                "name": event.name,
                "conversion_id": event.conversion_id,
                "payload": json.dumps(event.payload),
                "at": self._now(),
            }
        )

    def flush(self) -> None:
        """Write what was added. On PostgreSQL one transaction at a time from here on: numbers are committed in their
        order, so that a follower passes over none. Nothing else is locked after this lock, and it is held for a moment
        only: taken any earlier, it deadlocked with the rows of conditions and held up every worker."""
        added, self._added = self._added, []
        if not added:
            return
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        self._connection.execute(sa.insert(events), added)

    def after(self, sequence: int, limit: int = 100) -> list[Event]:
        """Events behind a sequence number, oldest first."""
        self.flush()
        query = sa.select(events).where(events.c.sequence > sequence).order_by(events.c.sequence).limit(limit)
        return [event_of(row) for row in self._connection.execute(query)]

    def between(self, after: int, until: int, only: Only, limit: int, *, newest: bool = False) -> list[Event]:
        """Events behind `after` up to `until`, oldest first: the first `limit` of them, or the last."""
        self.flush()
        table = events.c
        query = sa.select(events).where(table.sequence > after, table.sequence <= until).limit(limit)
        if only.names:
            query = query.where(table.name.in_(sorted(only.names)))
        if only.conversion_id is not None:
            query = query.where(table.conversion_id == only.conversion_id)
        query = query.order_by(table.sequence.desc() if newest else table.sequence)
        found = [event_of(row) for row in self._connection.execute(query)]
        return found[::-1] if newest else found

    def prune(self, after: int, until: int, before: datetime) -> int:
        """Delete what is behind `after` up to `until`, older than `before`, and of no use to an audit."""
        table = events.c
        old = sa.select(table.sequence).where(table.sequence > after, table.sequence <= until)
        young = self._connection.execute(
            old.where(table.at >= before).order_by(table.sequence).limit(1)
        ).scalar_one_or_none()
        end = until if young is None else int(young) - 1
        unfinished = sa.select(conversions.c.id).where(conversions.c.state.not_in(TERMINAL))
        of_none = sa.or_(table.conversion_id.is_(None), table.conversion_id.not_in(unfinished))
        self._connection.execute(
            sa.delete(events).where(table.sequence > after, table.sequence <= end, of_none, table.name.not_in(_KEPT))
        )
        return max(after, end)

    def last(self) -> int:
        """The newest sequence number, 0 when there is none."""
        self.flush()
        return int(self._connection.execute(sa.select(sa.func.max(events.c.sequence))).scalar() or 0)
