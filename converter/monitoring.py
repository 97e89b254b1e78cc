"""The status of the services and of the whole, read from the ledger: the same from every process, unharmed by restarts.

A service is available unless a breaker of it is open, an operator took it out, or its rates are in quarantine: what was
told of it last. Requests are quotes asked and attempts begun, each counted once; health checks are none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from converter.domain import conditions
from converter.domain.conditions import Condition
from converter.domain.conversions import State
from converter.domain.deadlines import percentile
from converter.domain.health import Check
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.ports import ViewedLedger, Work

_SAMPLE = 1000
"""Newest offers over which percentiles are taken."""


def status(ledger: ViewedLedger, policy: RoutingPolicy) -> dict[str, Any]:
    """The specification's status: `services`, `healthyServices`, `totalConversions`, `failovers`, `loadBalancing`.

    Beside them `serviceUsage` (executions per service), `averageResponseTime` in ms and `states` (their counts).
    """
    with ledger.view() as work:
        counts = work.statistics()
        services = service_counts(work, policy, counts)
    states = counts["states"]
    asked = sum(one["quotes"] for one in counts["services"].values())
    elapsed = sum(one["elapsed_ms"] or 0 for one in counts["services"].values())
    return {
        "services": services,
        "healthyServices": sum(one["available"] for one in services.values()),
        "totalConversions": sum(states.values()),
        "failovers": counts["failovers"],
        "loadBalancing": policy.load_balancing,
        "serviceUsage": {service_id: one["executions"] for service_id, one in counts["services"].items()},
        "averageResponseTime": round(elapsed / asked) if asked else 0,
        "states": {state: states.get(state, 0) for state in State},
    }


def service_counts(work: Work, policy: RoutingPolicy, counts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The part of each service; `counts` are `work.statistics()`, of now or of a moment ago."""
    checks, lasting = work.memory.checks(), work.conditions.of("")
    services = {}
    for place in policy.services:
        known = counts["services"].get(place.service_id, {})
        services[place.service_id] = _service(work, place, known, checks.get(place.service_id))
        services[place.service_id]["available"] = not _troubles(lasting, place.service_id)
    return services


def _service(work: Work, place: ServicePolicy, counts: dict[str, Any], check: Check | None) -> dict[str, Any]:
    quotes, attempts = counts.get("quotes", 0), counts.get("attempts", 0)
    failed = counts.get("quote_failures", 0) + counts.get("refused", 0)
    requests = quotes + attempts
    misses = check.misses if check is not None else 0
    moments = [counts.get("last_failure"), check.at if check is not None and misses else None]
    last_failure: datetime | None = max((one for one in moments if one is not None), default=None)
    sample = work.quotes.latencies(place.service_id, _SAMPLE)
    return {
        "available": True,
        "priority": place.tier,
        "weight": float(place.weight),
        "totalRequests": requests,
        "successRate": round((requests - failed) / requests, 3) if requests else 1.0,
        "averageResponseTime": round((counts.get("elapsed_ms") or 0) / quotes) if quotes else 0,
        "failures": max(work.quotes.recent_failures(place.service_id), misses),
        "lastFailure": int(last_failure.timestamp() * 1000) if last_failure else None,
        "quotes": quotes,
        "quoteFailures": counts.get("quote_failures", 0),
        "executions": counts.get("executions", 0),
        "refused": counts.get("refused", 0),
        **{f"p{percent}": percentile(sample, percent) for percent in (50, 95, 99)},
    }


def _troubles(lasting: dict[str, Condition], service_id: str) -> list[str]:
    """The conditions that make a service unavailable."""
    names = [conditions.breaker_of(service_id, operation) for operation in ("quote", "execute")]
    names += [conditions.isolation_of(service_id), conditions.quarantine_of(service_id)]
    bad = (conditions.OPEN, conditions.ON)
    return [name for name in names if (one := lasting.get(name)) is not None and one.state in bad]
