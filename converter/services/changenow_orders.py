"""What ChangeNOW says about orders, read and held against ours, and its codes of the coins."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.domain.cashaddr import prefixed
from converter.domain.coins import Asset
from converter.domain.errors import IntegrityMismatch, MalformedResponse, PairNotSupported
from converter.domain.money import floor_unit
from converter.domain.orders import Deposit, Order, OrderRef, OrderRequest, OrderStatus, Refund
from converter.domain.quotes import QuoteRequest
from converter.services.base import exact, text

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
"""Asset -> ticker and network of the service; None: known here, and not converted. Networks beside those of BTC, ETH
and USDT are from public clients, as is one called `lightning`, which a key may or may not use. KAS and ERG were not
found."""

STATUS = {
    "new": OrderStatus.AWAITING_DEPOSIT,
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


def order_of(ref: OrderRef, body: Any, amount_field: str, refund_address: str) -> Order:
    """Parse an order and hold it against the request; IntegrityMismatch when it is not ours. `refund_address` is the
    one that we gave, empty if none."""
    check_ours("order", ref.request, body, amount_field)
    named = (body["id"], body["payoutAddress"], body.get("payoutExtraId") or "")
    if named != (ref.service_order_id, ref.request.address, ""):
        raise IntegrityMismatch("changenow", "order", detail="id or address are not ours")
    status = STATUS.get(body["status"])
    if status is None:
        raise MalformedResponse("changenow", "status", detail=f"unknown status {str(body['status'])[:40]!r}")
    delivered = exact(body["amountTo"]) if status is OrderStatus.SETTLED else None
    if delivered is not None and delivered <= 0:
        raise ValueError("no amount")
    return Order(
        ref=ref,
        status=status,
        deposit=Deposit(
            address=_whole(ref.request, text(body["payinAddress"])),
            amount=sendable(ref.request),
            memo=text(body["payinExtraId"]) if body.get("payinExtraId") else "",
            valid_until=_end(body.get("validUntil")),
        ),
        delivered=delivered,
        txid=str(body.get("payoutHash") or body.get("refundHash") or ""),
        detail=str(body["status"]),
        refund=_refund(body, refund_address) if status is OrderStatus.REFUNDED else None,
    )


def _refund(body: Any, address: str) -> Refund | None:
    """A refund as far as it is told; None when we gave no address, since then it went to one that is not ours."""
    amount = None if body.get("refundAmount") is None else exact(body["refundAmount"])
    if amount is not None and amount <= 0:
        raise ValueError("no amount")
    return Refund(address, amount, text(body["refundHash"]) if body.get("refundHash") else "") if address else None


def _end(value: Any) -> datetime | None:
    """A moment, in UTC unless it says otherwise; None where the service names none."""
    if value is None:
        return None
    end = datetime.fromisoformat(text(value))
    return end if end.tzinfo else end.replace(tzinfo=UTC)


def check_ours(operation: str, request: QuoteRequest | OrderRequest, body: Any, amount_field: str) -> None:
    """Raises IntegrityMismatch unless coins, networks and amount are those that we asked for."""
    same = all(body[name] == code for name, code in pair_of(request).items())
    if not same or exact(body[amount_field]) != sendable(request):
        raise IntegrityMismatch("changenow", operation, detail="coins or amount are not ours")


def fits(row: Any, request: OrderRequest) -> bool:
    """Whether a row of the partner's list is of the same coins, amount and address."""
    payin, payout, pair = row["payin"], row["payout"], pair_of(request)
    coins = (payin["currency"], payout["currency"]) == (pair["fromCurrency"], pair["toCurrency"])
    return coins and payout["address"] == request.address and exact(payin["expectedAmount"]) == sendable(request)


def pair_of(request: QuoteRequest | OrderRequest) -> dict[str, str]:
    """The pair as the service writes it; both sides have a code."""
    (ticker, network), (to_ticker, to_network) = (_code(one) for one in (request.from_asset, request.to_asset))
    return {"fromCurrency": ticker, "fromNetwork": network, "toCurrency": to_ticker, "toNetwork": to_network}


def sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    """The amount as it is sent: 8 decimals are safe; what is kept beyond them is not published."""
    return floor_unit(request.amount, 8)


def key_of(row: Any) -> str:
    """Our key in a listed order, where the service carries it."""
    info = row.get("partnerInfo") or {}
    return str((info.get("payload") or {}).get("ref") or info.get("userId") or "")


def _code(asset: Asset) -> tuple[str, str]:
    code = CODES[asset.coin, asset.network]
    if code is None:
        raise PairNotSupported("changenow", "order")
    return code


def _whole(request: OrderRequest, address: str) -> str:
    """A deposit address as we write it: a scheme may stand before it, and belongs there on Bitcoin Cash only."""
    bare = address.rpartition(":")[2]
    return prefixed(bare) if request.from_asset.network == "BCH" else bare
