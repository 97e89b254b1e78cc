"""What the answers to an operator look like, for the documentation; the tests hold both together."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from converter.api.forms import ID_EXAMPLE
from converter.api.shapes import Moment, Money, OpenShape, Shape, shown
from converter.settings import SERVICES

_AT = "2026-01-15T10:30:00+00:00"
_BREAKER = {"state": "closed", "failures": 0, "retryAfterMs": 0, "until": None}
_SERVICE: dict[str, Any] = {
    "id": SERVICES[2],
    "tier": 1,
    "weight": "0.4",
    "share": "0.38",
    "state": "closed",
    "detail": None,
    "breakers": {"quote": _BREAKER, "execute": _BREAKER},
    "isolated": False,
    "quarantined": False,
    "quarantinedUntil": None,
    "check": {"at": _AT, "ok": True, "ms": 31, "error": None, "misses": 0},
    "successRate": 0.995,
    "requests": 15234,
    "failures": 0,
    "latencies": [245, 260, 231],
    "p50": 245,
    "p95": 260,
    "lastFailure": {"at": _AT, "text": "timed out"},
    "available": True,
}
_SERVICES = {"at": _AT, "services": [_SERVICE], "emergency": False, "held": []}
_FAILOVER = {
    "at": _AT,
    "conversionId": ID_EXAMPLE,
    "from": SERVICES[2],
    "to": SERVICES[0],
    "succeeded": True,
    "reason": "timed out",
}
_HOLD = {"code": "jump", "since": _AT, "rate": "0.07"}

Share = Annotated[str, Field(pattern=r"^(0|1)(\.[0-9]+)?$", description="A share of 1, as text.")]


class Breaker(Shape):
    """A breaker: `until` when, and in how many ms, it is probed next. `unknown` while Redis does not answer."""

    state: str
    failures: int
    retry_after_ms: int | None
    until: Moment | None


class Check(Shape):
    """The last health check; `misses` counts failed ones in a row."""

    at: Moment
    ok: bool
    ms: int
    error: str | None
    misses: int


class Failure(Shape):
    """What a service last failed at."""

    at: Moment
    text: str


class Service(Shape):
    """How a service stands. `share`: of the attempts of its tier in the last hour, None when there were none.

    `state`: closed, open, half-open, isolated, quarantined or unknown. `latencies`: the newest, oldest first, in ms.
    """

    model_config = shown(_SERVICE)
    id: str
    tier: int
    weight: Share
    share: Share | None
    state: str
    detail: str | None
    breakers: dict[str, Breaker]
    isolated: bool
    quarantined: bool
    quarantined_until: Moment | None
    check: Check | None
    success_rate: float
    requests: int
    failures: int
    latencies: list[int]
    p50: int | None
    p95: int | None
    last_failure: Failure | None
    available: bool


class Services(Shape):
    """Services by tier and weight; whether the emergency tier is open by a word; pairs that are held."""

    model_config = shown(_SERVICES)
    at: Moment
    services: list[Service]
    emergency: bool
    held: list[str]


class Failover(Shape):
    """A change of service; `to` is None when no other service took over."""

    model_config = shown(_FAILOVER)
    at: Moment
    conversion_id: str
    from_service: Annotated[str, Field(alias="from")]
    to: str | None
    succeeded: bool
    reason: str | None


class Failovers(Shape):
    """Failovers, newest first; `next` is the cursor of the page behind, None on the last."""

    model_config = shown({"failovers": [_FAILOVER], "next": None})
    failovers: list[Failover]
    next: str | None


class StandingStill(Shape):
    """A conversion that waits, or of which an operation is unknown."""

    id: str
    since: Moment
    service: str | None
    reason: str | None


class Overview(Services):
    """What an operator looks at first; `missing` names what did not answer."""

    model_config = shown(
        {
            **_SERVICES,
            "states": {"COMPLETED": 120, "WAITING": 1},
            "conversions": 121,
            "needsReview": 0,
            "oldestWaiting": {"id": ID_EXAMPLE, "since": _AT, "service": None, "reason": "nobody answered"},
            "oldestUnknown": None,
            "failovers": [_FAILOVER],
            "missing": [],
        }
    )
    states: dict[str, int]
    conversions: int
    needs_review: int
    oldest_waiting: StandingStill | None
    oldest_unknown: StandingStill | None
    failovers: list[Failover]
    missing: list[str]


class RatedQuote(Shape):
    """An offer. `rate` is what is judged, before fixed fees; `code` is None until its round was chosen from."""

    at: Moment
    service: str
    rate: Money
    net: Money
    excluded: bool
    code: str | None
    text: str | None
    round: int
    conversion_id: str


class Rates(Shape):
    """Offers for a pair, oldest first, and the reference of the newest judged round."""

    model_config = shown(
        {
            "pair": "ETH-BTC",
            "pairs": ["ETH-BTC"],
            "quotes": [
                {
                    "at": _AT,
                    "service": SERVICES[2],
                    "rate": "0.0607",
                    "net": "0.0909",
                    "excluded": False,
                    "code": "accepted",
                    "text": None,
                    "round": 1,
                    "conversionId": ID_EXAMPLE,
                }
            ],
            "reference": "0.0606",
        }
    )
    pair: str | None
    pairs: list[str]
    quotes: list[RatedQuote]
    reference: Money | None


class Pair(OpenShape):
    """What is remembered of a pair; `age` in ms since a rate was last accepted."""

    model_config = shown({"pair": "ETH-BTC", "last": "0.0607", "usable": True, "tolerance": "0.02", "hold": _HOLD})
    pair: str
    last: Money | None
    usable: bool
    tolerance: Share
    hold: dict[str, Any] | None


class EmergencyTier(Shape):
    """Whether the emergency tier is open by an operator's word."""

    model_config = shown({"emergency": True})
    emergency: bool


class Case(OpenShape):
    """A conversion before a person. `answer`: what its service says now, in words; `words`: what may be said of it."""

    model_config = shown(
        {
            "id": ID_EXAMPLE,
            "amount": "1.5",
            "since": _AT,
            "reason": "unknown for 15 minutes",
            "service": SERVICES[0],
            "sent": [],
            "earlier": [],
            "answer": "does not know it",
            "found": None,
            "words": ["executed", "notExecuted", "retry"],
        }
    )
    id: str
    amount: Money
    since: Moment
    reason: str
    service: str | None
    sent: list[dict[str, Any]]
    earlier: list[dict[str, Any]]
    answer: str | None
    found: dict[str, Any] | None
    words: list[str]


class Cases(Shape):
    """What needs review, the longest waiting first."""

    model_config = shown({"cases": []})
    cases: list[Case]
