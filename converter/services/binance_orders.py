"""Reading Binance's answers about an order, its fills and its withdrawal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from converter.domain.errors import IntegrityMismatch, MalformedResponse
from converter.domain.money import plain
from converter.domain.orders import Order, OrderRef, OrderRequest, OrderStatus
from converter.services.base import exact

_OPEN = {"NEW", "PENDING_NEW", "PARTIALLY_FILLED"}
_ENDED = {"CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"}
"""Ended does not mean that nothing happened: `executedQty` says it."""

_RETURNED = {1: "cancelled", 3: "rejected", 5: "failed"}
"""Withdrawals whose money is back in the account (1 and 5 only in older documentation)."""
_PAID = 6


def check_ours(body: Any, order: OrderRequest, sent: Mapping[str, str]) -> None:
    """Raise IntegrityMismatch unless the answer speaks of our order, and of the quantity that we sent."""
    same = body["clientOrderId"] == order.key and all(body[name] == sent[name] for name in ("symbol", "side"))
    if not same or ("quantity" in sent and exact(body["origQty"]) != exact(sent["quantity"])):
        raise IntegrityMismatch("binance", "order", detail="symbol, side, id or quantity are not ours")
    if exact(body["executedQty"]) > exact(body["origQty"]):
        raise IntegrityMismatch("binance", "order", detail="more was executed than ordered")


def order_of(ref: OrderRef, body: Any, fills: Any, *, selling: bool) -> Order:
    """The order; `filled` is what it brought, less the commission where that was taken in the same coin."""
    status, executed = body["status"], exact(body["executedQty"])
    if status == "FILLED":
        received = exact(body["cummulativeQuoteQty"]) if selling else executed
        for fill in fills:
            if fill["commissionAsset"] == ref.request.to_asset.coin:
                received -= exact(fill["commission"])
        return Order(ref, OrderStatus.FILLED, filled=received)
    if status in _OPEN:
        return Order(ref, OrderStatus.OPEN, detail=status)
    if status not in _ENDED:
        raise MalformedResponse("binance", "status", detail=f"unknown status {str(status)[:40]!r}")
    ended = OrderStatus.REJECTED if executed == 0 else OrderStatus.HELD
    return Order(ref, ended, detail=f"{status} after {plain(executed)}")


def with_withdrawal(order: Order, rows: Any) -> Order:
    """The filled order with its withdrawal, if the history has it. An unknown status is still open."""
    request = order.ref.request
    ours = [row for row in rows if row["withdrawOrderId"] == order.ref.step_key]
    if not ours:
        return order
    row = ours[0]
    if len(ours) > 1 or row["address"] != request.address or row["coin"] != request.to_asset.coin:
        raise IntegrityMismatch("binance", "withdraw", detail="the withdrawal is not the one we asked for")
    order = replace(order, txid=row.get("txId") or "")
    if row["status"] == _PAID:
        return replace(order, status=OrderStatus.SETTLED, delivered=exact(row["amount"]))
    if row["status"] in _RETURNED:
        detail = f"withdrawal {_RETURNED[row['status']]} {row.get('info') or ''}".strip()
        return replace(order, status=OrderStatus.HELD, detail=detail)
    return replace(order, status=OrderStatus.PAYING_OUT)
