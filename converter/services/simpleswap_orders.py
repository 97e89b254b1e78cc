"""What SimpleSwap says about pairs, exchanges and refusals, read and held against what we asked for."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from converter.domain.cashaddr import prefixed
from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    IntegrityMismatch,
    MalformedResponse,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import floor_unit
from converter.domain.orders import Deposit, Order, OrderRef, OrderRequest, OrderStatus, Refund
from converter.domain.quotes import QuoteRequest
from converter.services.base import exact, moment, text

CODES: dict[tuple[str, str], tuple[str, str] | None] = {
    ("BTC", "BTC"): ("btc", "btc"),
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): ("eth", "eth"),
    ("ETC", "ETC"): ("etc", "etc"),
    ("LTC", "LTC"): ("ltc", "ltc"),
    ("BCH", "BCH"): ("bch", "bch"),
    ("DOGE", "DOGE"): ("doge", "doge"),
    ("RVN", "RVN"): ("rvn", "rvn"),
    ("XMR", "XMR"): ("xmr", "xmr"),
    ("ZEC", "ZEC"): ("zec", "zec"),
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): ("usdt", "trx"),
    ("USDT", "ETH"): ("usdt", "eth"),
}
"""Asset -> ticker and network of the service; None: known to us, not supported there as far as is established."""

CONTRACTS = {
    ("USDT", "TRX"): "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    ("USDT", "ETH"): "0xdac17f958d2ee523a2206206994597c13d831ec7",
}
"""Token -> its contract, by which the service's list must know the ticker."""

STATUS = {
    "waiting": OrderStatus.AWAITING_DEPOSIT,
    "confirming": OrderStatus.OPEN,
    "exchanging": OrderStatus.OPEN,
    "sending": OrderStatus.PAYING_OUT,
    "finished": OrderStatus.SETTLED,
    "verifying": OrderStatus.HELD,
    "failed": OrderStatus.HELD,
    "refunded": OrderStatus.REFUNDED,
    "expired": OrderStatus.EXPIRED,
}

_LIMIT = r"\s*:?\s*(\d{1,30}(?:\.\d{1,30})?)"


def converts(from_asset: Asset, to_asset: Asset) -> bool:
    """Two assets with a code each."""
    codes = [CODES.get((one.coin, one.network)) for one in (from_asset, to_asset)]
    return None not in codes and codes[0] != codes[1]


def pair_of(request: QuoteRequest | OrderRequest) -> dict[str, str]:
    """The pair as the service writes it. Raises PairNotSupported."""
    sender, receiver = (CODES.get((one.coin, one.network)) for one in (request.from_asset, request.to_asset))
    if sender is None or receiver is None or sender == receiver:
        raise PairNotSupported("simpleswap", "quote")
    names = {"tickerFrom": sender[0], "networkFrom": sender[1]}
    return {**names, "tickerTo": receiver[0], "networkTo": receiver[1]}


def sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    """The amount in eight decimals at most; what is finer stays with the pool."""
    return floor_unit(request.amount, 8)


def result_of(body: Any) -> Any:
    """What an answer is about; a single exchange may come without its envelope."""
    return body.get("result", body)


def id_of(body: Any) -> str:
    """The id of an exchange, which goes by two names."""
    return text(body.get("id") or body.get("publicId"))


def end_of(body: Any) -> datetime | None:
    """Until when an offer or a deposit address holds, if the answer names an end."""
    end = body.get("validUntil") or body.get("valid_until")
    return moment(end) if end else None


def order_of(ref: OrderRef, body: Any, refund_address: str) -> Order:
    """Parse an exchange and hold it against the request; IntegrityMismatch when it is not ours."""
    request = ref.request
    coins = all(body[name] == code for name, code in pair_of(request).items())
    named = (id_of(body), body["addressTo"], body.get("extraIdTo") or "")
    if not coins or named != (ref.service_order_id, request.address, ""):
        raise IntegrityMismatch("simpleswap", "order", detail="id, coins or address are not ours")
    if exact(body["amountFrom"]) != sendable(request) or body.get("type", "fixed") != "fixed":
        raise IntegrityMismatch("simpleswap", "order", detail="amount or kind of rate are not ours")
    status = STATUS.get(body["status"])
    if status is None:
        raise MalformedResponse("simpleswap", "status", detail=f"unknown status {str(body['status'])[:40]!r}")
    txid, delivered = _named(body, "txTo"), None
    if status is OrderStatus.SETTLED:
        delivered = exact(body["amountTo"])
        if delivered <= 0 or not txid:
            raise ValueError("finished without an amount or a transaction")
    refunded = status is OrderStatus.REFUNDED
    return Order(
        ref=ref,
        status=status,
        deposit=Deposit(
            address=_whole(request, text(body["addressFrom"])),
            amount=sendable(request),
            memo=_named(body, "extraIdFrom"),
            valid_until=end_of(body),
        ),
        delivered=delivered,
        txid="" if refunded else txid,
        detail=str(body["status"]),
        refund=_refund(body, refund_address, txid) if refunded else None,
    )


def _refund(body: Any, address: str, txid: str) -> Refund | None:
    """A refund to our address; None when it cannot have gone there. No answer tells its amount."""
    told = _named(body, "userRefundAddress") or address
    return Refund(address, None, txid) if address and told == address else None


def _named(body: Any, name: str) -> str:
    """A field that is empty until there is something to say; ValueError for what is no text."""
    value = body.get(name)
    return "" if value in (None, "") else text(value)


def refusal(operation: str, status: int, words: str) -> ServiceError:
    """What the service's words, in lower case, tell of a refusal; a refusal it is in any case."""
    if "range" in words:
        least, most = (re.search(rf"\b{end}{_LIMIT}", words) for end in ("min", "max"))
        limits = {"minimum": least and Decimal(least[1]), "maximum": most and Decimal(most[1])}
        return AmountOutOfRange("simpleswap", operation, **limits)
    if status == 404 or re.search(r"\bpair\b", words):
        return PairNotSupported("simpleswap", operation, code=str(status))
    if re.search(r"\brate(_?id)?\b", words):
        return QuoteExpired("simpleswap", operation, code=str(status))
    return ServiceRejected("simpleswap", operation, code=str(status))


def _whole(request: OrderRequest, address: str) -> str:
    """A deposit address as we write it: a scheme may stand before it, and belongs there on Bitcoin Cash only."""
    bare = address.rpartition(":")[2]
    return prefixed(bare) if request.from_asset.network == "BCH" else bare
