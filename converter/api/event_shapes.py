"""What answers about events and alerts look like, for the documentation (see `shapes`)."""

from __future__ import annotations

from typing import Any

from converter.api.forms import ID_EXAMPLE
from converter.api.shapes import Moment, Shape, shown
from converter.domain.events import CONVERSION_COMPLETED
from converter.settings import SERVICES

_AT = "2026-01-15T10:31:12+00:00"
_EVENT: dict[str, Any] = {
    "id": 4711,
    "name": CONVERSION_COMPLETED,
    "at": _AT,
    "conversionId": ID_EXAMPLE,
    "payload": {"serviceId": SERVICES[2]},
}
_ALERT: dict[str, Any] = {
    "key": f"conversion:needs_review:{ID_EXAMPLE}",
    "name": "conversion:needs_review",
    "text": f"{ID_EXAMPLE} needs review",
    "severity": "critical",
    "firing": True,
    "firstAt": _AT,
    "lastAt": _AT,
    "resolvedAt": None,
    "count": 1,
    "serviceId": SERVICES[2],
    "conversionId": ID_EXAMPLE,
}
STREAMED = f'id: 4711\nevent: {CONVERSION_COMPLETED}\ndata: {{"id": 4711, "name": "{CONVERSION_COMPLETED}"}}\n\n'


class Event(Shape):
    """One thing that happened. `id` grows with the order in which events were committed."""

    model_config = shown(_EVENT)
    id: int
    name: str
    at: Moment | None
    conversion_id: str | None
    payload: dict[str, Any]


class EventPage(Shape):
    """Events, oldest first. Everything up to `last` was looked at."""

    model_config = shown({"events": [_EVENT], "last": 4711})
    events: list[Event]
    last: int


class Alert(Shape):
    """Something that an operator should know; `resolvedAt` is null while it fires."""

    model_config = shown(_ALERT)
    key: str
    name: str
    text: str
    severity: str
    firing: bool
    first_at: Moment
    last_at: Moment
    resolved_at: Moment | None
    count: int
    service_id: str | None
    conversion_id: str | None


class Alerts(Shape):
    """Alerts, firing first."""

    model_config = shown({"alerts": [_ALERT]})
    alerts: list[Alert]
