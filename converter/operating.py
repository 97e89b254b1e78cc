"""An operator's word on services and rates. Written to the ledger first: a loss of Redis takes none of it back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial

from converter.bulletin import tell_recovery
from converter.domain import conditions
from converter.domain.anomalies import PairState
from converter.domain.breakers import BreakerState
from converter.domain.errors import InvalidRequest
from converter.domain.quarantine import lift
from converter.ports import Breaker, Ledger, RateMemory
from converter.selecting import tell_standing

Breakers = Mapping[str, Mapping[str, Breaker]]
"""By service, then by operation: `quote`, `execute`."""


class Operating:
    """Recover, isolate and release services; open the emergency tier; confirm a held rate."""

    def __init__(self, ledger: Ledger, breakers: Breakers, rates: RateMemory) -> None:
        self._ledger = ledger
        self._breakers = breakers
        self._rates = rates

    def recover(self, service_id: str) -> None:
        """Close its breakers and end its quarantine now. An isolated one stays isolated. Raises InvalidRequest.

        While Redis is away nothing is told, for nothing is changed for the others.
        """
        for breaker in self._of(service_id).values():
            breaker.move(BreakerState.CLOSED)
        change = self._rates.note(service_id, partial(lift, now=self._ledger.now()), self._ledger.now())
        seen = {operation: breaker.snapshot() for operation, breaker in self._breakers[service_id].items()}
        closed = {operation: one for operation, one in seen.items() if one.shared and one.state is BreakerState.CLOSED}
        with self._ledger.begin() as work:
            for operation, snapshot in closed.items():
                tell_recovery(work, service_id, operation, snapshot)
            tell_standing(work, service_id, change.standing)

    def isolate(self, service_id: str) -> None:
        """Take it out until `release`: nothing new goes there, what is under way is settled. Raises InvalidRequest."""
        breakers = self._of(service_id)
        with self._ledger.begin() as work:
            work.conditions.enter(conditions.isolation_of(service_id), conditions.ON, normal=conditions.OFF)
        for breaker in breakers.values():
            breaker.move(BreakerState.FORCED_OPEN)

    def release(self, service_id: str) -> None:
        """End an isolation; its breakers begin closed. Raises InvalidRequest."""
        breakers = self._of(service_id)
        with self._ledger.begin() as work:
            work.conditions.enter(conditions.isolation_of(service_id), conditions.OFF, normal=conditions.OFF)
        for breaker in breakers.values():
            breaker.release()

    def emergency(self, *, on: bool) -> None:
        """Let conversions use the emergency tier whatever the others do, or only by its rule again."""
        state = conditions.ON if on else conditions.OFF
        with self._ledger.begin() as work:
            work.conditions.enter(conditions.EMERGENCY, state, normal=conditions.OFF)

    def confirm(self, pair: str, rate: Decimal | None) -> PairState:
        """The market is at `rate` (to_coin for one from_coin), or where the held quotes say when None: ends a hold.

        Raises InvalidRequest when nothing is held and no rate is named.
        """
        if rate is None and self._rates.pair(pair).hold is None:
            raise InvalidRequest("pair", f"{pair[:60]} is not held", "a held pair, or a rate with it")
        state = self._rates.confirm(pair, rate, self._ledger.now())
        with self._ledger.begin() as work:
            work.conditions.enter(conditions.hold_of(pair), conditions.OFF, normal=conditions.OFF)
        return state

    def _of(self, service_id: str) -> Mapping[str, Breaker]:
        if service_id not in self._breakers:
            accepted = ", ".join(sorted(self._breakers))
            raise InvalidRequest("service", f"{service_id[:40]!r} is not enabled", f"one of {accepted}")
        return self._breakers[service_id]
