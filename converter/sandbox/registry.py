"""Which twins there are; each is loaded when a sandbox is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol

from converter.sandbox.twin import Request, Response, Route, Twin, World

TWINS = {
    "changenow": "converter.sandbox.twins.changenow:ChangeNowTwin",
    "binance": "converter.sandbox.twins.binance:BinanceTwin",
    "kraken": "converter.sandbox.twins.kraken:KrakenTwin",
    "thorchain": "converter.sandbox.twins.thorchain:ThorChainTwin",
    "btcpay_lightning": "converter.sandbox.twins.btcpay_lightning:BtcPayTwin",
    "simpleswap": "converter.sandbox.twins.simpleswap:SimpleSwapTwin",
    "coinpayments": "converter.sandbox.twins.coinpayments:CoinPaymentsTwin",
    "coingate": "converter.sandbox.twins.coingate:CoinGateTwin",
}


def build_twins(world: World, services: Collection[str] | None = None) -> dict[str, Twin]:
    """One twin of every registered service, or of the named ones, in this world."""
    twins: dict[str, Twin] = {}
    for service_id in TWINS if services is None else services:
        if service_id not in TWINS:
            raise ValueError(f"services: unknown {service_id!r}; accepted: {', '.join(TWINS)}")
        module, _, name = TWINS[service_id].partition(":")
        twins[service_id] = getattr(import_module(module), name)(world)
    return twins


class Mount(Protocol):
    """What the server serves below `/<service_id>`: a twin, or the chain."""

    operations: Collection[str]

    def find(self, request: Request) -> Route | None:
        """The route that would answer; its `operation` and `executes` steer the faults."""

    def handle(self, request: Request) -> Response:
        """The answer."""

    def refuse(self, operation: str, request: Request) -> Response:
        """A definite no to this request."""

    def tick(self) -> None:
        """Let time pass."""

    def describe(self) -> dict[str, Any]:
        """State for the control interface."""

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Settings from the control interface; ValueError names a bad field."""


class TwinMount:
    """A twin with its routes: the first whose method and whole path fit a request answers it."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._routes = twin.routes()
        self.operations: Collection[str] = sorted({route.operation for route in self._routes})
        self.tick = twin.tick
        self.describe = twin.describe
        self.configure = twin.configure

    def find(self, request: Request) -> Route | None:
        """The route for a request."""
        return next((route for route in self._routes if _fits(route, request)), None)

    def handle(self, request: Request) -> Response:
        """The twin's answer; 404 or 405 for what it does not serve."""
        route = self.find(request)
        if route is None:
            known = any(item.pattern.fullmatch(request.path) for item in self._routes)
            problem = "method not allowed" if known else "no such path"
            return Response(405 if known else 404, {"error": f"{problem}: {request.method} {request.path}"})
        match = route.pattern.fullmatch(request.path)
        return route.handle(replace(request, params=match.groupdict() if match else {}))

    def refuse(self, operation: str, request: Request) -> Response:
        """The twin's own refusal; what it does not serve at all is answered as always."""
        return self._twin.refusal(operation) if operation in self.operations else self.handle(request)


def _fits(route: Route, request: Request) -> bool:
    return route.method == request.method and route.pattern.fullmatch(request.path) is not None
