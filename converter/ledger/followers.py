"""How far each follower has read the outbox."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.ledger.lasting import insert_into
from converter.ledger.outgoing_tables import followers


class SqlFollowers:
    """The `Followers` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def get(self, follower: str, event: str = "") -> int | None:
        """Its position, None when it has none."""
        here = (followers.c.follower == follower, followers.c.event == event)
        found = self._connection.execute(sa.select(followers.c.position).where(*here)).scalar_one_or_none()
        return None if found is None else int(found)

    def take(self, follower: str, start: int) -> int | None:
        """Its position, for this transaction alone; `start` when it is new, None while another transaction has it."""
        self._add(follower, start, ("",))
        query = sa.select(followers.c.position).where(followers.c.follower == follower, followers.c.event == "")
        found = self._connection.execute(query.with_for_update(skip_locked=True)).scalar_one_or_none()
        return None if found is None else int(found)

    def move(self, follower: str, position: int, events: Collection[str] = ("",)) -> None:
        """Keep a position; one never moves back."""
        self._add(follower, position, events)
        table = followers.c
        here = (table.follower == follower, table.event.in_(list(events)), table.position <= position)
        self._connection.execute(sa.update(followers).where(*here).values(position=position, moved_at=self._now()))

    def slowest(self, since: datetime, besides: Collection[str] = ()) -> int | None:
        """The lowest position of those that have moved since then, None when there is none."""
        table = followers.c
        query = sa.select(sa.func.min(table.position)).where(table.moved_at >= since)
        found = self._connection.execute(query.where(table.follower.not_in(list(besides)))).scalar()
        return None if found is None else int(found)

    def _add(self, follower: str, position: int, events: Collection[str]) -> None:
        rows = [
            {"follower": follower, "event": one, "position": position, "moved_at": self._now()}
            for one in events
            if self.get(follower, one) is None
        ]
        if rows:
            self._connection.execute(insert_into(self._connection, followers).values(rows).on_conflict_do_nothing())
