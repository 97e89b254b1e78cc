"""What BTCPay Server says about payouts, read and held against ours; where it can pay to.

Of its destinations, and what it does with a second payout to one while the first is neither completed nor cancelled:

* an address on the chain: refused, by the address;
* a BOLT11 invoice: refused, by its payment hash, which a node pays once;
* LNURL and lightning addresses: taken. Each try fetches an invoice of its own, so a repeat is a second payment.
"""

from __future__ import annotations

from typing import Any

from converter.domain.errors import IntegrityMismatch, MalformedResponse
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.services.base import exact

CODES = {
    ("BTC", "BTC"): "BTC",
    ("BTC", "LIGHTNING"): "BTC",
    ("ETH", "ETH"): "ETH",
    ("ETC", "ETC"): "ETC",
    ("LTC", "LTC"): "LTC",
    ("BCH", "BCH"): "BCH",
    ("DOGE", "DOGE"): "DOGE",
    ("RVN", "RVN"): "RVN",
    ("XMR", "XMR"): "XMR",
    ("ZEC", "ZEC"): "ZEC",
    ("KAS", "KAS"): "KAS",
    ("ERG", "ERG"): "ERG",
    ("USDT", "TRX"): "USDT",
    ("USDT", "ETH"): "USDT",
}
"""Asset -> the ticker by which the store's rates name it. Whether there is a rate is for the store's sources to say."""

METHODS = {"BTC": "BTC-CHAIN", "LIGHTNING": "BTC-LN"}
"""Network of the destination -> payout method."""

STATES = {
    "AwaitingApproval": OrderStatus.AWAITING_APPROVAL,
    "AwaitingPayment": OrderStatus.PAYING_OUT,
    "InProgress": OrderStatus.PAYING_OUT,
    "Completed": OrderStatus.SETTLED,
    "Cancelled": OrderStatus.REJECTED,
}


def order_of(ref: OrderRef, body: Any) -> Order:
    """Parse a payout and hold it against the request; IntegrityMismatch when it is not ours."""
    request, status, paid = ref.request, STATES.get(body["state"]), body["payoutAmount"]
    ours = (request.address, METHODS[request.to_asset.network], "BTC", "BTC")
    found = tuple(body[name] for name in ("destination", "payoutMethodId", "originalCurrency", "payoutCurrency"))
    same = exact(body["originalAmount"]) == request.net and (paid is None or exact(paid) == request.net)
    if found != ours or not same:
        raise IntegrityMismatch("btcpay_lightning", "order", detail="destination or amount are not ours")
    if status is None:
        raise MalformedResponse("btcpay_lightning", "status", detail=f"unknown state {str(body['state'])[:40]!r}")
    proof = {str(name).lower(): value for name, value in (body.get("paymentProof") or {}).items()}
    if paid is None and status in (OrderStatus.PAYING_OUT, OrderStatus.SETTLED):
        raise ValueError("no amount")
    return Order(
        ref=ref,
        status=status,
        delivered=exact(paid) if status is OrderStatus.SETTLED else None,
        txid=str(proof.get("transactionid") or proof.get("paymenthash") or ""),
        detail=str(body["state"]),
        untouched=status is OrderStatus.REJECTED and paid is None,  # the amount is set by the approval
    )


def is_recognised(destination: str, network: str) -> bool:
    """Whether the server recognises a repeated payment to a destination: all but LNURL and lightning addresses."""
    named = destination.lower().removeprefix("lightning:")
    return network != "LIGHTNING" or (named.startswith("lnbc") and "@" not in named)
