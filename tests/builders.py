"""Ready-made requests, quotes, attempts and policies for tests; every part can be named and the rest has a default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset, asset
from converter.domain.conversions import (
    Attempt,
    AttemptState,
    Conversion,
    ConversionRequest,
    Operation,
    OperationState,
    State,
    attempt_key,
    operation_key,
)
from converter.domain.intake import conversion_id
from converter.domain.orders import OperationKind, OrderRequest
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.domain.quotes import Fee, Quote, QuoteRequest, QuoteRow

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ETH = asset("ETH")
BTC = asset("BTC")
LIGHTNING = asset("BTC", "LIGHTNING")
BTC_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
OTHER_BTC_ADDRESS = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
ETH_ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def an_id(number: int = 1) -> str:
    """The id of the n-th conversion of a test; later numbers sort later."""
    return conversion_id(1_770_000_000_000 + number, number.to_bytes(10, "big"))


def a_request(amount: str = "1.5", **changes: Any) -> ConversionRequest:
    given = {"from_asset": ETH, "to_asset": BTC, "address": BTC_ADDRESS, **changes}
    return ConversionRequest(amount=Decimal(amount), **given)


def a_quote_request(amount: str = "1.5", from_asset: Asset = ETH, to_asset: Asset = BTC) -> QuoteRequest:
    return QuoteRequest(from_asset, to_asset, Decimal(amount))


def a_quote(service_id: str = "alpha", net: str = "0.09", fee: str = "0.001", **changes: Any) -> Quote:
    given: dict[str, Any] = {
        "request": a_quote_request(),
        "gross": Decimal(net) + Decimal(fee),
        "fees": (Fee("service", Decimal(fee)),),
        "firm": True,
        "expires_at": START + timedelta(hours=1),
        "reference": f"offer-{service_id}",
        **changes,
    }
    return Quote(service_id=service_id, net=Decimal(net), **given)


def a_row(conversion: str, service_id: str = "alpha", asked_round: int = 1, **changes: Any) -> QuoteRow:
    """An answer as the ledger keeps it: a quote unless `quote=None` is given."""
    given: dict[str, Any] = {"quote": a_quote(service_id), "error": "", "elapsed_ms": 40, "asked_at": START, **changes}
    return QuoteRow(id=0, conversion_id=conversion, round=asked_round, service_id=service_id, **given)


def a_conversion(number: int = 1, **changes: Any) -> Conversion:
    given: dict[str, Any] = dict.fromkeys(Conversion.__dataclass_fields__)
    given.update(id=an_id(number), request=a_request(), state=State.EXECUTING, round=1, fence=1, failovers=0)
    given.update(txid="", reason="", created_at=START, updated_at=START, since=START, **changes)
    return Conversion(**given)


def an_attempt(conversion: Conversion | str, number: int = 1, service_id: str = "alpha", **changes: Any) -> Attempt:
    owner = conversion if isinstance(conversion, str) else conversion.id
    given: dict[str, Any] = {
        "key": attempt_key(owner, number),
        "state": AttemptState.PREPARED,
        "promised": Decimal("0.09"),
        "minimum_net": Decimal("0.0882"),
        "quote_reference": "offer",
        "service_order_id": None,
        "deposit_address": "",
        "deposit_amount": None,
        "deposit_memo": "",
        "deposit_valid_until": None,
        "refund_txid": None,
        "refused": False,
        "error": "",
        "created_at": START,
        "updated_at": START,
        **changes,
    }
    return Attempt(id=0, conversion_id=owner, number=number, service_id=service_id, **given)


def an_operation(
    attempt: Attempt, kind: OperationKind = OperationKind.ORDER, sequence: int = 1, **changes: Any
) -> Operation:
    given: dict[str, Any] = {
        "key": operation_key(attempt.key, kind, sequence),
        "state": OperationState.PREPARED,
        "fence": 1,
        "sends": 1,
        "absences": 0,
        "send_before": START + timedelta(seconds=5),
        "request_hash": "0" * 64,
        "error": "",
        "created_at": START,
        "updated_at": START,
        **changes,
    }
    return Operation(id=0, attempt_id=attempt.id, sequence=sequence, kind=kind, **given)


def an_order_request(**changes: Any) -> OrderRequest:
    given: dict[str, Any] = {
        "key": attempt_key(an_id(), 1),
        "from_asset": ETH,
        "to_asset": BTC,
        "amount": Decimal("1.5"),
        "address": BTC_ADDRESS,
        "net": Decimal("0.09"),
        "minimum_net": Decimal("0.0882"),
        "quote_reference": "offer",
        "prepared_at": START,
        **changes,
    }
    return OrderRequest(**given)


def a_place(service_id: str, tier: int = 1, weight: str = "0.5", **changes: Any) -> ServicePolicy:
    given: dict[str, Any] = {"max_failures": 3, "recovery_time": timedelta(hours=1), **changes}
    return ServicePolicy(service_id=service_id, tier=tier, weight=Decimal(weight), **given)


def a_policy(*places: ServicePolicy, **changes: Any) -> RoutingPolicy:
    return RoutingPolicy(services=places, **changes)
