"""Alerts, each under its key."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.alerts import Alert, Raised, Watch
from converter.ledger.lasting import insert_into
from converter.ledger.outgoing_tables import alerts


class SqlAlerts:
    """The `Alerts` port on one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> Alert | None:
        """The alert of this key, None when there never was one."""
        row = self._connection.execute(sa.select(alerts).where(alerts.c.key == key)).one_or_none()
        return None if row is None else _alert(row)

    def put(self, alert: Alert) -> None:
        """Keep it in the place of the one with its key."""
        row = _row(alert)
        changes = {name: value for name, value in row.items() if name != "key"}
        insert = insert_into(self._connection, alerts).values(**row)
        self._connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=changes))

    def firing(self) -> list[Alert]:
        """All that have not ended."""
        query = sa.select(alerts).where(alerts.c.resolved_at.is_(None)).order_by(alerts.c.last_at.desc())
        return [_alert(row) for row in self._connection.execute(query)]

    def page(self, *, active: bool, limit: int = 200) -> list[Alert]:
        """Firing first, then the newest; `active`: only those that are firing."""
        found = self.firing()[:limit]
        if active or len(found) == limit:
            return found
        ended = sa.select(alerts).where(alerts.c.resolved_at.is_not(None)).order_by(alerts.c.resolved_at.desc())
        return found + [_alert(row) for row in self._connection.execute(ended.limit(limit - len(found)))]

    def prune(self, before: datetime, limit: int) -> int:
        """Delete some of those that ended before then; returns how many."""
        old = sa.select(alerts.c.key).where(alerts.c.resolved_at < before).limit(limit)
        return int(self._connection.execute(sa.delete(alerts).where(alerts.c.key.in_(old))).rowcount)


def _row(alert: Alert) -> dict[str, Any]:
    what, watch = alert.what, alert.what.watch
    return {
        "key": what.key,
        "name": what.name,
        "severity": what.severity,
        "text": what.text,
        "service_id": what.service_id,
        "conversion_id": what.conversion_id,
        "lasts": None if what.lasts is None else _whole(what.lasts),
        "watch": "" if watch is None else json.dumps(_watched(watch)),
        "first_at": alert.first_at,
        "last_at": alert.last_at,
        "count": alert.count,
        "resolved_at": alert.resolved_at,
        "told_at": alert.told_at,
        "announced": alert.announced,
    }


def _alert(row: Row[Any]) -> Alert:
    what = Raised(
        key=row.key,
        name=row.name,
        severity=row.severity,
        text=row.text,
        service_id=row.service_id,
        conversion_id=row.conversion_id,
        lasts=None if row.lasts is None else timedelta(seconds=row.lasts),
        watch=_watch(row.watch),
    )
    # `count` is a method of every row.
    count = row._mapping["count"]  # noqa: SLF001
    return Alert(what, row.first_at, row.last_at, count, row.resolved_at, row.told_at, row.announced)


def _watched(watch: Watch) -> dict[str, Any]:
    seen = None if watch.seen_within is None else _whole(watch.seen_within)
    return {"condition": watch.condition, "usual": list(watch.usual), "seenWithin": seen}


def _watch(text: str) -> Watch | None:
    if not text:
        return None
    kept = json.loads(text)
    seen = None if kept["seenWithin"] is None else timedelta(seconds=kept["seenWithin"])
    return Watch(kept["condition"], tuple(kept["usual"]), seen)


def _whole(duration: timedelta) -> int:
    return round(duration.total_seconds())
