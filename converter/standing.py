"""How each service stands: what its breakers, an operator and the judging of its rates say, and its last check."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from converter.domain import conditions
from converter.domain.breakers import BreakerState
from converter.domain.health import Check
from converter.domain.permits import Snapshot
from converter.domain.quarantine import Standing
from converter.operating import Breakers
from converter.ports import Ledger, RateMemory, Work

ISOLATED, QUARANTINED, UNKNOWN = "isolated", "quarantined", "unknown"


@dataclass(frozen=True)
class ServiceStanding:
    """`breakers` by operation. `isolated` by an operator's word. What could not be read makes the state unknown."""

    service_id: str
    breakers: Mapping[str, Snapshot]
    rates: Standing
    check: Check | None
    isolated: bool
    missing: tuple[str, ...] = ()
    """What did not answer: the ledger, Redis."""

    @property
    def state(self) -> str:
        """`closed`, `open`, `half-open`, `isolated`, `quarantined` or `unknown`: the worst that is true of it."""
        states = {one.state for one in self.breakers.values()}
        if self.isolated or BreakerState.FORCED_OPEN in states:
            return ISOLATED
        if self.missing:
            return UNKNOWN
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            if state in states:
                return str(state)
        return QUARANTINED if self.rates.is_quarantined else str(BreakerState.CLOSED)

    def detail(self, now: datetime) -> str:
        """What lies behind the state, in words; empty when there is nothing to say."""
        if self.state == ISOLATED:
            return "taken out by an operator"
        if self.missing:
            return f"{' and '.join(self.missing)} did not answer"
        told = [text for operation, one in self.breakers.items() if (text := _of_breaker(operation, one))]
        if self.rates.is_quarantined:
            told.append(f"rates: {_of_quarantine(self.rates, now)}")
        return "; ".join(told)


@dataclass(frozen=True)
class Known:
    """What the ledger knows of services: their latest checks, and the names of the isolations that are in force."""

    checks: Mapping[str, Check]
    isolations: Set[str]


def known(work: Work) -> Known:
    """What the ledger knows, for `standings_with`."""
    told = work.conditions.of(conditions.isolation_of(""))
    return Known(work.memory.checks(), {name for name, one in told.items() if one.state == conditions.ON})


def standings(ledger: Ledger | None, breakers: Breakers, rates: RateMemory) -> dict[str, ServiceStanding]:
    """How these services stand. Without a ledger, or without Redis, what is left is told and the state is unknown."""
    if ledger is None:
        return standings_with(None, breakers, rates)
    with ledger.begin() as work:
        told = known(work)
    return standings_with(told, breakers, rates)


def standings_with(told: Known | None, breakers: Breakers, rates: RateMemory) -> dict[str, ServiceStanding]:
    """The same, by what the ledger was found to know; Redis is asked outside of every transaction."""
    from_ledger = told or Known({}, frozenset())
    quarantines = rates.standings(list(breakers))
    found = {}
    for service_id, of_service in breakers.items():
        snapshots = {operation: breaker.snapshot() for operation, breaker in of_service.items()}
        answered = {"the ledger": told is not None, "Redis": all(one.shared for one in snapshots.values())}
        found[service_id] = ServiceStanding(
            service_id=service_id,
            breakers=snapshots,
            rates=quarantines[service_id],
            check=from_ledger.checks.get(service_id),
            isolated=conditions.isolation_of(service_id) in from_ledger.isolations,
            missing=tuple(name for name, came in answered.items() if not came),
        )
    return found


def _of_breaker(operation: str, snapshot: Snapshot) -> str:
    if snapshot.state is BreakerState.HALF_OPEN:
        return f"{operation}: being probed"
    if snapshot.state is BreakerState.OPEN:
        wait = snapshot.retry_after
        due = f"next probe in {_seconds(wait)} s" if wait is not None and wait > timedelta(0) else "a probe is due"
        return f"{operation}: {due}"
    return f"{operation}: {snapshot.failures} failures in a row" if snapshot.failures else ""


def _of_quarantine(standing: Standing, now: datetime) -> str:
    if standing.needs_operator:
        return "in quarantine, needs an operator"
    if standing.until is not None and standing.until > now:
        return f"in quarantine until {standing.until:%Y-%m-%d %H:%M:%S} UTC"
    return "in quarantine until its quotes are good again"


def _seconds(wait: timedelta) -> int:
    """Rounded up: nobody waits 0 s."""
    return -(-wait // timedelta(seconds=1))
