"""Counts read from the ledger: exact, the same from every process, and unharmed by a restart."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain.conversions import AttemptState, State
from converter.ledger.tables import attempts, conversions, quotes


def _count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def read_statistics(connection: Connection) -> dict[str, Any]:
    """`services`: per id quotes, failures, times and attempts; `states`: conversions per state; `failovers`."""
    services: dict[str, dict[str, Any]] = {}
    quote_counts = sa.select(
        quotes.c.service_id,
        sa.func.count().label("quotes"),
        _count_if(quotes.c.failed).label("quote_failures"),
        sa.func.sum(quotes.c.elapsed_ms).label("elapsed_ms"),
        sa.func.max(sa.case((quotes.c.failed, quotes.c.asked_at))).label("last_failure"),
    ).group_by(quotes.c.service_id)
    for counts in connection.execute(quote_counts).mappings():
        services[counts["service_id"]] = {**counts, "attempts": 0, "executions": 0, "refused": 0}
    executed = attempts.c.state.in_((AttemptState.EXECUTED, AttemptState.SETTLED, AttemptState.REFUNDED))
    attempt_counts = sa.select(
        attempts.c.service_id,
        sa.func.count().label("attempts"),
        _count_if(executed).label("executions"),
        _count_if(attempts.c.state == AttemptState.NOT_EXECUTED).label("refused"),
        sa.func.max(sa.case((attempts.c.state == AttemptState.NOT_EXECUTED, attempts.c.updated_at))).label("last"),
    ).group_by(attempts.c.service_id)
    for row in connection.execute(attempt_counts):
        known = services.setdefault(
            row.service_id, {"quotes": 0, "quote_failures": 0, "elapsed_ms": 0, "last_failure": None}
        )
        known.update(attempts=row.attempts, executions=row.executions, refused=row.refused)
        moments = [moment for moment in (known["last_failure"], row.last) if moment is not None]
        known["last_failure"] = max(moments, default=None)
    states = connection.execute(
        sa.select(conversions.c.state, sa.func.count().label("number")).group_by(conversions.c.state)
    )
    failovers = connection.execute(sa.select(sa.func.sum(conversions.c.failovers))).scalar()
    return {
        "services": services,
        "states": {row.state: row.number for row in states},
        "failovers": int(failovers or 0),
    }


def count_state(connection: Connection, state: State, at_most: int) -> int:
    """How many conversions are in a state, read from the index alone; no more are counted than `at_most`."""
    some = sa.select(conversions.c.id).where(conversions.c.state == state).limit(at_most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
