"""What an operator should know: which events raise which alert, under which key, and what ends it.

An alert is raised once and met again under its key; it ends by an event, when a condition of the ledger is over, or
when it was not met for a while. Its text names services, coins and conversions, never an address or a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from converter.domain import conditions, events
from converter.domain.breaches import PREFIX
from converter.domain.conditions import Condition
from converter.domain.events import Event

CRITICAL, WARNING = "critical", "warning"

RATE_HELD = "rate:held"
UNFINISHED_OLD = "conversions:unfinished_old"
UNKNOWN_OLD = "conversions:unknown_old"
RECEIVER_FAILING = "receiver:failing"
RECEIVER_DISABLED = "receiver:disabled"
RECEIVER_GAVE_UP = "receiver:gave_up"


@dataclass(frozen=True)
class Watch:
    """A condition of the ledger by its name, or all whose names begin so (it ends with a colon). It is over when all
    of them are in one of the `usual` states; what was not met for `seen_within` counts for nothing."""

    condition: str
    usual: tuple[str, ...]
    seen_within: timedelta | None = None

    def is_over(self, known: Mapping[str, Condition], now: datetime) -> bool:
        """Whether it is over."""
        found = [one for name, one in known.items() if self._names(name)]
        if self.seen_within is not None:
            found = [one for one in found if now - one.seen_at <= self.seen_within]
        return all(one.state in self.usual for one in found)

    def _names(self, name: str) -> bool:
        return name.startswith(self.condition) if self.condition.endswith(":") else name == self.condition


@dataclass(frozen=True)
class Raised:
    """Something that an operator should know. `lasts`: it ends by itself when not met again for so long."""

    key: str
    name: str
    severity: str
    text: str
    service_id: str | None = None
    conversion_id: str | None = None
    lasts: timedelta | None = None
    watch: Watch | None = None


@dataclass(frozen=True)
class Alert:
    """An alert as it is kept. `told_at`: when its receivers are or were told last; `announced`: that they were told of
    this time that it fires."""

    what: Raised
    first_at: datetime
    last_at: datetime
    count: int = 1
    resolved_at: datetime | None = None
    told_at: datetime | None = None
    announced: bool = False

    @property
    def key(self) -> str:
        """Its key."""
        return self.what.key

    @property
    def firing(self) -> bool:
        """Whether it has not ended."""
        return self.resolved_at is None

    def is_over(self, known: Mapping[str, Condition], now: datetime) -> bool:
        """Whether it ended by itself."""
        what = self.what
        quiet = what.lasts is not None and now - self.last_at > what.lasts
        return quiet or (what.watch is not None and what.watch.is_over(known, now))


def raised_by(event: Event, policy: str = "") -> Raised | None:
    """The alert that an event raises, if any. `policy`: the text of the conversion's own settings."""
    rule = _RAISES.get(event.name)
    if rule is None:
        return None
    try:
        return rule(event, policy)
    except (KeyError, TypeError):  # told by another version: still worth knowing, and no reason to stop reading
        about = event.conversion_id or event.payload.get("serviceId")
        return Raised(f"{event.name}:{about}", event.name, WARNING, f"{event.name} of {about}", lasts=_UNCLEAR_LASTS)


def ended_by(event: Event) -> list[str]:
    """Keys of the alerts that an event ends."""
    if event.name == events.SERVICE_RECOVERED:
        service_id, operation = event.payload.get("serviceId"), event.payload.get("operation")
        if operation == "rates":
            return [f"{events.SERVICE_QUARANTINED}:{service_id}"]
        return [f"{events.SERVICE_UNAVAILABLE}:{service_id}:{operation}"]
    return [f"{name}:{event.conversion_id}" for name in _ENDS.get(event.name, ())]


def held_for_long(known: Iterable[Condition], now: datetime, patience: timedelta) -> list[Raised]:
    """An alert for each pair whose rate is held for so long."""
    prefix = conditions.hold_of("")
    return [
        _held(one.name.removeprefix(prefix), f"the rate of {one.name.removeprefix(prefix)} is held: {one.state}")
        for one in known
        if one.name.startswith(prefix) and one.state != conditions.OFF and now - one.since >= patience
    ]


def too_old(name: str, oldest: tuple[str, timedelta], count: int) -> Raised:
    """Conversions that have not ended (or are unknown) for too long: how many, and the oldest with its age."""
    conversion_id, age = oldest
    what = "have an unknown outcome" if name == UNKNOWN_OLD else "have not ended"
    text = f"{count} conversions {what} for too long; the oldest is {conversion_id}, {_in_words(age)}"
    return Raised(name, name, CRITICAL if name == UNKNOWN_OLD else WARNING, text, conversion_id=conversion_id)


def of_receiver(name: str, receiver: str, why: str) -> Raised:
    """A webhook or a sink takes nothing, was switched off, or missed something."""
    severity = WARNING if name == RECEIVER_FAILING else CRITICAL
    return Raised(f"{name}:{receiver}", name, severity, f"{receiver} {why}")


def scrubbed(text: str, most: int = 300) -> str:
    """A text of services without what may be an address, a key or a transaction."""
    return _LONG.sub("…", text)[:most]


_LONG = re.compile(r"[A-Za-z0-9+/=_.:~-]{24,}")


def _unavailable(event: Event, _: str) -> Raised:
    given = event.payload
    text = f"{given['serviceId']} is unavailable ({given['operation']}), {given['failures']} failures"
    key = f"{event.name}:{given['serviceId']}:{given['operation']}"
    return Raised(key, event.name, WARNING, text, service_id=given["serviceId"])


def _quarantined(event: Event, _: str) -> Raised:
    given = event.payload
    service_id = given["serviceId"]
    tail = "; it needs an operator" if given.get("needsOperator") else ""
    text = f"the rates of {service_id} are in quarantine{tail}"
    severity = CRITICAL if tail else WARNING
    return Raised(f"{event.name}:{service_id}", event.name, severity, text, service_id=service_id)


def _of_conversion(severity: str, say: Callable[[Mapping[str, Any]], str]) -> Callable[[Event, str], Raised]:
    def rule(event: Event, _: str) -> Raised:
        text = f"conversion {event.conversion_id} {say(event.payload)}"
        named = event.payload.get("serviceId")
        key = f"{event.name}:{event.conversion_id}"
        return Raised(key, event.name, severity, text, named, event.conversion_id)

    return rule


def _emergency(event: Event, _: str) -> Raised:
    service_id = event.payload["serviceId"]
    text = f"the emergency tier is in use: {service_id} executes {event.conversion_id}"
    return Raised(f"{event.name}:{service_id}", event.name, CRITICAL, text, service_id, lasts=_EMERGENCY_QUIET)


def _degraded(event: Event, policy: str) -> Raised:
    given = event.payload
    pair, tier = given["pair"], given["tier"]
    now_at = "no service" if tier is None else f"tier {tier}"
    text = f"{pair} is down to {now_at} from tier {given['usual']}: {', '.join(sorted(given['unavailable'])) or '-'}"
    name = conditions.tier_of(pair, policy)
    watch = Watch(name, tuple(str(one) for one in range(1, given["usual"] + 1)), _TIER_SEEN)
    return Raised(name.replace("tier:", f"{event.name}:", 1), event.name, _tier_severity(tier), text, watch=watch)


def _tier_severity(tier: int | None) -> str:
    return CRITICAL if tier is None else WARNING


def _jumped(event: Event, _: str) -> Raised:
    given = event.payload
    pair = given["pair"]
    return _held(pair, f"the rate of {pair} jumped to {given['rate']} from {given['reference']} and is held")


def _held(pair: str, text: str) -> Raised:
    watch = Watch(conditions.hold_of(pair), (conditions.OFF,))
    return Raised(f"{RATE_HELD}:{pair}", RATE_HELD, WARNING, text, watch=watch)


def _audit(event: Event, _: str) -> Raised:
    broken = sorted({str(one.get("invariant")) for one in event.payload.get("breaches", [])})
    text = f"the audit of the ledger found {event.payload.get('count')} breaches: {', '.join(broken)}"
    return Raised(event.name, event.name, CRITICAL, text, watch=Watch(PREFIX, (conditions.OFF,)))


def _in_words(age: timedelta) -> str:
    minutes = int(age.total_seconds()) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


_EMERGENCY_QUIET = timedelta(minutes=30)
_UNCLEAR_LASTS = timedelta(days=1)
_TIER_SEEN = timedelta(hours=1)

_RAISES: Mapping[str, Callable[[Event, str], Raised]] = {
    events.CONVERSION_NEEDS_REVIEW: _of_conversion(
        CRITICAL, lambda given: f"needs a person: {scrubbed(str(given.get('reason', '')))}"
    ),
    events.CONVERSION_HELD: _of_conversion(
        WARNING, lambda given: f"is held by {given['serviceId']}: {scrubbed(str(given.get('reason', '')))}"
    ),
    events.DEPOSIT_REQUESTED: _of_conversion(
        WARNING, lambda given: f"waits for a person to pay {given['amount']} {given['coin']} to {given['serviceId']}"
    ),
    events.FAILOVER_FAILED: _of_conversion(
        WARNING, lambda given: f"found no service that executes it: {scrubbed(str(given.get('reason', '')))}"
    ),
    events.EMERGENCY_ACTIVATED: _emergency,
    events.LEDGER_AUDIT_FAILED: _audit,
    events.RATE_JUMP: _jumped,
    events.SERVICE_QUARANTINED: _quarantined,
    events.SERVICE_UNAVAILABLE: _unavailable,
    events.TIER_DEGRADED: _degraded,
}

_ENDED = (
    events.CONVERSION_NEEDS_REVIEW,
    events.CONVERSION_HELD,
    events.DEPOSIT_REQUESTED,
    events.FAILOVER_FAILED,
)
_ENDS: Mapping[str, tuple[str, ...]] = {
    events.CONVERSION_COMPLETED: _ENDED,
    events.CONVERSION_CANCELLED: _ENDED,
    events.CONVERSION_FAILED: _ENDED,
    events.CONVERSION_RESOLVED: (events.CONVERSION_NEEDS_REVIEW, events.CONVERSION_HELD, events.DEPOSIT_REQUESTED),
    events.CONVERSION_RETRIED: (events.CONVERSION_NEEDS_REVIEW, events.CONVERSION_HELD),
    events.CONVERSION_REFUNDED: (events.CONVERSION_HELD, events.DEPOSIT_REQUESTED),
    events.CONVERSION_NEEDS_REVIEW: (events.CONVERSION_HELD, events.FAILOVER_FAILED),
    events.FAILOVER_SUCCESS: (events.FAILOVER_FAILED,),
}

RAISING = frozenset(_RAISES)
"""Events that raise an alert."""
