"""Binance: trade what is in the spot account, then withdraw. Both calls move money and are signed.

The order is LIMIT FOK: the engine fills it whole at our bound or better, or not at all, so a moved market is a proven
refusal and a partial fill cannot happen. `newClientOrderId` is unique among open orders only: a repeat would trade
again, so an unknown order is looked up, never re-sent. The server refuses a request later than `timestamp +
recvWindow` and waits at most 10 s for its engine; hence the quiet period of 20 s, and two absent look-ups.

`withdrawOrderId` is documented as a filter of the history only. What a second use does is not found, so a withdrawal
is taken as not repeatable: it is looked up, over minutes, since the history may lag. Withdrawn is everything that
the trade brought; the fee of the network is taken off by the service. A withdrawal that the service cancels, rejects or
fails leaves the coin in the account: a person decides.

Facts: Binance spot API documentation and the wallet part of its own SDK. Error codes that are not listed are unknown.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.money import EXACT, floor_to, plain
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Clock, Deadline
from converter.services.base import Call, HttpService, ServiceSettings, encode, milliseconds, text
from converter.services.binance_orders import check_ours, order_of, walk, with_withdrawal, withdrawable
from converter.services.binance_rules import HISTORY_LIFE, Network, Rules, Symbol, ceil_to, known_error
from converter.transport.http import HttpAnswer

NETWORKS = {("BTC", "BTC"): "BTC", ("ETH", "ETH"): "ETH"}
"""Asset -> network code of the service; the coin's ticker is the same."""

QUOTE_LIFE = timedelta(seconds=15)
RECV_WINDOW = 5000


class Binance(HttpService):
    """See the module. Keys: `api_key`, `secret_key`. Options: `takerFee`, `historyLife` (seconds)."""

    capabilities = Capabilities(
        service_id="binance",
        title="Binance",
        commits_on=OperationKind.ORDER,
        rules={
            OperationKind.ORDER: OperationRule(moves_money=True, quiet=timedelta(seconds=20), absences=2),
            OperationKind.WITHDRAWAL: OperationRule(moves_money=True, quiet=timedelta(minutes=5), absences=3),
        },
        firm_quotes=False,
        keys=("api_key", "secret_key"),
        minimum={"ETH": Decimal("0.001"), "BTC": Decimal("0.0001")},
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        history_life = float(settings.options.get("historyLife", HISTORY_LIFE))
        self._rules = Rules(self._read_public, self._read_signed, clock, history_life)

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both assets have a network code here and differ in coin."""
        known = (from_asset.coin, from_asset.network) in NETWORKS and (to_asset.coin, to_asset.network) in NETWORKS
        return known and from_asset.coin != to_asset.coin

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Walk the book for the whole amount, take off the commission and the withdrawal fee. Not firm."""
        symbol, selling = self._tradable(request, deadline)
        network = self._withdrawal(request, deadline)
        query = encode({"symbol": symbol.name, "limit": "100"})
        book = self._read_public("quote", "/api/v3/depth", query, deadline)
        with self._parsing("quote"):
            walked = walk(symbol, request.amount, book["bids" if selling else "asks"], selling=selling)
        if walked is None:
            raise ServiceRejected("binance", "quote", detail="the book does not cover the amount")
        received = withdrawable(request.amount, (symbol, network), walked, self._kept)
        fees = (Fee("service", EXACT.multiply(walked.gross, 1 - self._kept)), Fee("withdrawal", network.fee))
        net = min(net_of(walked.gross, fees, request.to_asset), EXACT.subtract(received, network.fee))
        expires_at = self._clock.now() + QUOTE_LIFE
        return Quote("binance", request, walked.gross, fees, net, firm=False, expires_at=expires_at)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Trade, whole or not at all, at the bound that still brings `minimum_net`. Moves money."""
        symbol, selling = self._tradable(order, deadline)
        network = self._withdrawal(order, deadline)
        # What cannot be withdrawn afterwards must not be traded: the proceeds reach the withdrawal's minimum as well.
        least = EXACT.add(order.minimum_net if selling else order.net, network.fee)
        least = EXACT.divide(ceil_to(max(least, network.minimum), network.step), self._kept)
        if selling:
            quantity = floor_to(order.amount, symbol.step)
            if not quantity:
                raise AmountOutOfRange("binance", "order", minimum=symbol.step)
            price = ceil_to(EXACT.divide(least, quantity), symbol.tick)
        else:
            quantity = ceil_to(least, symbol.step)
            price = floor_to(EXACT.divide(order.amount, quantity), symbol.tick)
        params = {
            "symbol": symbol.name,
            "side": "SELL" if selling else "BUY",
            "type": "LIMIT",
            "timeInForce": "FOK",
            "quantity": plain(quantity),
            "price": plain(price),
            "newClientOrderId": order.key,
            "newOrderRespType": "FULL",
        }
        body = self._execute(self._signed("order", "POST", "/api/v3/order", params, deadline), deadline)
        with self._parsing("order", executed=True):
            order_id = check_ours(body, order, params)
            placed = order_of(OrderRef(order, order_id), body, body["fills"], selling=selling)
        if placed.status is OrderStatus.REJECTED:
            raise QuoteExpired("binance", "order", code=placed.detail)
        return placed

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Withdraw what the trade brought. Moves money."""
        request = order.ref.request
        network = self._withdrawal(request, deadline)
        if order.filled is None or order.ref.step_key is None:
            raise ServiceUnavailable("binance", "withdraw", detail="the trade's proceeds are not known yet")
        params = {
            "coin": request.to_asset.coin,
            "network": _network(request.to_asset),
            "address": request.address,
            "amount": plain(floor_to(order.filled, network.step)),
            "withdrawOrderId": order.ref.step_key,
            "walletType": "0",
        }
        call = self._signed("withdraw", "POST", "/sapi/v1/capital/withdraw/apply", params, deadline)
        body = self._execute(call, deadline)
        with self._parsing("withdraw", executed=True):
            text(body["id"])
        return Order(order.ref, OrderStatus.PAYING_OUT, filled=order.filled)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By our client order id; then, when it is filled, its withdrawal by our withdrawal id."""
        symbol, selling = self._symbol(ref.request, deadline)
        params = {"symbol": symbol.name, "origClientOrderId": ref.request.key}
        try:
            body = self._read_signed("status", "/api/v3/order", params, deadline)
        except ServiceRejected as error:
            if error.code == "-2013":
                return None
            raise
        with self._parsing("status"):
            order_id = check_ours(body, ref.request, {"symbol": symbol.name, "side": "SELL" if selling else "BUY"})
            found = OrderRef(ref.request, order_id, ref.step_key)
            filled = body["status"] == "FILLED"
        fills: Any = []
        if filled:
            trades = {"symbol": symbol.name, "orderId": order_id}
            fills = self._read_signed("status", "/api/v3/myTrades", trades, deadline)
        with self._parsing("status"):
            order = order_of(found, body, fills, selling=selling)
        if order.status is OrderStatus.FILLED and ref.step_key is not None:
            return self._with_withdrawal(order, deadline)
        return order

    def check_health(self, deadline: Deadline) -> None:
        """The system is not in maintenance."""
        body = self._read_public("health", "/sapi/v1/system/status", "", deadline)
        with self._parsing("health"):
            if body["status"] != 0:
                raise ServiceUnavailable("binance", "health", detail="maintenance")

    def _with_withdrawal(self, order: Order, deadline: Deadline) -> Order:
        """The order with its withdrawal, if the history has it."""
        request = order.ref.request
        rows, read_now = self._rules.withdrawals(request.to_asset.coin, milliseconds(request.prepared_at), deadline)
        with self._parsing("status"):
            found = with_withdrawal(order, rows, _network(request.to_asset))
        if found.status is OrderStatus.FILLED and not read_now:
            raise ServiceUnavailable("binance", "status", detail="the history was read a moment too early to tell")
        return found

    def _symbol(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> tuple[Symbol, bool]:
        """The pair, halted or not, and whether we sell its base."""
        symbol = None
        if self.supports(request.from_asset, request.to_asset):
            symbol = self._rules.symbol(request.from_asset.coin, request.to_asset.coin, deadline)
        if symbol is None:
            raise PairNotSupported("binance", "quote")
        return symbol, symbol.base == request.from_asset.coin

    def _tradable(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> tuple[Symbol, bool]:
        symbol, selling = self._symbol(request, deadline)
        if not symbol.tradable:
            raise PairNotSupported("binance", "quote", detail="not traded now")
        return symbol, selling

    def _withdrawal(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> Network:
        return self._rules.network(request.to_asset.coin, _network(request.to_asset), deadline)

    @property
    def _kept(self) -> Decimal:
        """The share of the proceeds that the commission leaves."""
        return 1 - Decimal(self._settings.options.get("takerFee", "0.001"))

    def _read_public(self, operation: str, path: str, query: str, deadline: Deadline) -> Any:
        return self._read(Call(operation, "GET", path, query), deadline)

    def _read_signed(self, operation: str, path: str, params: dict[str, str], deadline: Deadline) -> Any:
        return self._read(self._signed(operation, "GET", path, params, deadline), deadline)

    def _signed(self, operation: str, method: str, path: str, params: dict[str, str], deadline: Deadline) -> Call:
        """Sign a call. The timestamp is taken here, before `send_by` is checked for the last time: a pause after this
        makes the request stale, and the server refuses it."""
        stamp = {"recvWindow": str(RECV_WINDOW), "timestamp": str(self._rules.server_time(deadline))}
        payload = encode({**params, **stamp})
        secret = self._settings.keys["secret_key"].encode()
        signature = hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()
        signed, headers = f"{payload}&signature={signature}", {"X-MBX-APIKEY": self._settings.keys["api_key"]}
        if method == "GET":
            return Call(operation, method, path, signed, headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Call(operation, method, path, "", headers, signed.encode())

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status in (418, 429):
            return self._limited(operation, answer)
        body = answer.json()
        code, message = body["code"], str(body["msg"])
        if answer.status >= 500 or "duplicat" in message.lower():
            return None
        if code == -1021:
            self._rules.forget_time()
            return ServiceUnavailable("binance", operation, code=str(code), detail="our clock is off")
        return known_error(operation, code)


def _network(asset: Asset) -> str:
    return NETWORKS[asset.coin, asset.network]
