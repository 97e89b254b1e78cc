"""The trading desk of the Binance twin: placing, looking up and cancelling orders.

Source: `services/binance.md` sections 5 to 8. A client order id is unique among open orders only: after a fill it is
accepted again and trades again. Inferred here: of several orders with one client id the newest is found; the text of
-2039; a resting order never fills, however the market moves.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.binance_account import COMMISSION, Account
from converter.sandbox.twins.binance_auth import BinanceError, Endpoint, Params, ServerClock, flat
from converter.sandbox.twins.binance_book import SERVICE_ID, Book, Symbol, eight
from converter.sandbox.twins.binance_matching import fill_of, match, spends
from converter.sandbox.twins.binance_orders import OPEN, Fill, SpotOrder, read_form

_DEFAULT_LIMIT, _MAX_LIMIT = 500, 1000


class TradingDesk:
    """All orders of the account."""

    def __init__(self, world: World, clock: ServerClock, book: Book, account: Account) -> None:
        self.hidden_lookups = 0
        self._world = world
        self._clock = clock
        self._book = book
        self._account = account
        self._orders: dict[int, SpotOrder] = {}
        # Numbers that no earlier run of the sandbox has given out, far below 2^53.
        self._last_order = self._last_trade = int(world.now() * 1000)

    def endpoints(self) -> list[Endpoint]:
        """Orders and trades."""
        order = "/api/v3/order"
        return [
            Endpoint("POST", order, "order", self._place, flat(1), signed=True, executes=True),
            Endpoint("POST", "/api/v3/order/test", "info", self._test, _test_weight, signed=True),
            Endpoint("GET", order, "status", self._look_up, flat(4), signed=True),
            Endpoint("DELETE", order, "cancel", self._cancel, flat(1), signed=True, executes=True),
            Endpoint("GET", "/api/v3/openOrders", "status", self._open_orders, _open_weight, signed=True),
            Endpoint("GET", "/api/v3/allOrders", "status", self._all_orders, flat(20), signed=True),
            Endpoint("GET", "/api/v3/myTrades", "status", self._trades, _trades_weight, signed=True),
        ]

    def describe(self) -> dict[str, Any]:
        """Figures for the sandbox's control interface."""
        return {
            "hide_lookups": self.hidden_lookups,
            "orders": len(self._orders),
            "open_orders": [order.view() for order in self._orders.values() if order.status in OPEN],
        }

    def _place(self, params: Params) -> dict[str, Any]:
        form = read_form(params, self._book)
        if any(form.client_id == order.client_id and order.status in OPEN for order in self._orders.values()):
            raise BinanceError(-2010, "Duplicate order sent.")
        taken, quantity, status, reason = match(form, self._book)
        self._account.need(*spends(form, taken, quantity))
        self._last_order += 1
        client_id = form.client_id or f"auto{self._last_order}"
        now = self._clock.ms()
        order = SpotOrder(form, self._last_order, client_id, quantity, now, status, reason, updated=now)
        for level in taken:
            self._last_trade += 1
            order.fills.append(fill_of(form, level, self._last_trade))
            self._settle(order, order.fills[-1])
        if status in OPEN:
            self._account.lock(*order.resting)
        self._orders[order.order_id] = order
        self._world.truth.executed(
            SERVICE_ID,
            "order",
            order_id=str(order.order_id),
            reference=client_id,
            symbol=form.symbol.name,
            side=form.side,
            executed_qty=order.executed,
            quote_qty=order.quote,
        )
        return order.placed_view(self._world.wrong_amount(SERVICE_ID))

    def _settle(self, order: SpotOrder, fill: Fill) -> None:
        symbol, sign = order.form.symbol, 1 if order.form.buys else -1
        self._account.add(symbol.base, sign * fill.quantity)
        self._account.add(symbol.quote, -sign * fill.quote)
        self._account.add(fill.commission_coin, -fill.commission)

    def _test(self, params: Params) -> dict[str, Any]:
        read_form(params, self._book)
        if params.values.get("computeCommissionRates") != "true":
            return {}
        none = {"maker": eight(Decimal(0)), "taker": eight(Decimal(0))}
        return {
            "standardCommissionForOrder": {"maker": eight(COMMISSION), "taker": eight(COMMISSION)},
            "specialCommissionForOrder": none,
            "taxCommissionForOrder": none,
            "discount": {
                "enabledForAccount": False,
                "enabledForSymbol": False,
                "discountAsset": "BNB",
                "discount": eight(Decimal(0)),
            },
        }

    def _look_up(self, params: Params) -> dict[str, Any]:
        symbol = self._book.symbol(params)
        found = self._find(params, symbol)
        if self.hidden_lookups:
            self.hidden_lookups -= 1
            found = None
        if found is None:
            raise BinanceError(-2013, "Order does not exist.")
        return found.lookup_view()

    def _cancel(self, params: Params) -> dict[str, Any]:
        symbol = self._book.symbol(params)
        order = self._find(params, symbol)
        if order is None or order.status not in OPEN:
            raise BinanceError(-2011, "Unknown order sent.")
        coin, amount = order.resting
        self._account.lock(coin, -amount)
        order.status, order.updated = "CANCELED", self._clock.ms()
        new_id = params.text("newClientOrderId") or f"cancel{order.order_id}"
        view = order.view() | {"origClientOrderId": order.client_id, "clientOrderId": new_id}
        self._world.truth.executed(
            SERVICE_ID, "cancel", order_id=str(order.order_id), reference=order.client_id, symbol=symbol.name
        )
        return view | {"transactTime": order.updated}

    def _find(self, params: Params, symbol: Symbol) -> SpotOrder | None:
        order_id, client_id = params.whole("orderId"), params.text("origClientOrderId")
        if order_id is None and client_id is None:
            raise BinanceError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        mine = [order for order in self._orders.values() if order.form.symbol == symbol]
        if order_id is None:
            return next((order for order in reversed(mine) if order.client_id == client_id), None)
        found = next((order for order in mine if order.order_id == order_id), None)
        if found is not None and client_id not in {None, found.client_id}:
            raise BinanceError(-2039, "Client order id and order id do not belong together.")
        return found

    def _open_orders(self, params: Params) -> list[dict[str, Any]]:
        symbol = self._book.symbol(params) if params.has("symbol") else None
        return [
            order.lookup_view()
            for order in self._orders.values()
            if order.status in OPEN and symbol in {None, order.form.symbol}
        ]

    def _all_orders(self, params: Params) -> list[dict[str, Any]]:
        symbol, limit = self._book.symbol(params), _limit(params)
        first = params.whole("orderId")
        rows = [
            order
            for order in self._orders.values()
            if order.form.symbol == symbol and order.order_id >= (first or 0) and _within(params, order.time)
        ]
        return [order.lookup_view() for order in (rows[-limit:] if first is None else rows[:limit])]

    def _trades(self, params: Params) -> list[dict[str, Any]]:
        symbol, limit = self._book.symbol(params), _limit(params)
        wanted, first = params.whole("orderId"), params.whole("fromId")
        rows = [
            _trade_view(order, fill)
            for order in self._orders.values()
            if order.form.symbol == symbol and wanted in {None, order.order_id} and _within(params, order.time)
            for fill in order.fills
            if fill.trade_id >= (first or 0)
        ]
        return rows[-limit:] if first is None else rows[:limit]


def _trade_view(order: SpotOrder, fill: Fill) -> dict[str, Any]:
    return {
        "symbol": order.form.symbol.name,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "price": eight(fill.price),
        "qty": eight(fill.quantity),
        "quoteQty": eight(fill.quote),
        "commission": eight(fill.commission),
        "commissionAsset": fill.commission_coin,
        "time": order.time,
        "isBuyer": order.form.buys,
        "isMaker": False,
        "isBestMatch": True,
    }


def _within(params: Params, moment: int) -> bool:
    start, end = params.whole("startTime"), params.whole("endTime")
    return (start is None or moment >= start) and (end is None or moment <= end)


def _limit(params: Params) -> int:
    limit = params.whole("limit")
    return _DEFAULT_LIMIT if limit is None else max(1, min(limit, _MAX_LIMIT))


def _test_weight(params: Params) -> int:
    return 20 if params.values.get("computeCommissionRates") == "true" else 1


def _open_weight(params: Params) -> int:
    return 6 if params.has("symbol") else 80


def _trades_weight(params: Params) -> int:
    return 5 if params.has("orderId") else 20
