"""Attempts, operations and transfers in memory. Every change is a compare-and-set under the conversion's fence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from converter.domain.conversions import (
    OPEN_ATTEMPT,
    Attempt,
    AttemptState,
    Conversion,
    Operation,
    OperationState,
    check_transition,
)
from converter.domain.errors import ClaimLost
from converter.domain.transfers import Transfer
from tests.memory_ledger.store import Guard, Store, altered, money, note, utc


class MemoryAttempts:
    """The `Attempts` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prepare(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> tuple[Attempt, Operation]:
        self._check_fence(conversion, lease=True)
        try:
            stored = self._insert_attempt(attempt)
        except sa.exc.IntegrityError as error:
            raise ClaimLost(f"{conversion.id} has an open attempt already") from error
        return stored, self._insert(replace(operation, attempt_id=stored.id))

    def prepare_step(self, conversion: Conversion, operation: Operation) -> Operation:
        self._check_fence(conversion, lease=True)
        try:
            return self._insert(operation)
        except sa.exc.IntegrityError as error:
            raise ClaimLost(f"{operation.key}: this step is open or executed already") from error

    def of(self, conversion_id: str) -> list[Attempt]:
        found = [self._store.attempts[one] for one in self._store.attempts_of.get(conversion_id, ())]
        return sorted(found, key=lambda one: one.number) if len(found) > 1 else found

    def of_refund(self, txid: str) -> Attempt | None:
        found = self._store.refunds.get(txid)
        return None if found is None else self._store.attempts[found]

    def operations(self, attempt_id: int) -> list[Operation]:
        found = [self._store.operations[one] for one in self._store.operations_of.get(attempt_id, ())]
        return sorted(found, key=lambda one: one.sequence) if len(found) > 1 else found

    def record(self, conversion: Conversion, operation: Operation, state: OperationState, error: str = "") -> None:
        self._check_fence(conversion, lease=False)
        kept = self._prepared(operation)
        moved = state is OperationState.NOT_EXECUTED and kept.absences != operation.absences
        if self._store.bars(Guard.ABSENCES, violated=moved):
            raise ClaimLost("the operation was seen by another owner")
        changes = {"state": state, "error": note(error) or kept.error, "updated_at": self._store.now()}
        self._put(altered(kept, **changes))

    def record_unsent(self, operation: Operation, error: str) -> bool:
        store, kept = self._store, self._store.operations.get(operation.id)
        if kept is None or store.bars(Guard.FENCE, violated=kept.fence != operation.fence):
            return False
        if store.bars(Guard.STATE, violated=kept.state is not OperationState.PREPARED or kept.sends != 1):
            return False
        self._put(altered(kept, state=OperationState.NOT_EXECUTED, error=note(error), updated_at=store.now()))
        return True

    def note(self, operation: Operation, error: str, *, absences: int = 0) -> None:
        kept = self._store.operations.get(operation.id)
        if kept is not None and kept.state is OperationState.PREPARED:
            self._put(altered(kept, error=note(error), absences=absences, updated_at=self._store.now()))

    def count_send(self, conversion: Conversion, operation: Operation, send_before: datetime) -> Operation:
        self._check_fence(conversion, lease=True)
        kept = self._prepared(operation)
        counted = altered(kept, send_before=utc(send_before))
        if Guard.COUNTED_SENDS in self._store.guards:
            counted = altered(counted, sends=kept.sends + 1, fence=conversion.fence)
        self._put(counted)
        return counted

    def move(self, conversion: Conversion, attempt: Attempt, to_state: AttemptState, **changes: Any) -> Attempt:
        self._check_fence(conversion, lease=False)
        if to_state is not attempt.state and Guard.TRANSITIONS in self._store.guards:
            check_transition(attempt.key, attempt.state, to_state)
        kept = self._store.attempts.get(attempt.id)
        if kept is None or self._store.bars(Guard.STATE, violated=kept.state is not attempt.state):
            raise ClaimLost("the attempt was changed by another owner")
        moved = altered(kept, state=to_state, updated_at=self._store.now(), **changes)
        return self._put_attempt(kept, _stored(moved))

    # Rows

    def _check_fence(self, conversion: Conversion, *, lease: bool) -> None:
        """Our fence, inside this transaction; with `lease`, also a lease that still holds by the ledger's clock."""
        store, kept, now = self._store, self._store.conversions.get(conversion.id), self._store.now()
        if kept is None or store.bars(Guard.FENCE, violated=kept.fence != conversion.fence):
            raise ClaimLost("the conversion has another owner now")
        lapsed = kept.lease_until is None or kept.lease_until <= now
        if lease and store.bars(Guard.LEASE, violated=lapsed):
            raise ClaimLost("the conversion has another owner now")
        store.put_conversion(kept, altered(kept, updated_at=now))

    def _prepared(self, operation: Operation) -> Operation:
        """The row, while its outcome is not recorded."""
        kept = self._store.operations.get(operation.id)
        if kept is None or self._store.bars(Guard.STATE, violated=kept.state is not OperationState.PREPARED):
            raise ClaimLost("the operation was settled by another owner")
        return kept

    def _insert_attempt(self, attempt: Attempt) -> Attempt:
        store = self._store
        store.known(store.conversions, attempt.conversion_id)
        others = [store.attempts[one] for one in store.attempts_of.get(attempt.conversion_id, ())]
        store.unique(Guard.ATTEMPT_KEY, taken=attempt.key in store.attempt_keys)
        store.unique(Guard.ATTEMPT_NUMBER, taken=any(one.number == attempt.number for one in others))
        return self._put_attempt(None, _stored(altered(attempt, id=len(store.attempts) + 1)))

    def _put_attempt(self, before: Attempt | None, after: Attempt) -> Attempt:
        store, txid = self._store, after.refund_txid
        if after.state in OPEN_ATTEMPT:
            others = (store.attempts[one] for one in store.attempts_of.get(after.conversion_id, ()) if one != after.id)
            store.unique(Guard.ONE_OPEN_ATTEMPT, taken=any(one.state in OPEN_ATTEMPT for one in others))
        if txid is not None:
            store.unique(Guard.ONE_ATTEMPT_PER_REFUND, taken=store.refunds.get(txid, after.id) != after.id)
        store.put_attempt(before, after)
        return after

    def _insert(self, operation: Operation) -> Operation:
        store = self._store
        store.known(store.attempts, operation.attempt_id)
        others = [store.operations[one] for one in store.operations_of.get(operation.attempt_id, ())]
        store.unique(Guard.OPERATION_KEY, taken=operation.key in store.operation_keys)
        store.unique(Guard.OPERATION_SEQUENCE, taken=any(one.sequence == operation.sequence for one in others))
        taken = any(one.kind is operation.kind and one.state is not OperationState.NOT_EXECUTED for one in others)
        here = operation.state is not OperationState.NOT_EXECUTED
        store.unique(Guard.ONE_OPERATION_PER_STEP, taken=here and taken)
        stored = altered(
            operation,
            id=len(store.operations) + 1,
            send_before=utc(operation.send_before),
            created_at=utc(operation.created_at),
            updated_at=utc(operation.updated_at),
            error=note(operation.error),
        )
        store.put(store.operations_of, operation.attempt_id, (*(one.id for one in others), stored.id))
        store.put(store.operation_keys, operation.key, stored.id)
        self._put(stored)
        return stored

    def _put(self, operation: Operation) -> None:
        self._store.put(self._store.operations, operation.id, operation)


def _stored(attempt: Attempt) -> Attempt:
    """As a database gives it back."""
    return altered(
        attempt,
        promised=money(attempt.promised),
        minimum_net=money(attempt.minimum_net),
        deposit_amount=money(attempt.deposit_amount),
        deposit_valid_until=utc(attempt.deposit_valid_until),
        created_at=utc(attempt.created_at),
        updated_at=utc(attempt.updated_at),
        error=note(attempt.error),
    )


class MemoryTransfers:
    """The `Transfers` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, operation: Operation, place: tuple[str, str, int], sign: Callable[[int], Transfer]) -> Transfer:
        store, (chain, account, floor) = self._store, place
        highest = store.nonces.get((chain, account))
        transfer = sign(floor if highest is None else max(floor, highest + 1))
        signed_by, nonce = (transfer.chain, transfer.account), transfer.nonce
        store.unique(Guard.ONE_TRANSFER_PER_NONCE, taken=(*signed_by, nonce) in store.taken_nonces)
        self._insert(operation, transfer)
        store.put(store.taken_nonces, (*signed_by, nonce), operation.id)
        store.put(store.nonces, signed_by, max(nonce, store.nonces.get(signed_by, nonce)))
        return transfer

    def report(self, operation: Operation, transfer: Transfer) -> None:
        self._insert(operation, replace(transfer, nonce=-1))

    def of(self, operation: Operation) -> Transfer | None:
        return self._store.transfers.get(operation.id)

    def in_doubt_before(self, transfer: Transfer, limit: int) -> list[Transfer]:
        store, account = self._store, (transfer.chain, transfer.account)
        found = []
        for nonce in range(transfer.nonce - 1, max(-1, transfer.nonce - 51), -1):
            taken = store.taken_nonces.get((*account, nonce))
            if taken is None:
                break
            if store.operations[taken].state is OperationState.PREPARED:
                found.append(store.transfers[taken])
        return found[::-1][:limit]

    def _insert(self, operation: Operation, transfer: Transfer) -> None:
        store, named = self._store, (transfer.chain, transfer.txid)
        store.known(store.operations, operation.id)
        store.unique(Guard.ONE_TRANSFER_PER_OPERATION, taken=operation.id in store.transfers)
        store.unique(Guard.ONE_OPERATION_PER_TRANSACTION, taken=named in store.txids)
        amount = money(transfer.amount)
        assert amount is not None
        store.put(store.transfers, operation.id, replace(transfer, amount=amount))
        store.put(store.txids, named, operation.id)
