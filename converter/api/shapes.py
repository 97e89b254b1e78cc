"""What answers look like, for the documentation. The answers themselves are made where the facts are, and the tests
hold both together."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from converter.api.forms import ID_EXAMPLE
from converter.domain.conversions import State
from converter.settings import SERVICES

Money = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", description="An exact amount, as text.")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="ISO 8601, in UTC.")]

_CONVERSION: dict[str, Any] = {
    "id": ID_EXAMPLE,
    "state": "COMPLETED",
    "fromCoin": "ETH",
    "fromNetwork": "ETH",
    "toCoin": "BTC",
    "toNetwork": "BTC",
    "amount": "1.5",
    "address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
    "idempotencyKey": "payout-4711",
    "service": SERVICES[2],
    "promised": "0.0973",
    "delivered": "0.0973",
    "txid": "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    "reason": None,
    "round": 1,
    "failovers": 0,
    "createdAt": "2026-01-15T10:30:00+00:00",
    "completedAt": "2026-01-15T10:31:12+00:00",
}
_SERVICE: dict[str, Any] = {
    "available": True,
    "priority": 1,
    "weight": 0.4,
    "totalRequests": 15234,
    "successRate": 0.995,
    "averageResponseTime": 245,
    "failures": 0,
    "lastFailure": None,
}
_QUOTE: dict[str, Any] = {
    "service": SERVICES[2],
    "tier": 1,
    "net": "0.0973",
    "gross": "0.0978",
    "fees": [{"kind": "service", "amount": "0.0005"}],
    "rate": "0.06486666666666667",
    "firm": False,
    "expiresIn": 60,
    "ms": 245,
    "error": None,
    "best": True,
}


class Shape(BaseModel):
    """An answer: every field is there, None where it is not known."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class OpenShape(Shape):
    """An answer that holds more than is listed."""

    model_config = ConfigDict(extra="allow")


def shown(example: dict[str, Any]) -> ConfigDict:
    """With an example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class Problem(OpenShape):
    """An error by RFC 9457. `error` names its kind; `field`, `problem` and `accepted` say what to change."""

    model_config = shown(
        {
            "type": "about:blank",
            "title": "Unprocessable Content",
            "status": 422,
            "error": "InvalidRequest",
            "detail": "amount: is zero; accepted: a positive plain decimal such as 1.5, as text, Decimal or int",
            "field": "amount",
            "problem": "is zero",
            "accepted": "a positive plain decimal such as 1.5, as text, Decimal or int",
        }
    )
    type: str
    title: str
    status: int
    error: str
    detail: str
    field: str = ""
    problem: str = ""
    accepted: str = ""


class Conversion(Shape):
    """A conversion. `promised` is the net that was quoted, `delivered` what reached the address."""

    model_config = shown(_CONVERSION)
    id: str
    state: State
    from_coin: str
    from_network: str
    to_coin: str
    to_network: str
    amount: Money
    address: str
    idempotency_key: str | None
    service: str | None
    promised: Money | None
    delivered: Money | None
    txid: str | None
    reason: str | None
    round: int
    failovers: int
    created_at: Moment
    completed_at: Moment | None


class ConversionPage(Shape):
    """Conversions, newest first; `next` is the cursor of the page behind, None on the last."""

    model_config = shown({"conversions": [_CONVERSION], "next": ID_EXAMPLE})
    conversions: list[Conversion]
    next: str | None


class Explained(OpenShape):
    """Why a conversion went where it went, round by round."""

    model_config = shown(
        {
            **{name: _CONVERSION[name] for name in ("id", "state", "amount", "promised", "delivered")},
            "earlierAttempts": [],
            "rounds": [{"number": 1, "services": [], "quotes": [], "attempts": [], "why": "best net"}],
            "difference": "0",
        }
    )
    id: str
    state: State
    amount: Money
    earlier_attempts: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    promised: Money | None
    delivered: Money | None
    difference: Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="Per cent.")] | None


class Fee(Shape):
    """A fee in the to_coin."""

    kind: str
    amount: Money


class Quote(Shape):
    """What a service offers now, or in `error` why it does not. `rate` is net for one unit of the from_coin."""

    model_config = shown(_QUOTE)
    service: str
    tier: int
    net: Money | None
    gross: Money | None
    fees: list[Fee]
    rate: Money | None
    firm: bool | None
    expires_in: int | None
    ms: int | None
    error: str | None
    best: bool


class Quotes(Shape):
    """The offers for an amount, best net first, and then the services without one."""

    model_config = shown(
        {
            **{name: _CONVERSION[name] for name in ("fromCoin", "fromNetwork", "toCoin", "toNetwork", "amount")},
            "quotes": [_QUOTE],
        }
    )
    from_coin: str
    from_network: str
    to_coin: str
    to_network: str
    amount: Money
    quotes: list[Quote]


class ServiceStatus(OpenShape):
    """A service. `lastFailure` in milliseconds since 1970, times in milliseconds."""

    model_config = shown(_SERVICE)
    available: bool
    priority: int
    weight: float
    total_requests: int
    success_rate: float
    average_response_time: int
    failures: int
    last_failure: int | None


class Status(OpenShape):
    """The services and the whole."""

    model_config = shown(
        {
            "services": {SERVICES[1]: _SERVICE},
            "healthyServices": 1,
            "totalConversions": 37677,
            "failovers": 156,
            "loadBalancing": "weighted",
        }
    )
    services: dict[str, ServiceStatus]
    healthy_services: int
    total_conversions: int
    failovers: int
    load_balancing: str


class Alive(Shape):
    """This process answers."""

    model_config = shown({"status": "ok"})
    status: str


class Readiness(Shape):
    """`ok` beside each part that is there, else what is wrong with it."""

    model_config = shown({"ready": True, "ledger": "ok", "broker": "ok", "workers": "ok"})
    ready: bool
    ledger: str
    broker: str
    workers: str
