"""Facts that others may want to hear. They are written to the ledger's outbox with the change that they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CONVERSION_ACCEPTED = "conversion:accepted"
CONVERSION_CANCELLED = "conversion:cancelled"
CONVERSION_COMPLETED = "conversion:completed"
CONVERSION_EXECUTING = "conversion:executing"
CONVERSION_FAILED = "conversion:failed"
CONVERSION_HELD = "conversion:held"
CONVERSION_NEEDS_REVIEW = "conversion:needs_review"
CONVERSION_QUOTED = "conversion:quoted"
CONVERSION_REFUNDED = "conversion:refunded"
CONVERSION_RESOLVED = "conversion:resolved"
CONVERSION_RETRIED = "conversion:retried"
CONVERSION_UNKNOWN = "conversion:unknown"
CONVERSION_WAITING = "conversion:waiting"
DEPOSIT_REQUESTED = "deposit:requested"
EMERGENCY_ACTIVATED = "emergency:activated"
FAILOVER_FAILED = "failover:failed"
FAILOVER_SUCCESS = "failover:success"
LEDGER_AUDIT_FAILED = "ledger:audit_failed"
RATE_ANOMALY = "rate:anomaly"
RATE_JUMP = "rate:jump"
SERVICE_FAILURE = "service:failure"
SERVICE_QUARANTINED = "service:quarantined"
SERVICE_RECOVERED = "service:recovered"
SERVICE_UNAVAILABLE = "service:unavailable"
TIER_DEGRADED = "tier:degraded"

ALL_EVENTS = frozenset(
    {
        CONVERSION_ACCEPTED,
        CONVERSION_CANCELLED,
        CONVERSION_COMPLETED,
        CONVERSION_EXECUTING,
        CONVERSION_FAILED,
        CONVERSION_HELD,
        CONVERSION_NEEDS_REVIEW,
        CONVERSION_QUOTED,
        CONVERSION_REFUNDED,
        CONVERSION_RESOLVED,
        CONVERSION_RETRIED,
        CONVERSION_UNKNOWN,
        CONVERSION_WAITING,
        DEPOSIT_REQUESTED,
        EMERGENCY_ACTIVATED,
        FAILOVER_FAILED,
        FAILOVER_SUCCESS,
        LEDGER_AUDIT_FAILED,
        RATE_ANOMALY,
        RATE_JUMP,
        SERVICE_FAILURE,
        SERVICE_QUARANTINED,
        SERVICE_RECOVERED,
        SERVICE_UNAVAILABLE,
        TIER_DEGRADED,
    }
)


@dataclass(frozen=True)
class Event:
    """One fact. `payload` uses the specification's camelCase (`serviceId`, `failures`, `from`, `to`)."""

    name: str
    payload: dict[str, Any] = field(default_factory=dict)
    conversion_id: str | None = None
    sequence: int = 0
    at: datetime | None = None


@dataclass(frozen=True)
class Only:
    """Which events are wanted: of these names (none: of all), of this conversion (None: of all)."""

    names: frozenset[str] = frozenset()
    conversion_id: str | None = None

    def takes(self, event: Event) -> bool:
        """Whether it is one of them."""
        named = not self.names or event.name in self.names
        return named and self.conversion_id in (None, event.conversion_id)


EVERYTHING = Only()
