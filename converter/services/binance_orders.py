"""Reading Binance's answers about the book, an order, its fills and its withdrawal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from converter.domain.errors import AmountOutOfRange, IntegrityMismatch, MalformedResponse
from converter.domain.money import EXACT, floor_to, floor_unit, plain
from converter.domain.order_book import buy_from, sell_into
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.services.base import exact, text
from converter.services.binance_rules import UNIT, Leg, Network, Symbol

_OPEN = {"NEW", "PENDING_NEW", "PARTIALLY_FILLED"}
_ENDED = {"CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"}
"""Ended does not mean that nothing happened: `executedQty` says it."""

_RETURNED = {1: "cancelled", 3: "rejected", 5: "failed"}
"""Withdrawals whose money is back in the account (1 and 5 only in older documentation)."""
_PAID = 6

PAGE = 1000
"""Rows of one page of the history; what a full page does not show may be on the next."""


@dataclass(frozen=True)
class Walk:
    """What the book gives for an amount at once: `quantity` of the base coin, `gross` of the to_coin."""

    selling: bool
    best_price: Decimal
    quantity: Decimal
    gross: Decimal


def walk(symbol: Symbol, amount: Decimal, rows: Any, *, selling: bool) -> Walk | None:
    """Walk the levels of the book; None when they do not cover the amount. ValueError for what is no level."""
    levels = [(exact(price), exact(size)) for price, size in rows]
    if any(min(level) <= 0 for level in levels):
        raise ValueError("no level")
    quantity = floor_to(amount, symbol.step) if selling else buy_from(levels, amount, symbol.step)
    gross = sell_into(levels, quantity) if selling and quantity is not None else quantity
    if quantity is None or gross is None:
        return None
    return Walk(selling, levels[0][0], quantity, gross)


def withdrawable(amount: Decimal, limits: tuple[Symbol, Network], walked: Walk, kept: Decimal) -> Decimal:
    """What can be withdrawn of the proceeds. Raises AmountOutOfRange, with the limit, when the filters of the pair
    or the limits of the withdrawal forbid the amount: what cannot leave must not be traded."""
    symbol, network = limits
    received = floor_to(EXACT.multiply(walked.gross, kept), network.step)
    if received > network.maximum:
        share = EXACT.divide(network.maximum, received)
        raise AmountOutOfRange("binance", "quote", maximum=floor_unit(EXACT.multiply(amount, share), 8))
    most = symbol.largest(amount, walked.quantity, selling=walked.selling)
    if most is not None:
        raise AmountOutOfRange("binance", "quote", maximum=most)
    least = max(network.minimum, EXACT.add(network.fee, max(network.step, UNIT)))
    notional = walked.gross if walked.selling else amount
    if walked.quantity < symbol.min_quantity or notional < symbol.min_notional or received < least:
        minimum = symbol.smallest(walked.best_price, EXACT.divide(least, kept), selling=walked.selling)
        raise AmountOutOfRange("binance", "quote", minimum=minimum)
    return received


def check_ours(body: Any, key: str, sent: Mapping[str, str]) -> str:
    """The service's id of the order. IntegrityMismatch unless the answer speaks of our order and of our quantity."""
    same = body["clientOrderId"] == key and all(body[name] == sent[name] for name in ("symbol", "side"))
    ordered, executed = exact(body["origQty"]), exact(body["executedQty"])
    if not same or ("quantity" in sent and ordered != exact(sent["quantity"])):
        raise IntegrityMismatch("binance", "order", detail="symbol, side, id or quantity are not ours")
    if executed > ordered or (body["status"] == "FILLED" and executed != ordered):
        raise IntegrityMismatch("binance", "order", detail="another quantity was executed than ordered")
    if not isinstance(body["orderId"], int) or executed < 0:
        raise ValueError("no id or no quantity")
    return str(body["orderId"])


def order_of(ref: OrderRef, leg: Leg, body: Any, fills: Any) -> Order:
    """The order; `filled` is what it brought, less the commission where that was taken in the same coin."""
    status, executed, quote = body["status"], exact(body["executedQty"]), exact(body["cummulativeQuoteQty"])
    if status == "FILLED":
        received = EXACT.subtract(quote if leg.selling else executed, _commission(leg, fills, executed, quote))
        if received <= 0:
            raise ValueError("it brought nothing")
        return Order(ref, OrderStatus.FILLED, filled=received)
    if status in _OPEN:
        return Order(ref, OrderStatus.OPEN, detail=status)
    if status not in _ENDED:
        raise MalformedResponse("binance", "status", detail=f"unknown status {str(status)[:40]!r}")
    if executed == 0 and quote > 0:
        raise ValueError("nothing was executed, but something was paid")
    ended = OrderStatus.REJECTED if executed == 0 else OrderStatus.HELD
    return Order(ref, ended, detail=f"{status} after {plain(executed)}")


def _commission(leg: Leg, fills: Any, executed: Decimal, quote: Decimal) -> Decimal:
    """What was taken off in the coin that the trade brought. ValueError unless the fills are all of the order's."""
    quantity = worth = taken = Decimal(0)
    for fill in fills:
        price, size, commission = exact(fill["price"]), exact(fill["qty"]), exact(fill["commission"])
        if min(price, size) <= 0 or commission < 0:
            raise ValueError("no fill")
        quantity, worth = EXACT.add(quantity, size), EXACT.add(worth, EXACT.fma(price, size, UNIT))
        if fill["commissionAsset"] == leg.brings:
            taken = EXACT.add(taken, commission)
    if quantity != executed:
        raise ValueError("the fills are not all of the order's")
    if quote > worth:
        raise IntegrityMismatch("binance", "order", detail="more was paid than the fills are worth")
    return taken


def with_withdrawal(order: Order, rows: Any, network: str) -> Order:
    """The filled order with its withdrawal, if the history has it. An unknown status is still open."""
    request = order.ref.request
    known = [row for row in list.copy(rows) if text(row["id"])]  # a TypeError for anything but a list of rows
    ours = [row for row in known if row.get("withdrawOrderId") == order.ref.step_key]
    if not ours:
        if len(rows) >= PAGE:
            raise MalformedResponse("binance", "status", detail="the history is longer than a page")
        return order
    row = ours[0]
    place = (row["address"], row["coin"], row.get("network", network))
    if len(ours) > 1 or place != (request.address, request.to_asset.coin, network):
        raise IntegrityMismatch("binance", "withdraw", detail="the withdrawal is not the one we asked for")
    paid, fee = exact(row["amount"]), exact(row["transactionFee"])
    if order.filled is not None and paid + fee > order.filled:
        raise IntegrityMismatch("binance", "withdraw", detail="more was withdrawn than the trade brought")
    if paid <= 0 or fee < 0:
        raise ValueError("no amount")
    order = replace(order, txid=row.get("txId") or "")
    if row["status"] == _PAID:
        return replace(order, status=OrderStatus.SETTLED, delivered=paid)
    if row["status"] in _RETURNED:
        detail = f"withdrawal {_RETURNED[row['status']]} {row.get('info') or ''}".strip()
        return replace(order, status=OrderStatus.HELD, detail=detail)
    return replace(order, status=OrderStatus.PAYING_OUT)
