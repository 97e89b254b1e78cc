"""Conversions in memory: inserted once, claimed by one owner at a time, changed only under the owner's fence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from converter.domain.conversions import TERMINAL, Conversion, ConversionRequest, Sought, State, check_transition
from converter.domain.errors import ClaimLost, ConversionNotFound, IdempotencyConflict
from tests.memory_ledger.store import Guard, Store, altered, money, note, utc, violation

_MONEY, _NOTES = ("promised", "delivered"), ("reason",)


class MemoryConversions:
    """The `Conversions` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, conversion_id: str, request: ConversionRequest, due_at: datetime) -> Conversion:
        store, key = self._store, request.idempotency_key
        known = self.known(request)
        if known is not None:
            return known
        if conversion_id in store.conversions:
            raise violation("conversions.id")
        now, amount = store.now(), money(request.amount)
        assert amount is not None
        conversion = Conversion(
            id=conversion_id,
            request=replace(request, amount=amount),
            state=State.RECEIVED,
            round=0,
            fence=0,
            owner=None,
            lease_until=None,
            due_at=utc(due_at),
            service_id=None,
            promised=None,
            delivered=None,
            txid="",
            reason="",
            failovers=0,
            created_at=now,
            updated_at=now,
            since=now,
            completed_at=None,
        )
        store.put_conversion(None, conversion)
        if key is not None:
            store.put(store.idempotency_keys, key, (conversion_id, request.content_hash()))
        return conversion

    def known(self, request: ConversionRequest) -> Conversion | None:
        store, key = self._store, request.idempotency_key
        known = store.idempotency_keys.get(key) if key is not None and Guard.IDEMPOTENCY in store.guards else None
        if known is None:
            return None
        if known[1] != request.content_hash():
            raise IdempotencyConflict(known[0])
        return self.get(known[0])

    def get(self, conversion_id: str) -> Conversion:
        conversion = self._store.conversions.get(conversion_id)
        if conversion is None:
            raise ConversionNotFound(conversion_id)
        return conversion

    def page(
        self, *, states: Sequence[State] = (), limit: int = 50, before: str | None = None, sought: Sought | None = None
    ) -> list[Conversion]:
        found = []
        for one in sorted(self._store.conversions, reverse=True):
            conversion = self._store.conversions[one]
            fits = (not states or conversion.state in states) and (before is None or one < before)
            if fits and _is_sought(conversion, sought or Sought()):
                found.append(conversion)
                if len(found) == limit:
                    break
        return found[:limit]

    def claim(self, conversion_id: str, owner: str, lease: timedelta, states: Sequence[State]) -> Conversion | None:
        store = self._store
        now, conversion = store.now(), store.conversions.get(conversion_id)
        if conversion is None or conversion.state not in states:
            return None
        if store.bars(Guard.CLAIM, violated=not _is_free(conversion, now)):
            return None
        claimed = altered(conversion, owner=owner, fence=conversion.fence + 1, lease_until=now + lease, updated_at=now)
        store.put_conversion(conversion, claimed)
        return claimed

    def hold(self, conversion: Conversion, lease: timedelta) -> None:
        now, kept = self._store.now(), self._ours(conversion)
        holds = kept.lease_until is not None and kept.lease_until > now
        if self._store.bars(Guard.LEASE, violated=not holds):
            raise _lost()
        self._store.put_conversion(kept, altered(kept, lease_until=now + lease))

    def move(self, conversion: Conversion, to_state: State, *, release: bool = True, **changes: Any) -> Conversion:
        store = self._store
        if Guard.TRANSITIONS in store.guards:
            check_transition(conversion.id, conversion.state, to_state)
        kept = self._ours(conversion)
        if store.bars(Guard.STATE, violated=kept.state is not conversion.state):
            raise _lost()
        now = store.now()
        values: dict[str, Any] = {"state": to_state, "updated_at": now, **_stored(changes)}
        if to_state is not conversion.state:
            values["since"] = now
        if to_state in TERMINAL:
            values.update(due_at=None, completed_at=now)
        if release or to_state in TERMINAL:
            values.update(owner=None, lease_until=None)
        moved = altered(kept, **values)
        store.put_conversion(kept, moved)
        return moved

    def find(self, service_id: str, order_id: str, reference: str) -> str | None:
        store = self._store
        by_key = [store.attempt_keys[reference]] if reference in store.attempt_keys and reference else []
        by_order = sorted(store.order_ids.get((service_id, order_id), ()), reverse=True) if order_id else []
        for attempt in (store.attempts[one] for one in (*by_key, *by_order)):
            if attempt.service_id == service_id and attempt.conversion_id in store.unfinished:
                return attempt.conversion_id
        return None

    def due(self, limit: int) -> list[Conversion]:
        now, found = self._store.now(), []
        for due_at, conversion_id in self._store.due.entries:
            if due_at > now or len(found) == limit:
                break
            conversion = self._store.conversions[conversion_id]
            if _is_free(conversion, now):
                found.append(conversion)
        return found

    def postpone(self, conversion: Conversion, due_at: datetime) -> bool:
        kept = self._store.conversions.get(conversion.id)
        if kept is None or kept.due_at != conversion.due_at or kept.fence != conversion.fence:
            return False
        self._store.put_conversion(kept, altered(kept, due_at=utc(due_at)))
        return True

    def _ours(self, conversion: Conversion) -> Conversion:
        """The row, if the fence is the one of the latest claim."""
        kept = self._store.conversions.get(conversion.id)
        if kept is None or self._store.bars(Guard.FENCE, violated=kept.fence != conversion.fence):
            raise _lost()
        return kept


def _is_sought(conversion: Conversion, sought: Sought) -> bool:
    request = conversion.request
    wanted = (
        (sought.service_id, conversion.service_id),
        (sought.from_coin, request.from_asset.coin),
        (sought.to_coin, request.to_asset.coin),
        (sought.address, request.address),
    )
    return conversion.id.startswith(sought.id_prefix) and all(not value or value == own for value, own in wanted)


def _is_free(conversion: Conversion, now: datetime) -> bool:
    return conversion.lease_until is None or conversion.lease_until < now


def _lost() -> ClaimLost:
    return ClaimLost("the conversion has another owner now")


def _stored(changes: dict[str, Any]) -> dict[str, Any]:
    """As a database gives it back."""
    stored = dict(changes)
    for name, value in changes.items():
        if name in _MONEY:
            stored[name] = money(value)
        elif name in _NOTES:
            stored[name] = note(value)
        elif isinstance(value, datetime):
            stored[name] = utc(value)
    return stored
