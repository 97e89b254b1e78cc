"""The status of the services and of the whole, read from the ledger: the same from every process, unharmed by restarts.

A service counts as available unless it failed `maxFailures` times in a row and its recovery time is not over.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from converter.domain.conversions import State
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.ports import Ledger, Work


def status(ledger: Ledger, policy: RoutingPolicy) -> dict[str, Any]:
    """The specification's status: `services`, `healthyServices`, `totalConversions`, `failovers`, `loadBalancing`.

    Beside them `serviceUsage` (executions per service), `averageResponseTime` in ms and `states` (their counts).
    """
    with ledger.begin() as work:
        counts = work.statistics()
        services = {
            place.service_id: _service(work, place, counts["services"].get(place.service_id, {}), work.now())
            for place in policy.services
        }
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


def _service(work: Work, place: ServicePolicy, counts: dict[str, Any], now: datetime) -> dict[str, Any]:
    quotes, failed = counts.get("quotes", 0), counts.get("quote_failures", 0)
    in_a_row = work.quotes.recent_failures(place.service_id)
    last_failure: datetime | None = counts.get("last_failure")
    recovering = last_failure is not None and now - last_failure < place.recovery_time
    return {
        "available": not (in_a_row >= place.max_failures and recovering),
        "priority": place.tier,
        "weight": float(place.weight),
        "totalRequests": quotes,
        "successRate": round((quotes - failed) / quotes, 3) if quotes else 1.0,
        "averageResponseTime": round((counts.get("elapsed_ms") or 0) / quotes) if quotes else 0,
        "failures": in_a_row,
        "lastFailure": int(last_failure.timestamp() * 1000) if last_failure else None,
        "executions": counts.get("executions", 0),
        "refused": counts.get("refused", 0),
    }
