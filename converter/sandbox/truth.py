"""The outside world's own record of what it did: what tests and drills compare the ledger with."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

DELIVERY_FACTS = ("reference", "order_id", "from_coin", "from_amount", "to_coin", "amount", "address", "txid")


class TruthBook:
    """Deliveries and executions in the order in which they happened; see `twin.Truth`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._deliveries: list[dict[str, Any]] = []
        self._executions: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()

    def executed(self, service_id: str, operation: str, **facts: Any) -> None:
        """Note an operation that the service really performed; any JSON facts."""
        head = {"service_id": service_id, "operation": operation, "time": self._time()}
        with self._lock:
            self._executions.append(head | {name: _plain(fact) for name, fact in facts.items()})
            self._counts[service_id] += 1

    def delivered(self, service_id: str, **facts: Any) -> None:
        """Note coins that left for an address; facts not given are null, others than the known ones a TypeError."""
        if strange := facts.keys() - set(DELIVERY_FACTS):
            raise TypeError(f"unknown facts of a delivery: {sorted(strange)}; accepted: {', '.join(DELIVERY_FACTS)}")
        known = {name: _plain(facts.get(name)) for name in DELIVERY_FACTS}
        with self._lock:
            self._deliveries.append({"service_id": service_id} | known | {"time": self._time()})

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        """Copies of all deliveries; amounts are plain decimal strings."""
        with self._lock:
            return [dict(row) for row in self._deliveries]

    @property
    def executions(self) -> list[dict[str, Any]]:
        """Copies of all executed operations."""
        with self._lock:
            return [dict(row) for row in self._executions]

    def executed_by(self, service_id: str) -> int:
        """How many operations a service has performed."""
        with self._lock:
            return self._counts[service_id]

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(fact: Any) -> Any:
    return format(fact, "f") if isinstance(fact, Decimal) else fact
