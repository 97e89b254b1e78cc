"""One trade at Binance: its pair, its book, sending it, finding it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from converter.domain.errors import QuoteExpired, ServiceRejected
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.ports import Deadline
from converter.services.base import encode
from converter.services.binance_orders import Walk, check_ours, order_of, walk
from converter.services.binance_rules import Leg
from converter.services.binance_wire import BinanceWire


class BinanceTrades(BinanceWire):
    """What both trades of a route have in common."""

    @property
    def _kept(self) -> Decimal:
        """The share of the proceeds that the commission leaves."""
        return 1 - Decimal(self._settings.options.get("takerFee", "0.001"))

    def _pair(self, one: str, other: str, deadline: Deadline) -> Leg | None:
        """The trade of one coin for the other, halted or not; None when there is no such pair."""
        symbol = self._rules.symbol(one, other, deadline)
        return None if symbol is None else Leg(symbol, symbol.base == one, other)

    def _walked(self, leg: Leg, amount: Decimal, deadline: Deadline, *, operation: str = "quote") -> Walk:
        query = encode({"symbol": leg.symbol.name, "limit": "100"})
        book = self._read_public(operation, "/api/v3/depth", query, deadline)
        with self._parsing(operation):
            walked = walk(leg.symbol, amount, book["bids" if leg.selling else "asks"], selling=leg.selling)
        if walked is None:
            raise ServiceRejected("binance", operation, detail="the book does not cover the amount")
        return walked

    def _trade(self, ref: OrderRef, leg: Leg, params: Mapping[str, str], deadline: Deadline) -> Order:
        """Send an order. Moves money. Raises QuoteExpired when it was not filled."""
        body = self._execute(self._signed("order", "POST", "/api/v3/order", dict(params), deadline), deadline)
        with self._parsing("order", executed=True):
            order_id = check_ours(body, params["newClientOrderId"], params)
            placed = order_of(_of(ref, order_id), leg, body, body["fills"])
        if placed.status is OrderStatus.REJECTED:
            raise QuoteExpired("binance", "order", code=placed.detail)
        return placed

    def _found(self, ref: OrderRef, leg: Leg, key: str, deadline: Deadline) -> Order | None:
        """The order that was sent under this key; None when there is none."""
        params = {"symbol": leg.symbol.name, "origClientOrderId": key}
        try:
            body = self._read_signed("status", "/api/v3/order", params, deadline)
        except ServiceRejected as error:
            if error.code == "-2013":
                return None
            raise
        with self._parsing("status"):
            order_id = check_ours(body, key, {"symbol": leg.symbol.name, "side": "SELL" if leg.selling else "BUY"})
            filled = body["status"] == "FILLED"
        fills: Any = []
        if filled:
            trades = {"symbol": leg.symbol.name, "orderId": order_id}
            fills = self._read_signed("status", "/api/v3/myTrades", trades, deadline)
        with self._parsing("status"):
            return order_of(_of(ref, order_id), leg, body, fills)


def _of(ref: OrderRef, order_id: str) -> OrderRef:
    """The order is named by its first trade."""
    return replace(ref, service_order_id=ref.service_order_id or order_id)
