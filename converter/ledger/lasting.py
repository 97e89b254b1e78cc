"""What lasts beside the money: conditions, explain records, health checks, and rates kept for a loss of Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection

from converter.domain.conditions import Condition
from converter.domain.explaining import Round
from converter.domain.health import Check
from converter.ledger.tables import conditions, health_checks, rate_states, rounds


def insert_into(connection: Connection, table: sa.Table) -> Any:
    """An insert that knows `on_conflict`."""
    return (sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert)(table)


_A_MOMENT = timedelta(seconds=1)
"""To what a condition's `seen_at` is exact."""


class SqlConditions:
    """The `Conditions` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def enter(self, name: str, state: str, *, normal: str, detail: str = "") -> bool:
        """Note that it is in this state now. True for the one caller that found it in another."""
        now, table = self._now(), conditions
        met = self.get(name)
        if met is not None and met.state == state and now - met.seen_at < _A_MOMENT:
            return False  # every planning meets some: they must not queue up for the row
        known = {"name": name, "state": normal, "since": now, "seen_at": now, "detail": ""}
        self._connection.execute(insert_into(self._connection, table).values(**known).on_conflict_do_nothing())
        here = table.c.name == name
        entered = sa.update(table).where(here, table.c.state != state)
        changed = self._connection.execute(entered.values(state=state, since=now, seen_at=now, detail=detail))
        if changed.rowcount:
            return True
        self._connection.execute(sa.update(table).where(here).values(seen_at=now))
        return False

    def restart(self, name: str) -> None:
        """It was not met for so long that its state is taken to have begun now."""
        now = self._now()
        self._connection.execute(sa.update(conditions).where(conditions.c.name == name).values(since=now, seen_at=now))

    def get(self, name: str) -> Condition | None:
        """The condition, None when it was never noted."""
        row = self._connection.execute(sa.select(conditions).where(conditions.c.name == name)).mappings().one_or_none()
        return None if row is None else Condition(**row)

    def of(self, prefix: str) -> dict[str, Condition]:
        """Conditions whose names begin so, by name."""
        query = sa.select(conditions).where(conditions.c.name.startswith(prefix, autoescape=True))
        return {row["name"]: Condition(**row) for row in self._connection.execute(query).mappings()}


class SqlRounds:
    """The `Rounds` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def open(self, conversion_id: str, number: int, seats: Sequence[Mapping[str, Any]]) -> None:
        """Who was eligible in this round, and why not."""
        self._connection.execute(
            sa.insert(rounds).values(
                conversion_id=conversion_id,
                number=number,
                opened_at=self._now(),
                seats=json.dumps([dict(seat) for seat in seats]),
                judgement="{}",
            )
        )

    def judge(self, conversion_id: str, number: int, judgement: Mapping[str, Any]) -> None:
        """What became of the quotes, and why the first goes first."""
        here = sa.update(rounds).where(rounds.c.conversion_id == conversion_id, rounds.c.number == number)
        self._connection.execute(here.values(judgement=json.dumps(dict(judgement)), judged_at=self._now()))

    def of(self, conversion_id: str) -> list[Round]:
        """Rounds of a conversion, first to last."""
        query = sa.select(rounds).where(rounds.c.conversion_id == conversion_id).order_by(rounds.c.number)
        return [_round(dict(row)) for row in self._connection.execute(query).mappings()]

    def get(self, conversion_id: str, number: int) -> Round | None:
        """One round, None when it has no record."""
        query = sa.select(rounds).where(rounds.c.conversion_id == conversion_id, rounds.c.number == number)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _round(dict(row))


def _round(row: Mapping[str, Any]) -> Round:
    return Round(**{**row, "seats": json.loads(row["seats"]), "judgement": json.loads(row["judgement"])})


class SqlMemory:
    """The `Memory` port on one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep_rates(self, rows: Sequence[tuple[str, str, datetime]]) -> None:
        """Replace the states of these names (name, text, when it changed)."""
        for name, state, changed_at in rows:
            insert = insert_into(self._connection, rate_states).values(name=name, state=state, changed_at=changed_at)
            changes = {"state": state, "changed_at": changed_at}
            self._connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changes))

    def rates(self) -> list[tuple[str, str, datetime]]:
        """All kept states."""
        return [(row.name, row.state, row.changed_at) for row in self._connection.execute(sa.select(rate_states))]

    def checked(self, service_id: str, check: Check) -> Check:
        """Keep the latest health check; returns it with its count of failures in a row."""
        before = self.checks().get(service_id)
        misses = 0 if check.ok else 1 + (before.misses if before is not None else 0)
        kept = {"at": check.at, "error": check.error, "elapsed_ms": check.elapsed_ms, "misses": misses}
        insert = insert_into(self._connection, health_checks).values(service_id=service_id, **kept)
        self._connection.execute(insert.on_conflict_do_update(index_elements=["service_id"], set_=kept))
        return replace(check, misses=misses)

    def checks(self) -> dict[str, Check]:
        """The latest health check of each service."""
        return {
            row.service_id: Check(row.at, row.error, row.elapsed_ms, row.misses)
            for row in self._connection.execute(sa.select(health_checks))
        }
