"""What an operator looks at first: how every service stands, what waits, and what changed service last.

HTTP, the page and the command line show the same, made here. The ledger is looked at first and in one view; Redis is
asked afterwards, outside of every transaction. Without Redis breakers are unknown and the rest is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from converter.domain import conditions
from converter.domain.breakers import BreakerState
from converter.domain.conversions import Conversion, State
from converter.domain.errors import InvalidRequest
from converter.domain.health import Check
from converter.domain.money import plain
from converter.domain.permits import Snapshot
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.failing_over import failover_facts
from converter.monitoring import service_counts
from converter.operating import Breakers
from converter.ports import Failover, RateMemory, ViewedLedger
from converter.ports.views import ViewWork
from converter.remembering import Remembering
from converter.standing import ISOLATED, QUARANTINED, UNKNOWN, Known, ServiceStanding, known, standings_with

SHARES_WITHIN = timedelta(hours=1)
LATENCIES = 60
"""Newest answers whose times are told."""
FAILOVERS = 8
"""Newest failovers in a snapshot."""

_MILLISECOND = timedelta(milliseconds=1)
_UNAVAILABLE = (str(BreakerState.OPEN), ISOLATED, QUARANTINED)
_COUNTED_SELDOM = 20.0
"""All quotes are counted: that answer is kept for so many times the time that it took."""


@dataclass(frozen=True)
class _Seen:
    """What one look at the ledger found."""

    at: datetime
    known: Known
    lasting: Mapping[str, conditions.Condition]
    counts: Mapping[str, Mapping[str, Any]]
    begun: Mapping[str, int]
    latencies: Mapping[str, list[int]]
    failures: Mapping[str, tuple[datetime, str] | None]


class Overview:
    """Shared by threads; one for a process."""

    def __init__(self, ledger: ViewedLedger, breakers: Breakers, rates: RateMemory, policy: RoutingPolicy) -> None:
        self._ledger = ledger
        self._breakers = breakers
        self._rates = rates
        self._policy = policy
        self._statistics: Remembering[dict[str, Any]] = Remembering(times=_COUNTED_SELDOM)

    def services(self) -> dict[str, Any]:
        """`services` by tier and weight, `emergency`, and the pairs that are `held`, as plain JSON."""
        with self._ledger.view() as work:
            seen = self._look(work)
        return self._told(seen)

    def service(self, service_id: str) -> dict[str, Any]:
        """The entry of one service now. Raises InvalidRequest that names the enabled ones."""
        found: dict[str, dict[str, Any]] = {one["id"]: one for one in self.services()["services"]}
        if service_id not in found:
            accepted = ", ".join(sorted(found))
            raise InvalidRequest("service", f"{service_id[:40]!r} is not enabled", f"one of {accepted}")
        return found[service_id]

    def snapshot(self) -> dict[str, Any]:
        """`services()` and beside it conversions by state, what waits longest, and the newest failovers.

        `missing` names what did not answer and is unknown therefore.
        """
        with self._ledger.view() as work:
            seen, states = self._look(work), work.views.states()
            waiting, unknown = work.views.oldest(State.WAITING), work.views.oldest(State.RECONCILING)
            changed: list[Failover] = work.views.failovers(FAILOVERS)
        told = self._told(seen)
        return {
            **told,
            "states": {str(state): states.get(state, 0) for state in State},
            "conversions": sum(states.values()),
            "needsReview": states.get(State.NEEDS_REVIEW, 0),
            "oldestWaiting": _standing_still(waiting),
            "oldestUnknown": _standing_still(unknown),
            "failovers": [failover_facts(one) for one in changed],
            "missing": [] if self.shared_answers() else ["Redis"],
        }

    def shared_answers(self) -> bool:
        """Whether Redis answers: what is changed there is changed for all."""
        first = next(iter(self._breakers.values()), None)
        return first is None or first["quote"].snapshot().shared

    def _look(self, work: ViewWork) -> _Seen:
        places = [one.service_id for one in self._policy.services]
        counts = self._statistics.get((), work.statistics)
        return _Seen(
            at=work.now(),
            known=known(work),
            lasting=work.conditions.of(""),
            counts=service_counts(work, self._policy, counts),
            begun=work.views.attempts_since(work.now() - SHARES_WITHIN),
            latencies={one: work.quotes.latencies(one, LATENCIES) for one in places},
            failures={one: work.views.last_failure(one) for one in places},
        )

    def _told(self, seen: _Seen) -> dict[str, Any]:
        standings = standings_with(seen.known, self._breakers, self._rates)
        places = sorted(self._policy.services, key=lambda one: (one.tier, -one.weight, one.service_id))
        word = seen.lasting.get(conditions.EMERGENCY)
        prefix = conditions.hold_of("")
        holds = [one for one in seen.lasting.values() if one.name.startswith(prefix) and one.state != conditions.OFF]
        return {
            "at": seen.at.isoformat(),
            "services": [
                _entry(place, seen, standings[place.service_id], self._share(place, seen)) for place in places
            ],
            "emergency": word is not None and word.state == conditions.ON,
            "held": sorted(one.name.removeprefix(prefix) for one in holds),
        }

    def _share(self, place: ServicePolicy, seen: _Seen) -> str | None:
        """The share of the attempts of its tier; None when there were none."""
        members = [one.service_id for one in self._policy.services if one.tier == place.tier]
        total = sum(seen.begun.get(one, 0) for one in members)
        if not total:
            return None
        return plain((Decimal(seen.begun.get(place.service_id, 0)) / total).quantize(Decimal("0.0001")))


def _entry(place: ServicePolicy, seen: _Seen, standing: ServiceStanding, share: str | None) -> dict[str, Any]:
    service_id, counts = place.service_id, seen.counts[place.service_id]
    rates = standing.rates
    return {
        "id": service_id,
        "tier": place.tier,
        "weight": plain(place.weight),
        "share": share,
        "state": standing.state,
        "detail": standing.detail(seen.at) or None,
        "breakers": {operation: _breaker(one) for operation, one in standing.breakers.items()},
        "isolated": standing.state == ISOLATED,
        "quarantined": rates.is_quarantined,
        "quarantinedUntil": rates.until.isoformat() if rates.until is not None else None,
        "check": None if standing.check is None else _check(standing.check),
        "successRate": counts["successRate"],
        "requests": counts["totalRequests"],
        "failures": counts["failures"],
        "latencies": seen.latencies[service_id][::-1],
        **{name: counts[name] if seen.latencies[service_id] else None for name in ("p50", "p95")},
        "lastFailure": _last_failure(seen.failures[service_id], standing.check),
        "available": counts["available"] and standing.state not in _UNAVAILABLE,
    }


def _breaker(snapshot: Snapshot) -> dict[str, Any]:
    """How a breaker stands for all; what only this process knows while Redis is away says nothing about the others."""
    if not snapshot.shared:
        return {"state": UNKNOWN, "failures": 0, "retryAfterMs": None, "until": None}
    wait = snapshot.retry_after
    return {
        "state": str(snapshot.state),
        "failures": snapshot.failures,
        "retryAfterMs": None if wait is None else wait // _MILLISECOND,
        "until": None if snapshot.until is None else snapshot.until.isoformat(),
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "at": check.at.isoformat(),
        "ok": check.ok,
        "ms": check.elapsed_ms,
        "error": check.error or None,
        "misses": check.misses,
    }


def _last_failure(told: tuple[datetime, str] | None, check: Check | None) -> dict[str, str] | None:
    missed = None if check is None or check.ok else (check.at, check.error)
    latest = max((one for one in (told, missed) if one is not None), default=None)
    return None if latest is None else {"at": latest[0].isoformat(), "text": latest[1]}


def _standing_still(conversion: Conversion | None) -> dict[str, Any] | None:
    if conversion is None:
        return None
    since, reason = conversion.since.isoformat(), conversion.reason or None
    return {"id": conversion.id, "since": since, "service": conversion.service_id, "reason": reason}
