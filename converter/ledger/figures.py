"""How the ledger stands, for those who watch it: few short statements on indexes, in a transaction that only reads.

What is unfinished is as much as is under way. What has ended only grows, so it is counted apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain.conversions import OPEN_ATTEMPT, TERMINAL, AttemptState, OperationState, State
from converter.domain.deliveries import PENDING
from converter.domain.orders import OperationKind
from converter.ledger.outgoing_tables import deliveries, followers
from converter.ledger.tables import attempts, conditions, conversions, events, health_checks, operations
from converter.ports import Figures

_UNFINISHED = tuple(state for state in State if state not in TERMINAL)
_UNDER_WAY = tuple(state for state in OPEN_ATTEMPT if state is not AttemptState.SETTLED)


class SqlFigures:
    """The `Gauging` port. Shared by threads. `reading`: a transaction that only reads; `now`: the ledger's clock."""

    def __init__(
        self, reading: Callable[[], AbstractContextManager[Connection]], now: Callable[[Connection], datetime]
    ) -> None:
        self._reading = reading
        self._now = now

    def figures(self) -> Figures:
        """Read them now."""
        with self._reading() as connection:
            now = self._now(connection)
            unfinished, overdue = _unfinished(connection, now)
            return Figures(
                open=unfinished,
                overdue=overdue,
                unknown=_unknown(connection, now),
                conditions={row.name: row.state for row in connection.execute(_CONDITIONS)},
                checks={row.service_id: _age(row.at, now) for row in connection.execute(_CHECKS)},
                events=_newest(connection, now),
                followers={row.follower: row.position for row in connection.execute(_FOLLOWERS)},
                messages=_waiting(connection, now),
            )

    def ended(self) -> dict[str, int]:
        """Ended conversions by state."""
        with self._reading() as connection:
            return {row.state: row.number for row in connection.execute(_ENDED)}


def _unfinished(connection: Connection, now: datetime) -> tuple[dict[str, tuple[int, float]], float]:
    counts = {row.state: (row.number, _age(row.since, now)) for row in connection.execute(_OPEN)}
    due_at = connection.execute(_DUE).scalar()
    return counts, _age(due_at, now)


def _unknown(connection: Connection, now: datetime) -> dict[str, tuple[int, float]]:
    query = _UNKNOWN.where(operations.c.send_before < now)
    return {row.service_id: (row.number, _age(row.since, now)) for row in connection.execute(query)}


def _waiting(connection: Connection, now: datetime) -> dict[str, tuple[int, float]]:
    return {row.receiver: (row.number, _age(row.since, now)) for row in connection.execute(_PENDING)}


def _newest(connection: Connection, now: datetime) -> tuple[int, float]:
    row = connection.execute(_EVENTS).one_or_none()
    return (0, 0.0) if row is None else (row.sequence, _age(row.at, now))


def _age(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())


def _count() -> sa.Label[int]:
    return sa.func.count().label("number")


def _oldest(column: sa.Column[Any]) -> sa.Label[Any]:
    return sa.func.min(column).label("since")


_OPEN = (
    sa.select(conversions.c.state, _count(), _oldest(conversions.c.since))
    .where(conversions.c.state.in_(_UNFINISHED))
    .group_by(conversions.c.state)
)
_ENDED = (
    sa.select(conversions.c.state, _count())
    .where(conversions.c.state.in_(tuple(TERMINAL)))
    .group_by(conversions.c.state)
)
_DUE = sa.select(sa.func.min(conversions.c.due_at)).where(conversions.c.due_at.is_not(None))
_UNKNOWN = (
    sa.select(attempts.c.service_id, _count(), _oldest(operations.c.send_before))
    .join(operations, operations.c.attempt_id == attempts.c.id)
    .join(conversions, conversions.c.id == attempts.c.conversion_id)
    .where(attempts.c.state.in_(_UNDER_WAY), operations.c.state == OperationState.PREPARED)
    # A deposit that a person pays is prepared for as long as the person takes; nobody is in doubt about it.
    .where(sa.not_(sa.and_(operations.c.kind == OperationKind.DEPOSIT, conversions.c.state == State.SETTLING)))
    .group_by(attempts.c.service_id)
)
_CONDITIONS = sa.select(conditions.c.name, conditions.c.state)
_CHECKS = sa.select(health_checks.c.service_id, health_checks.c.at)
_FOLLOWERS = sa.select(followers.c.follower, followers.c.position).where(followers.c.event == "")
_PENDING = (
    sa.select(deliveries.c.receiver, _count(), _oldest(deliveries.c.created_at))
    .where(deliveries.c.state == sa.literal_column(f"'{PENDING}'"))  # as the partial index has it
    .group_by(deliveries.c.receiver)
)
_EVENTS = sa.select(events.c.sequence, events.c.at).order_by(events.c.sequence.desc()).limit(1)
