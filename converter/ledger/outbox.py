"""Events, appended in the transaction of the change that they tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain.events import Event
from converter.ledger.tables import events

_LOCK = 7226082


class SqlOutbox:
    """The `Outbox` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now
        self._added: list[dict[str, Any]] = []
        self.told: list[Event] = []
        """Everything that this transaction tells."""

    def add(self, event: Event) -> None:
        """Append, at the end of the transaction."""
        self.told.append(event)
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
        return [
            Event(row.name, json.loads(row.payload), row.conversion_id, row.sequence, row.at)
            for row in self._connection.execute(query)
        ]

    def last(self) -> int:
        """The newest sequence number, 0 when there is none."""
        self.flush()
        return int(self._connection.execute(sa.select(sa.func.max(events.c.sequence))).scalar() or 0)
