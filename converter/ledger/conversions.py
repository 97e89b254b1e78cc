"""Conversions: inserted once, claimed by one owner at a time, changed only under the owner's fence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.coins import asset
from converter.domain.conversions import (
    ID_LENGTH,
    TERMINAL,
    Conversion,
    ConversionRequest,
    Sought,
    State,
    check_transition,
)
from converter.domain.errors import ClaimLost, ConversionNotFound, IdempotencyConflict
from converter.ledger.lookups import find_conversion
from converter.ledger.tables import conversions, idempotency_keys


def _conversion(row: Row[Any]) -> Conversion:
    """A row as the domain knows it."""
    request = ConversionRequest(
        from_asset=asset(row.from_coin, row.from_network),
        to_asset=asset(row.to_coin, row.to_network),
        amount=row.amount,
        address=row.address,
        idempotency_key=row.idempotency_key,
        policy=row.policy,
    )
    kept = {name: getattr(row, name) for name in Conversion.__dataclass_fields__ if name not in ("request", "state")}
    return Conversion(request=request, state=State(row.state), **kept)


def _conditions(sought: Sought) -> list[sa.ColumnElement[bool]]:
    """What is looked for. A prefix is a range, which the key's own index finds: all our ids have one length, and end
    in digits and capital letters."""
    table, prefix = conversions.c, sought.id_prefix
    wanted = (
        (table.service_id, sought.service_id),
        (table.from_coin, sought.from_coin),
        (table.to_coin, sought.to_coin),
        (table.address, sought.address),
    )
    found: list[sa.ColumnElement[bool]] = [column == value for column, value in wanted if value]
    if prefix:
        found.append(table.id.between(prefix.ljust(ID_LENGTH, "0"), prefix.ljust(ID_LENGTH, "Z")))
    return found


class SqlConversions:
    """The `Conversions` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def add(self, conversion_id: str, request: ConversionRequest, due_at: datetime) -> Conversion:
        """Insert, or return the one that has this idempotency key. Raises IdempotencyConflict."""
        known = self.known(request)
        if known is not None:
            return known
        try:
            with self._connection.begin_nested():
                self._insert(conversion_id, request, due_at)
        except sa.exc.IntegrityError:
            # Another transaction with the same idempotency key committed between our look and our insert.
            known = self.known(request)
            if known is None:
                raise
            return known
        return self.get(conversion_id)

    def _insert(self, conversion_id: str, request: ConversionRequest, due_at: datetime) -> None:
        now = self._now()
        self._connection.execute(
            sa.insert(conversions).values(
                id=conversion_id,
                state=State.RECEIVED,
                from_coin=request.from_asset.coin,
                from_network=request.from_asset.network,
                to_coin=request.to_asset.coin,
                to_network=request.to_asset.network,
                amount=request.amount,
                address=request.address,
                idempotency_key=request.idempotency_key,
                policy=request.policy,
                round=0,
                fence=0,
                failovers=0,
                txid="",
                reason="",
                due_at=due_at,
                created_at=now,
                updated_at=now,
                since=now,
            )
        )
        if request.idempotency_key is not None:
            self._connection.execute(
                sa.insert(idempotency_keys).values(
                    key=request.idempotency_key,
                    content_hash=request.content_hash(),
                    conversion_id=conversion_id,
                    created_at=now,
                )
            )

    def known(self, request: ConversionRequest) -> Conversion | None:
        """The one that has this idempotency key, None when there is none. Raises IdempotencyConflict."""
        if request.idempotency_key is None:
            return None
        row = self._connection.execute(
            sa.select(idempotency_keys).where(idempotency_keys.c.key == request.idempotency_key)
        ).one_or_none()
        if row is None:
            return None
        if row.content_hash != request.content_hash():
            raise IdempotencyConflict(row.conversion_id)
        return self.get(row.conversion_id)

    def get(self, conversion_id: str) -> Conversion:
        """Raises ConversionNotFound."""
        row = self._connection.execute(sa.select(conversions).where(conversions.c.id == conversion_id)).one_or_none()
        if row is None:
            raise ConversionNotFound(conversion_id)
        return _conversion(row)

    def page(
        self, *, states: Sequence[State] = (), limit: int = 50, before: str | None = None, sought: Sought | None = None
    ) -> list[Conversion]:
        """Newest first; ids are ordered by time."""
        query = sa.select(conversions).order_by(conversions.c.id.desc()).limit(limit)
        query = query.where(*_conditions(sought or Sought()))
        if states:
            query = query.where(conversions.c.state.in_(states))
        if before is not None:
            query = query.where(conversions.c.id < before)
        return [_conversion(row) for row in self._connection.execute(query)]

    def claim(self, conversion_id: str, owner: str, lease: timedelta, states: Sequence[State]) -> Conversion | None:
        """Take it: owner, fence + 1, lease, only if free and in one of these states."""
        now = self._now()
        table = conversions.c
        row = self._connection.execute(
            sa.update(conversions)
            .where(
                table.id == conversion_id,
                table.state.in_(states),
                sa.or_(table.lease_until.is_(None), table.lease_until < now),
            )
            .values(owner=owner, fence=table.fence + 1, lease_until=now + lease, updated_at=now)
            .returning(*conversions.c)
        ).one_or_none()
        return None if row is None else _conversion(row)

    def hold(self, conversion: Conversion, lease: timedelta) -> None:
        """Prolong a lease that still holds. Raises ClaimLost."""
        now = self._now()
        table = conversions.c
        self._only_one(
            sa.update(conversions)
            .where(table.id == conversion.id, table.fence == conversion.fence, table.lease_until > now)
            .values(lease_until=now + lease)
        )

    def move(self, conversion: Conversion, to_state: State, *, release: bool = True, **changes: Any) -> Conversion:
        """Change state under our fence. Raises ClaimLost, IllegalTransition."""
        check_transition(conversion.id, conversion.state, to_state)
        now = self._now()
        values: dict[str, Any] = {"state": to_state, "updated_at": now, **changes}
        if to_state is not conversion.state:
            values["since"] = now
        if to_state in TERMINAL:
            values.update(due_at=None, completed_at=now)
        if release or to_state in TERMINAL:
            values.update(owner=None, lease_until=None)
        table = conversions.c
        self._only_one(
            sa.update(conversions)
            .where(table.id == conversion.id, table.fence == conversion.fence, table.state == conversion.state)
            .values(**values)
        )
        return self.get(conversion.id)

    def _only_one(self, statement: sa.Update) -> None:
        if self._connection.execute(statement).rowcount != 1:
            raise ClaimLost("the conversion has another owner now")

    def find(self, service_id: str, order_id: str, reference: str) -> str | None:
        """The unfinished conversion with an attempt of this key or, failing that, of this order id at the service."""
        return find_conversion(self._connection, service_id, order_id, reference)

    def due(self, limit: int) -> list[Conversion]:
        """Those whose due time has come and that nobody holds, oldest first; not those that another transaction has
        in hand, where the database can tell (two sweeps at once would wait for each other, or deadlock)."""
        now = self._now()
        table = conversions.c
        query = (
            sa.select(conversions)
            .where(table.due_at <= now, sa.or_(table.lease_until.is_(None), table.lease_until < now))
            .order_by(table.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return [_conversion(row) for row in self._connection.execute(query)]

    def postpone(self, conversion: Conversion, due_at: datetime) -> bool:
        """Move the due time, if it is still the one that we saw."""
        table = conversions.c
        changed = self._connection.execute(
            sa.update(conversions)
            .where(table.id == conversion.id, table.due_at == conversion.due_at, table.fence == conversion.fence)
            .values(due_at=due_at)
        )
        return changed.rowcount == 1
