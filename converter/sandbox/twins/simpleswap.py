"""The SimpleSwap twin: API v3 as `services/simpleswap.md` describes it, with a real deposit address.

A client asks `estimates`, makes an exchange, sends the coins to `addressFrom` on the sandbox's chain, and polls. There
is no idempotency key and no client order id: every POST makes an exchange. No call cancels or refunds.

Facts from the sheet: header `x-api-key`; answers in `{"result", "traceId"}`; amounts are strings; errors are `{"code",
"error", "message", "description", "traceId"}`; the webhook's URL belongs to the account and its signature is the plain
SHA-1 of messageId, publicId, status and the secret, joined with `_`. Inferred here: every path needs the key; paging of
the list is `limit` (100 unless told otherwise) and `offset`, newest first; the webhook's fields beside those four are
none, and the signature stands in the body's `signature`, unless it is told to go by another name; a webhook goes out at
every change of status. No rate limit is known, so there is none. The legacy v1 paths are not served.

Deposits of a coin that no chain of the sandbox carries are told with `configure({"deposits": {exchange id: amount}})`.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from converter.sandbox.credentials import SIMPLESWAP_API_KEY, SIMPLESWAP_WEBHOOK_SECRET
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.simpleswap_assets import ASSETS, SERVICE_ID, ApiError, Prices, asset_of, flag_of, text_of
from converter.sandbox.twins.simpleswap_offers import Offers
from converter.sandbox.twins.simpleswap_orders import FINAL, Order, Orders
from converter.sandbox.twins.simpleswap_settings import apply_settings
from converter.sandbox.wire import to_json

_REFUSALS = {
    "quote": (422, "Pair is unavailable"),
    "order": (422, "Pair is unavailable"),
}
_Handler = Callable[[Request], Any]


class SimpleSwapTwin:
    """SimpleSwap's exchange API over the sandbox's world.

    `id_field` is the name under which exchanges carry their id; with `wrapped` false a single exchange comes bare.
    """

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self.id_field = "id"
        self.wrapped = True
        self.callback_url: str | None = None
        self.signature_field = "signature"
        self.prices = Prices(world)
        self.orders = Orders(world, self.prices, self._notify)
        self.offers = Offers(world, self.prices, self.orders)
        self._world = world

    def routes(self) -> list[Route]:
        """Every path of v3 that the twin serves."""
        asset = "(?P<ticker>[^/]+)/(?P<network>[^/]+)"
        table: list[tuple[str, str, str, _Handler]] = [
            ("GET", "/currencies", "info", self._currencies),
            ("GET", f"/currencies/{asset}", "info", self._currency),
            ("GET", "/pairs", "info", self._pairs),
            ("GET", f"/pairs/{asset}", "info", self._pairs_of),
            ("GET", "/ranges", "quote", lambda r: self.offers.ranges(_values(r))),
            ("GET", "/estimates", "quote", lambda r: self.offers.estimate(_values(r))),
            ("GET", "/exchanges/check", "quote", lambda r: self.offers.check(_values(r))),
            ("POST", "/exchanges", "order", self._create),
            ("GET", "/exchanges", "status", self._list),
            ("GET", "/exchanges/(?P<id>[^/]+)", "status", self._show),
        ]
        return [
            Route(method, re.compile(f"/v3{path}"), operation, self._guard(handle), executes=method == "POST")
            for method, path, operation, handle in table
        ]

    def refusal(self, operation: str) -> Response:
        """A documented no; for a status call one that says nothing about the exchange."""
        status, message = _REFUSALS.get(operation, (403, "Access denied"))
        return Response(status, ApiError(status, message).body(self._trace_id()))

    def tick(self) -> None:
        """See deposits and move the exchanges along."""
        self.orders.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See `simpleswap_settings` for what can be set."""
        apply_settings(self, settings)

    def describe(self) -> dict[str, Any]:
        """Settings and the exchanges that are not at their end."""
        return {
            "ending": self.orders.ending,
            "final_factor": text_of(self.orders.final_factor),
            "minimum": {coin: text_of(amount) for coin, amount in self.prices.minimums.items()},
            "minimum_factor": text_of(self.prices.minimum_factor),
            "fixed_available": self.offers.fixed_available,
            "refuses_extra_id": self.offers.refuses_extra_id,
            "tells_refund": self.orders.tells_refund,
            "id_field": self.id_field,
            "wrapped": self.wrapped,
            "callback_url": self.callback_url,
            "signature_field": self.signature_field,
            "open_orders": [order.view("id") for order in self.orders if order.status not in FINAL],
        }

    def _guard(self, handle: _Handler) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            trace_id = self._trace_id()
            try:
                _check_key(request)
                answer = handle(request)
            except ApiError as error:
                return Response(error.status, error.body(trace_id))
            if isinstance(answer, Response):
                return answer
            return Response(200, {"result": answer, "traceId": trace_id})

        return guarded

    def _trace_id(self) -> str:
        return f"{self.orders.digest():064x}"[:32]

    def _currencies(self, request: Request) -> list[dict[str, Any]]:
        if flag_of(_values(request), "fixed") and not self.offers.fixed_available:
            return []
        return [asset.listing() for asset in ASSETS]

    def _currency(self, request: Request) -> dict[str, Any]:
        return asset_of(request.params["ticker"], request.params["network"]).listing()

    def _pairs(self, request: Request) -> dict[str, list[str]]:
        if flag_of(_values(request), "fixed") and not self.offers.fixed_available:
            return {}
        return {sender.key: [other.key for other in ASSETS if other != sender] for sender in ASSETS}

    def _pairs_of(self, request: Request) -> dict[str, list[str]]:
        key = asset_of(request.params["ticker"], request.params["network"]).key
        return {name: others for name, others in self._pairs(request).items() if name == key}

    def _create(self, request: Request) -> dict[str, Any]:
        try:
            body = request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiError(400, "The body must be a JSON object")
        order = self.offers.create(body)
        self._world.truth.executed(
            SERVICE_ID,
            "order",
            order_id=order.order_id,
            reference=None,
            address=order.address_to,
            amount=order.amount_from,
        )
        return order.view(self.id_field, self._world.wrong_amount(SERVICE_ID))

    def _show(self, request: Request) -> Any:
        view = self.orders.get(request.params["id"]).view(self.id_field)
        return view if self.wrapped else Response(200, view)

    def _list(self, request: Request) -> list[dict[str, Any]]:
        limit, offset = _whole(request, "limit", 100), _whole(request, "offset", 0)
        newest_first = list(self.orders)[::-1]
        return [order.view(self.id_field) for order in newest_first[offset : offset + limit]]

    def _notify(self, order: Order) -> None:
        if self.callback_url is None:
            return
        message_id = str(uuid.UUID(int=self.orders.digest() % 2**128, version=4))
        message = {
            "messageId": message_id,
            "publicId": order.order_id,
            "status": order.status,
            self.signature_field: webhook_signature(message_id, order.order_id, order.status),
        }
        body = to_json(message).encode()
        with suppress(ValueError):  # an address outside this machine gets nothing
            self._world.callback(SERVICE_ID, self.callback_url, {"Content-Type": "application/json"}, body)


def webhook_signature(message_id: str, public_id: str, status: str, secret: str = SIMPLESWAP_WEBHOOK_SECRET) -> str:
    """The service's signature of a webhook: a plain hash, no HMAC."""
    text = f"{message_id}_{public_id}_{status}_{secret}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _check_key(request: Request) -> None:
    if request.headers.get("x-api-key") != SIMPLESWAP_API_KEY:
        raise ApiError(401, "API key is not valid")


def _values(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in request.query.items() if values}


def _whole(request: Request, name: str, default: int) -> int:
    text = request.one(name)
    if not text:
        return default
    if not text.isdecimal() or not text.isascii():
        raise ApiError(400, f"{name} must be a whole number")
    return int(text)
