"""Postings in memory: added once, never changed. What must never be is looked for on SQL only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from converter.domain.breaches import Breach
from converter.domain.conversions import Attempt, Conversion
from converter.domain.postings import Posting, balances
from tests.memory_ledger.store import Guard, Store, money, violation


class MemoryBooks:
    """The `Books` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def post(self, postings: Sequence[Posting]) -> None:
        store = self._store
        for one in postings:
            store.known(store.conversions, one.conversion_id)
            store.known(store.attempts, one.attempt_id)
            place = (one.key, one.line)
            store.unique(Guard.ONE_POSTING, taken=place in store.posting_keys)
            if one.amount <= 0 or one.from_account == one.to_account:
                raise violation("a posting moves something somewhere")
            store.put(store.posting_keys, place, True)
            kept = replace(one, amount=money(one.amount) or one.amount, at=store.now())
            store.put(store.postings, one.attempt_id, (*store.postings.get(one.attempt_id, ()), kept))

    def of(self, attempt_id: int) -> list[Posting]:
        return list(self._store.postings.get(attempt_id, ()))

    def balances(self) -> dict[tuple[str, str], Decimal]:
        return balances([one for booked in self._store.postings.values() for one in booked])


class NoInspection:
    """The `Inspection` port for who must not need it: simulations compare with the services' own truth."""

    def breaches(self, invariant: str, since: datetime, secrets: Sequence[str] = ()) -> list[Breach]:
        raise NotImplementedError

    def owner(self, service_id: str, reference: str, order_id: str) -> tuple[Conversion, Attempt] | None:
        raise NotImplementedError
