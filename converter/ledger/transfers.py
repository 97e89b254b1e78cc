"""Signed payments of deposits: one per operation, and one per nonce of an account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.conversions import Operation, OperationState
from converter.domain.transfers import Transfer
from converter.ledger.tables import operations, transfers

_LOOK_BACK = 50
"""Nonces: what is in doubt is recent, and an account's payments are many."""


def _transfer(row: Row[Any]) -> Transfer:
    kept = {name: getattr(row, name) for name in Transfer.__dataclass_fields__}
    kept["nonce"] = -1 if row.nonce is None else row.nonce
    return Transfer(**kept)


class SqlTransfers:
    """The `Transfers` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def add(self, operation: Operation, place: tuple[str, str, int], sign: Callable[[int], Transfer]) -> Transfer:
        """Allocate the next nonce of (chain, account, floor), sign and store, in this transaction.

        The nonce is the count of an account's payments: two payments can never carry the same one, and a stored one
        is always broadcast in the end, so none is skipped. `sign` must be pure computation.
        """
        chain, account, floor = place
        self._lock(account)
        highest = self._connection.execute(
            sa.select(sa.func.max(transfers.c.nonce)).where(transfers.c.chain == chain, transfers.c.account == account)
        ).scalar()
        transfer = sign(floor if highest is None else max(floor, highest + 1))
        self._insert(operation, transfer, transfer.nonce)
        return transfer

    def report(self, operation: Operation, transfer: Transfer) -> None:
        """Store a payment that a person made."""
        self._insert(operation, transfer, None)

    def of(self, operation: Operation) -> Transfer | None:
        """The payment of an operation."""
        row = self._connection.execute(
            sa.select(transfers).where(transfers.c.operation_id == operation.id)
        ).one_or_none()
        return None if row is None else _transfer(row)

    def in_doubt_before(self, transfer: Transfer, limit: int) -> list[Transfer]:
        """Recent payments of the same account with lower nonces that are not known to be taken, the lowest first."""
        table = transfers.c
        query = (
            sa.select(transfers)
            .join(operations, operations.c.id == table.operation_id)
            .where(table.chain == transfer.chain, table.account == transfer.account, table.nonce < transfer.nonce)
            .where(table.nonce >= transfer.nonce - _LOOK_BACK, operations.c.state == OperationState.PREPARED)
            .order_by(table.nonce)
            .limit(limit)
        )
        return [_transfer(row) for row in self._connection.execute(query)]

    def _insert(self, operation: Operation, transfer: Transfer, nonce: int | None) -> None:
        self._connection.execute(
            sa.insert(transfers).values(
                operation_id=operation.id,
                chain=transfer.chain,
                account=transfer.account,
                nonce=nonce,
                raw=transfer.raw,
                txid=transfer.txid,
                address=transfer.address,
                amount=transfer.amount,
                created_at=self._now(),
            )
        )

    def _lock(self, account: str) -> None:
        """SQLite transactions are immediate, so alone; on PostgreSQL allocation per account is serialised."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(account))))
