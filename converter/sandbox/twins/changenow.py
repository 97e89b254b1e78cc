"""The ChangeNOW twin: exchange API v2 as `services/changenow.md` describes it, with a real deposit address.

A client asks `estimated-amount`, creates an order, sends the coins to `payinAddress` on the sandbox's chain, and
polls. There is no idempotency key: every POST makes an order, and every deposit is an exchange.

Facts from the sheet: header `x-changenow-api-key`; the list needs the private key, currencies and the address check
need none; amounts are JSON numbers; errors are `{"error", "message"}`; 30 requests a second per key. Inferred here:
HTTP 401 for a missing or wrong key and for a list that is not enabled, 404 for an unknown id, the body of a 429. The
v1 paths are not served.

Deposits of what no chain of the sandbox carries (USDT on TRON) are told with `configure({"deposits": {order id:
amount}})`. `final_factor` makes what is paid out differ from what was promised; `errors_under_200` answers a
refusal with HTTP 200.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from converter.sandbox.credentials import CHANGENOW_API_KEY, CHANGENOW_PRIVATE_KEY
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.changenow_assets import SERVICE_ID, ApiError, Asset, Prices, amount_of, number
from converter.sandbox.twins.changenow_info import Info, values_of
from converter.sandbox.twins.changenow_offers import Offers
from converter.sandbox.twins.changenow_orders import ENDINGS, Orders
from converter.sandbox.twins.changenow_views import ListQuery, created_view, status_view

_REQUESTS_PER_SECOND = 30
_REFUSALS = {
    "order": (400, "pair_is_inactive", "Pair is inactive"),
    "quote": (400, "pair_is_inactive", "Pair is inactive"),
    "refund": (400, "not_available", "Action is not available for this transaction"),
    "status": (403, "forbidden", "The transaction was made from another api key"),
    "info": (403, "forbidden", "Access denied"),
}
_SWITCHES = ("enabled_private_list", "errors_under_200")
_SETTINGS = {"ending", "minimum", "final_factor", "deposits", *_SWITCHES}
_Handler = Callable[[Request], Any]


class ChangeNowTwin:
    """ChangeNOW's exchange API over the sandbox's world."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self._world = world
        self._prices = Prices(world)
        self._orders = Orders(world, self._prices)
        self._info = Info(self._prices)
        self._offers = Offers(world, self._prices, self._orders)
        self._switches = {"enabled_private_list": True, "errors_under_200": False}
        self._calls: dict[str, deque[float]] = {CHANGENOW_API_KEY: deque(), CHANGENOW_PRIVATE_KEY: deque()}

    def routes(self) -> list[Route]:
        """Every path of API v2 that the twin serves."""
        table: list[tuple[str, str, str, _Handler]] = [
            ("GET", "/v2/exchange/currencies", "info", self._info.currencies),
            ("GET", "/v2/exchange/available-pairs", "info", self._info.pairs),
            ("GET", "/v2/validate/address", "info", self._info.validate_address),
            ("GET", "/v2/exchange/network-fee", "info", self._info.network_fee),
            ("GET", "/v2/exchange/min-amount", "quote", self._info.min_amount),
            ("GET", "/v2/exchange/range", "quote", self._info.amount_range),
            ("GET", "/v2/exchange/estimated-amount", "quote", self._estimate),
            ("POST", "/v2/exchange", "order", self._create),
            ("GET", "/v2/exchange/by-id", "status", self._by_id),
            ("GET", "/v2/exchanges", "status", self._list),
            ("GET", "/v2/exchange/actions", "status", self._actions),
            ("POST", "/v2/exchange/refund", "refund", self._refund),
            ("POST", "/v2/exchange/continue", "refund", self._continue),
        ]
        public = {"/v2/exchange/currencies", "/v2/validate/address"}
        return [
            Route(
                method,
                re.compile(f"^{re.escape(path)}$"),
                operation,
                self._guard(handle, keyless=path in public),
                executes=method == "POST",
            )
            for method, path, operation, handle in table
        ]

    def refusal(self, operation: str) -> Response:
        """A documented no; for a status call one that says nothing about the order."""
        status, error, message = _REFUSALS.get(operation, _REFUSALS["info"])
        return Response(status, {"error": error, "message": message})

    def tick(self) -> None:
        """See deposits and move the orders along."""
        self._orders.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`ending`, `minimum` {coin: text}, `final_factor`, `deposits` {order id: text} and two switches."""
        if strange := settings.keys() - _SETTINGS:
            raise ValueError(f"{min(strange)}: unknown field; accepted: {', '.join(sorted(_SETTINGS))}")
        if settings.get("ending", "finished") not in ENDINGS:
            raise ValueError(f"ending: accepted: {', '.join(ENDINGS)}")
        for name in _SWITCHES:
            if not isinstance(settings.get(name, True), bool):
                raise ValueError(f"{name}: accepted: true or false")  # noqa: TRY004 - answered with 400
        minimums = _amounts(settings, "minimum")
        deposits = _amounts(settings, "deposits")
        final_factor = _factor(settings, self._orders.final_factor)
        known = {order.order_id: order for order in self._orders}
        for order_id in deposits:
            if order_id not in known:
                raise ValueError(f"deposits: no order {order_id}")
        self._orders.ending = settings.get("ending", self._orders.ending)
        self._orders.final_factor = final_factor
        self._switches = {name: settings.get(name, known) for name, known in self._switches.items()}
        self._prices.minimums.update({coin.upper(): amount for coin, amount in minimums.items()})
        for order_id, amount in deposits.items():
            self._orders.deposit(known[order_id], self._orders.fresh_hex(64), amount)

    def describe(self) -> dict[str, Any]:
        """Settings and all orders."""
        return {
            "ending": self._orders.ending,
            "minimum": {coin: f"{amount:f}" for coin, amount in self._prices.minimums.items()},
            "final_factor": f"{self._orders.final_factor:f}",
            **self._switches,
            "orders": [
                {"id": order.order_id, "status": order.status, "reference": order.reference} for order in self._orders
            ],
        }

    def _guard(self, handle: _Handler, *, keyless: bool) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            try:
                key = request.headers.get("x-changenow-api-key")
                if not keyless or key is not None:
                    self._admit(key)
                return Response(200, handle(request))
            except ApiError as error:
                status = 200 if error.status == 400 and self._switches["errors_under_200"] else error.status
                return Response(status, error.body, {"Retry-After": "1"} if error.status == 429 else {})

        return guarded

    def _admit(self, key: str | None) -> None:
        if not key:
            raise ApiError(401, "unauthorized", "Unauthorized")
        calls = self._calls.get(key)
        if calls is None:
            raise ApiError(401, "invalid_api_key", "Invalid api key")
        now = self._world.now()
        while calls and calls[0] <= now - 1 / self._world.speed:
            calls.popleft()
        if len(calls) >= _REQUESTS_PER_SECOND:
            raise ApiError(429, "too_many_requests", "Too many requests")
        calls.append(now)

    def _estimate(self, request: Request) -> dict[str, Any]:
        return self._offers.estimate(values_of(request))

    def _create(self, request: Request) -> dict[str, Any]:
        order = self._offers.create(_body(request))
        self._world.truth.executed(
            SERVICE_ID,
            "order",
            order_id=order.order_id,
            reference=order.reference,
            address=order.address,
        )
        return created_view(order, self._world.wrong_amount(SERVICE_ID))

    def _by_id(self, request: Request) -> dict[str, Any]:
        return status_view(self._orders.get(request.one("id") or ""))

    def _list(self, request: Request) -> dict[str, Any]:
        if request.headers.get("x-changenow-api-key") != CHANGENOW_PRIVATE_KEY:
            raise ApiError(401, "invalid_api_key", "Use private key for this endpoint")
        if not self._switches["enabled_private_list"]:
            raise ApiError(401, "unauthorized", "Unauthorized")
        return ListQuery.of(request.query).answer(self._orders)

    def _actions(self, request: Request) -> dict[str, Any]:
        order = self._orders.get(request.one("id") or "")
        able = order.actions_available
        estimate = self._estimate_of(order.wish.sender, order.wish.receiver, order.amount_from) if able else None
        return {
            "error": None,
            "refund": {
                "available": able,
                "amount": f"{number(self._orders.refundable(order)):f}" if able else None,
                "address": {"address": order.refund_address or None, "extraId": order.refund_extra_id or None},
                "additionalAddressList": [],
            },
            "continue": {"available": able, "currentEstimate": estimate},
        }

    def _estimate_of(self, sender: Asset, receiver: Asset, amount: Decimal | None) -> str:
        return f"{number(self._prices.to_amount(sender, receiver, amount or Decimal(0))):f}"

    def _refund(self, request: Request) -> dict[str, Any]:
        body = _body(request)
        order = self._orders.get(str(body.get("id") or ""))
        address = str(body.get("address") or order.refund_address)
        if not order.wish.sender.accepts(address):
            raise ApiError(400, "not_valid_refund_address", "Refund address is not valid")
        self._orders.force(order, "refund")
        order.refund_address = address
        return {"result": True}

    def _continue(self, request: Request) -> dict[str, Any]:
        order = self._orders.get(str(_body(request).get("id") or ""))
        self._orders.force(order, "continue")
        receiver = order.wish.receiver
        amount = self._estimate_of(order.wish.sender, receiver, order.amount_from)
        estimate = {"currency": receiver.ticker, "network": receiver.network, "amount": amount}
        return {"result": {"result": True, "data": {"estimate": estimate}}}


def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "not_valid_params", "The body is not a JSON object")
    return body


def _factor(settings: Mapping[str, Any], known: Decimal) -> Decimal:
    try:
        return amount_of(settings.get("final_factor", known), "final_factor")
    except ApiError as error:
        raise ValueError(f"final_factor: {error}") from None


def _amounts(settings: Mapping[str, Any], name: str) -> dict[str, Decimal]:
    given = settings.get(name, {})
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: not an object; accepted: an object of amounts")  # noqa: TRY004 - answered with 400
    try:
        return {key: amount_of(value, key) for key, value in given.items()}
    except ApiError as error:
        raise ValueError(f"{name}: {error}") from None
