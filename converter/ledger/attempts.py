"""Attempts and their operations. Every change is a compare-and-set under the conversion's fence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.conversions import (
    Attempt,
    AttemptState,
    Conversion,
    Operation,
    OperationState,
    check_transition,
)
from converter.domain.errors import ClaimLost
from converter.domain.orders import OperationKind
from converter.ledger.tables import attempts, conversions, operations


def attempt_of(row: Row[Any]) -> Attempt:
    """A row of attempts as the domain knows it."""
    kept = {name: getattr(row, name) for name in Attempt.__dataclass_fields__ if name != "state"}
    return Attempt(state=AttemptState(row.state), **kept)


def operation_of(row: Row[Any]) -> Operation:
    """A row of operations as the domain knows it."""
    kept = {name: getattr(row, name) for name in Operation.__dataclass_fields__ if name not in ("state", "kind")}
    return Operation(state=OperationState(row.state), kind=OperationKind(row.kind), **kept)


def _columns(thing: Attempt | Operation) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in type(thing).__dataclass_fields__ if name != "id"}


class SqlAttempts:
    """The `Attempts` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def prepare(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> tuple[Attempt, Operation]:
        """Insert an attempt with its order operation, counted as sent once. The one-open index bars a second."""
        self._check_fence(conversion, lease=True)
        try:
            key = self._connection.execute(sa.insert(attempts).values(**_columns(attempt))).inserted_primary_key
        except sa.exc.IntegrityError as error:
            raise ClaimLost(f"{conversion.id} has an open attempt already") from error
        stored = replace(attempt, id=int(key[0]) if key else 0)
        return stored, self._insert(replace(operation, attempt_id=stored.id))

    def prepare_step(self, conversion: Conversion, operation: Operation) -> Operation:
        """Insert the next operation of an open attempt, counted as sent once."""
        self._check_fence(conversion, lease=True)
        try:
            return self._insert(operation)
        except sa.exc.IntegrityError as error:
            raise ClaimLost(f"{operation.key}: this step is open or executed already") from error

    def _insert(self, operation: Operation) -> Operation:
        key = self._connection.execute(sa.insert(operations).values(**_columns(operation))).inserted_primary_key
        return replace(operation, id=int(key[0]) if key else 0)

    def _check_fence(self, conversion: Conversion, *, lease: bool) -> None:
        """Our fence, inside this transaction; with `lease`, also a lease that still holds by the ledger's clock.

        What will be sent needs the lease. What is already known may be recorded after it, as long as nobody else has
        claimed. The row is touched, not only read: on PostgreSQL that serialises us with another owner's claim.
        """
        table = conversions.c
        ours = sa.and_(table.id == conversion.id, table.fence == conversion.fence)
        if lease:
            ours = sa.and_(ours, table.lease_until > self._now())
        held = self._connection.execute(sa.update(conversions).where(ours).values(updated_at=self._now()))
        if held.rowcount != 1:
            raise ClaimLost("the conversion has another owner now")

    def of(self, conversion_id: str) -> list[Attempt]:
        """Attempts of a conversion, first to last."""
        query = sa.select(attempts).where(attempts.c.conversion_id == conversion_id).order_by(attempts.c.number)
        return [attempt_of(row) for row in self._connection.execute(query)]

    def of_refund(self, txid: str) -> Attempt | None:
        """The attempt whose deposit came back in this transaction."""
        row = self._connection.execute(sa.select(attempts).where(attempts.c.refund_txid == txid)).one_or_none()
        return None if row is None else attempt_of(row)

    def operations(self, attempt_id: int) -> list[Operation]:
        """Operations of an attempt, first to last."""
        query = sa.select(operations).where(operations.c.attempt_id == attempt_id).order_by(operations.c.sequence)
        return [operation_of(row) for row in self._connection.execute(query)]

    def record(self, conversion: Conversion, operation: Operation, state: OperationState, error: str = "") -> None:
        """PREPARED -> EXECUTED | NOT_EXECUTED under our fence; the latter only by the absences we know of. Raises
        ClaimLost."""
        self._check_fence(conversion, lease=False)
        row = operations.c
        known = [row.id == operation.id, row.state == OperationState.PREPARED]
        if state is OperationState.NOT_EXECUTED:
            known.append(row.absences == operation.absences)
        changed = self._connection.execute(
            sa.update(operations)
            .where(*known)
            .values(state=state, error=error or operations.c.error, updated_at=self._now())
        )
        if changed.rowcount != 1:
            raise ClaimLost("the operation was settled by another owner")

    def record_unsent(self, operation: Operation, error: str) -> bool:
        """PREPARED -> NOT_EXECUTED under the operation's own fence, while it was counted as sent once."""
        row, ours = operations.c, (operations.c.id == operation.id, operations.c.fence == operation.fence)
        changed = self._connection.execute(
            sa.update(operations)
            .where(*ours, row.state == OperationState.PREPARED, row.sends == 1)
            .values(state=OperationState.NOT_EXECUTED, error=error, updated_at=self._now())
        )
        return changed.rowcount == 1

    def note(self, operation: Operation, error: str, *, absences: int = 0) -> None:
        """Keep the text of an error and the count of absences of what is still PREPARED; changes no state."""
        self._connection.execute(
            sa.update(operations)
            .where(operations.c.id == operation.id, operations.c.state == OperationState.PREPARED)
            .values(error=error, absences=absences, updated_at=self._now())
        )

    def count_send(self, conversion: Conversion, operation: Operation, send_before: datetime) -> Operation:
        """Count another send of the same bytes before it leaves. Raises ClaimLost."""
        self._check_fence(conversion, lease=True)
        row = self._connection.execute(
            sa.update(operations)
            .where(operations.c.id == operation.id, operations.c.state == OperationState.PREPARED)
            .values(sends=operations.c.sends + 1, send_before=send_before, fence=conversion.fence)
            .returning(*operations.c)
        ).one_or_none()
        if row is None:
            raise ClaimLost("the operation was settled by another owner")
        return operation_of(row)

    def move(self, conversion: Conversion, attempt: Attempt, to_state: AttemptState, **changes: Any) -> Attempt:
        """Change an attempt under our fence. Raises ClaimLost, IllegalTransition."""
        self._check_fence(conversion, lease=False)
        if to_state is not attempt.state:
            check_transition(attempt.key, attempt.state, to_state)
        row = self._connection.execute(
            sa.update(attempts)
            .where(attempts.c.id == attempt.id, attempts.c.state == attempt.state)
            .values(state=to_state, updated_at=self._now(), **changes)
            .returning(*attempts.c)
        ).one_or_none()
        if row is None:
            raise ClaimLost("the attempt was changed by another owner")
        return attempt_of(row)
