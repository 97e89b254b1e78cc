"""How much of the pool's money is under way at services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain.coins import asset
from converter.domain.conditions import pair_of
from converter.domain.conversions import OPEN_ATTEMPT, AttemptState, State
from converter.domain.exposure import UnderWay
from converter.ledger.tables import attempts, conversions, quotes

_LOCK = 7226083
_UNDER_WAY = tuple(state for state in OPEN_ATTEMPT if state is not AttemptState.SETTLED)
_DAY = timedelta(days=1)


class SqlExposure:
    """The `Exposure` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def under_way(self, *, serialised: bool) -> list[UnderWay]:
        """Open attempts, and those that were settled and began in the last 24 hours. SQLite serialises all writers."""
        if serialised and self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        here, asked = attempts.c, conversions.c
        is_open = here.state.in_(_UNDER_WAY)
        settled = sa.and_(here.state == AttemptState.SETTLED, here.created_at > self._now() - _DAY)
        wanted = (asked.from_coin, asked.from_network, asked.to_coin, asked.to_network, asked.amount)
        query = (
            sa.select(here.service_id, here.state, *wanted)
            .join(conversions, asked.id == here.conversion_id)
            .where(sa.or_(is_open, settled))
        )
        return [
            UnderWay(
                row.service_id,
                pair_of(asset(row.from_coin, row.from_network), asset(row.to_coin, row.to_network)),
                row.from_coin,
                row.amount,
                row.state in _UNDER_WAY,
            )
            for row in self._connection.execute(query)
        ]

    def candidates(self, service_id: str, from_coin: str, to_coin: str) -> list[tuple[str, Decimal]]:
        """(id, amount) of the conversions of these coins that may be attempted at the service now."""
        here, offer = conversions.c, quotes.c
        under_way = sa.exists().where(attempts.c.conversion_id == here.id, attempts.c.state.in_(OPEN_ATTEMPT))
        query = (
            sa.select(here.id, here.amount)
            .join(quotes, sa.and_(offer.conversion_id == here.id, offer.round == here.round))
            .where(here.state == State.EXECUTING, here.from_coin == from_coin, here.to_coin == to_coin)
            .where(offer.service_id == service_id, offer.rank.is_not(None), offer.expires_at > self._now())
            .where(sa.not_(under_way))
        )
        return [(row.id, row.amount) for row in self._connection.execute(query)]
