"""The Kraken twin's lists of trades. Source: `services/kraken.md` section 9; the rows' shape is inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.sandbox.twins.kraken_auth import Endpoint, KrakenError, Params
from converter.sandbox.twins.kraken_orders import PAGE, Order, Trade


class TradeLists:
    """Reads the trades out of the orders."""

    def __init__(self, orders: Mapping[str, Order]) -> None:
        self._orders = orders

    def endpoints(self) -> list[Endpoint]:
        """They cost two calls each."""
        return [
            Endpoint("/0/private/TradesHistory", "status", self._history, 2),
            Endpoint("/0/private/QueryTrades", "status", self._query, 2),
        ]

    def _history(self, params: Params) -> dict[str, Any]:
        start, offset = params.whole("start", 0), params.whole("ofs", 0)
        rows = [(order, trade) for order, trade in self._trades() if order.opened >= start][::-1]
        page = rows[offset : offset + PAGE]
        return {"trades": {trade.trade_id: _view(order, trade) for order, trade in page}, "count": len(rows)}

    def _query(self, params: Params) -> dict[str, Any]:
        wanted = params.need("txid").split(",")
        rows = {trade.trade_id: (order, trade) for order, trade in self._trades()}
        if not any(trade_id in rows for trade_id in wanted):
            raise KrakenError("EGeneral:Invalid arguments:txid")
        return {trade_id: _view(*rows[trade_id]) for trade_id in wanted if trade_id in rows}

    def _trades(self) -> list[tuple[Order, Trade]]:
        return [(order, trade) for order in self._orders.values() for trade in order.trades]


def _view(order: Order, trade: Trade) -> dict[str, Any]:
    form = order.form
    return {
        "ordertxid": order.txid,
        "pair": form.pair.pair_id,
        "time": order.opened,
        "type": "buy" if form.buys else "sell",
        "ordertype": form.kind,
        "price": f"{trade.price:f}",
        "cost": f"{trade.cost:f}",
        "fee": f"{trade.fee:f}",
        "vol": f"{trade.volume:.8f}",
        "margin": "0.00000000",
        "misc": "",
    }
