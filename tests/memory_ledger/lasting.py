"""What lasts beside the money, in memory: events, conditions, explain records, kept rates and health checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from converter.domain.conditions import Condition
from converter.domain.events import Event
from converter.domain.explaining import Round
from converter.domain.health import Check
from tests.memory_ledger.store import Store, altered, note, utc, violation


class MemoryOutbox:
    """The `Outbox` port. Payloads are kept as JSON, so one that is none breaks here as it would in the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, event: Event) -> None:
        store = self._store
        kept = Event(event.name, {}, event.conversion_id, len(store.events) + 1, store.now())
        store.push(store.events, (kept, json.dumps(event.payload)))

    def after(self, sequence: int, limit: int = 100) -> list[Event]:
        start = max(0, sequence)
        return [replace(kept, payload=json.loads(text)) for kept, text in self._store.events[start : start + limit]]

    def last(self) -> int:
        return len(self._store.events)


class MemoryConditions:
    """The `Conditions` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def enter(self, name: str, state: str, *, normal: str, detail: str = "") -> bool:
        store, now = self._store, self._store.now()
        kept = store.conditions.get(name) or Condition(name, normal, now, now)
        if kept.state == state:
            store.put(store.conditions, name, altered(kept, seen_at=now))
            return False
        store.put(store.conditions, name, Condition(name, state, now, now, note(detail)))
        return True

    def restart(self, name: str) -> None:
        store, now = self._store, self._store.now()
        if name in store.conditions:
            store.put(store.conditions, name, altered(store.conditions[name], since=now, seen_at=now))

    def get(self, name: str) -> Condition | None:
        return self._store.conditions.get(name)

    def of(self, prefix: str) -> dict[str, Condition]:
        return {name: kept for name, kept in self._store.conditions.items() if name.startswith(prefix)}


class MemoryRounds:
    """The `Rounds` port. Read back as plain JSON, once decoded."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, conversion_id: str, number: int, seats: Sequence[Mapping[str, Any]]) -> None:
        store, place = self._store, (conversion_id, number)
        store.known(store.conversions, conversion_id)
        if place in store.rounds:
            raise violation("rounds")
        kept = json.loads(json.dumps([dict(seat) for seat in seats]))
        store.put(store.rounds, place, Round(conversion_id, number, store.now(), kept, {}, None))
        store.put(store.rounds_of, conversion_id, (*store.rounds_of.get(conversion_id, ()), number))

    def judge(self, conversion_id: str, number: int, judgement: Mapping[str, Any]) -> None:
        store, kept = self._store, self.get(conversion_id, number)
        if kept is not None:
            told = json.loads(json.dumps(dict(judgement)))
            judged = replace(kept, judgement=told, judged_at=store.now())
            store.put(store.rounds, (conversion_id, number), judged)

    def of(self, conversion_id: str) -> list[Round]:
        numbers = sorted(self._store.rounds_of.get(conversion_id, ()))
        return [self._store.rounds[conversion_id, number] for number in numbers]

    def get(self, conversion_id: str, number: int) -> Round | None:
        return self._store.rounds.get((conversion_id, number))


class MemoryMemory:
    """The `Memory` port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep_rates(self, rows: Sequence[tuple[str, str, datetime]]) -> None:
        for name, state, changed_at in rows:
            self._store.put(self._store.kept_rates, name, (name, state, utc(changed_at)))

    def rates(self) -> list[tuple[str, str, datetime]]:
        return list(self._store.kept_rates.values())

    def checked(self, service_id: str, check: Check) -> Check:
        before = self._store.checks.get(service_id)
        misses = 0 if check.ok else 1 + (before.misses if before is not None else 0)
        kept = replace(check, misses=misses)
        self._store.put(self._store.checks, service_id, replace(kept, error=note(kept.error)))
        return kept

    def checks(self) -> dict[str, Check]:
        return dict(self._store.checks)
