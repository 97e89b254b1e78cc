"""Facts that others may want to hear. They are written to the ledger's outbox with the change that they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CONVERSION_ACCEPTED = "conversion:accepted"
CONVERSION_QUOTED = "conversion:quoted"
CONVERSION_EXECUTING = "conversion:executing"
CONVERSION_HELD = "conversion:held"
CONVERSION_REFUNDED = "conversion:refunded"
CONVERSION_UNKNOWN = "conversion:unknown"
CONVERSION_COMPLETED = "conversion:completed"
CONVERSION_FAILED = "conversion:failed"
CONVERSION_CANCELLED = "conversion:cancelled"
CONVERSION_WAITING = "conversion:waiting"
CONVERSION_NEEDS_REVIEW = "conversion:needs_review"
DEPOSIT_REQUESTED = "deposit:requested"
FAILOVER_SUCCESS = "failover:success"
SERVICE_FAILURE = "service:failure"
SERVICE_RECOVERED = "service:recovered"

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
        CONVERSION_UNKNOWN,
        CONVERSION_WAITING,
        DEPOSIT_REQUESTED,
        FAILOVER_SUCCESS,
        SERVICE_FAILURE,
        SERVICE_RECOVERED,
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
