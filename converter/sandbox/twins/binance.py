"""The Binance twin: spot trading and withdrawals on one host, as `services/binance.md` describes them.

The account trades what it already has, then withdraws. Signed paths check key, signature and clock before anything
else is looked at. Facts per part are in the modules beside this one: `binance_auth` (requests and signatures),
`binance_limits` (weights), `binance_book` (symbols, filters, prices), `binance_market`, `binance_orders` and
`binance_desk` (orders), `binance_account`, `binance_coins` and `binance_wallet` (balances and withdrawals). Convert,
order lists, and microsecond answers are not served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from converter.sandbox.credentials import BINANCE_API_KEY, BINANCE_SECRET_KEY
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.binance_account import Account, AccountDesk
from converter.sandbox.twins.binance_auth import BinanceError, Endpoint, Gate, Params, ServerClock
from converter.sandbox.twins.binance_book import SERVICE_ID, Book
from converter.sandbox.twins.binance_coins import plain
from converter.sandbox.twins.binance_desk import TradingDesk
from converter.sandbox.twins.binance_limits import Weights
from converter.sandbox.twins.binance_market import MarketDesk
from converter.sandbox.twins.binance_wallet import ENDINGS, Wallet

_REFUSALS = {
    "order": (400, -2010, "Market is closed."),
    "withdraw": (400, -4019, "The current currency is not open for withdrawal."),
    "cancel": (400, -2011, "Unknown order sent."),
    "quote": (400, -1121, "Invalid symbol."),
    "status": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "info": (401, -2015, "Invalid API-key, IP, or permissions for action."),
}
_COUNTS = ("hide_lookups", "hide_withdrawals")
_SETTINGS = {"balances", "withdraw_enabled", "withdraw_ending", "clock_offset_ms", *_COUNTS}


class BinanceTwin:
    """Binance's spot exchange over the sandbox's world."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self._account = Account()
        self._clock = ServerClock(world)
        self._gate = Gate(self._clock, BINANCE_API_KEY, BINANCE_SECRET_KEY)
        self._weights = Weights(world)
        self._book = Book(world)
        self._desk = TradingDesk(world, self._clock, self._book, self._account)
        self._wallet = Wallet(world, self._clock, self._account)

    def routes(self) -> list[Route]:
        """Every path of `/api/v3` and `/sapi/v1` that the twin serves."""
        endpoints = [
            *MarketDesk(self._book, self._clock).endpoints(),
            *AccountDesk(self._account, self._book, self._clock).endpoints(),
            *self._desk.endpoints(),
            *self._wallet.endpoints(),
        ]
        return [
            Route(
                endpoint.method,
                re.compile(f"^{re.escape(endpoint.path)}$"),
                endpoint.operation,
                self._guard(endpoint),
                endpoint.executes,
            )
            for endpoint in endpoints
        ]

    def refusal(self, operation: str) -> Response:
        """A documented no; for a lookup one that says nothing about the order."""
        status, code, message = _REFUSALS.get(operation, _REFUSALS["info"])
        return Response(status, {"code": code, "msg": message})

    def tick(self) -> None:
        """Move the withdrawals along; orders are done when they are answered."""
        self._wallet.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`balances` {coin: text}, `withdraw_enabled` {coin: bool}, `withdraw_ending`, `clock_offset_ms`, and how many
        lookups find nothing: `hide_lookups` (orders), `hide_withdrawals`."""
        if strange := settings.keys() - _SETTINGS:
            raise ValueError(f"{min(strange)}: unknown field; accepted: {', '.join(sorted(_SETTINGS))}")
        if settings.get("withdraw_ending", "completed") not in ENDINGS:
            raise ValueError(f"withdraw_ending: accepted: {', '.join(ENDINGS)}")
        for name in (*_COUNTS, "clock_offset_ms"):
            number = settings.get(name, 0)
            if type(number) is not int or (number < 0 and name in _COUNTS):
                raise ValueError(f"{name}: {number!r} is no such whole number")
        balances = {coin: _amount(coin, text) for coin, text in self._per_coin(settings, "balances").items()}
        switches = self._per_coin(settings, "withdraw_enabled")
        if any(type(enabled) is not bool for enabled in switches.values()):
            raise ValueError("withdraw_enabled: accepted: an object of coin and true or false")
        self._account.set_free(balances)
        for coin, enabled in switches.items():
            (self._wallet.closed.discard if enabled else self._wallet.closed.add)(coin)
        self._wallet.ending = settings.get("withdraw_ending", self._wallet.ending)
        self._wallet.hidden_lookups = settings.get("hide_withdrawals", self._wallet.hidden_lookups)
        self._desk.hidden_lookups = settings.get("hide_lookups", self._desk.hidden_lookups)
        self._clock.offset_ms = settings.get("clock_offset_ms", self._clock.offset_ms)

    def describe(self) -> dict[str, Any]:
        """Settings, balances, open orders and withdrawals."""
        balances = {
            coin: {
                "free": plain(balance.free),
                "locked": plain(balance.locked),
                "withdrawing": plain(balance.withdrawing),
            }
            for coin, balance in self._account.balances.items()
        }
        return {
            "balances": balances,
            "clock_offset_ms": self._clock.offset_ms,
            **self._desk.describe(),
            **self._wallet.describe(),
        }

    def _guard(self, endpoint: Endpoint) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                params = Params.of(request)
                headers = self._weights.charge(endpoint, endpoint.weight(params))
                if endpoint.signed:
                    self._gate.admit(request, params)
                return Response(200, endpoint.handle(params), headers)
            except BinanceError as error:
                return Response(error.status, error.body, headers | dict(error.headers))

        return guarded

    def _per_coin(self, settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        given = settings.get(name, {})
        if not isinstance(given, Mapping):
            raise ValueError(f"{name}: not an object; accepted: an object by coin")  # noqa: TRY004 - answered with 400
        for coin in given:
            if coin not in self._account.balances:
                raise ValueError(f"{name}.{coin}: unknown coin; accepted: {', '.join(self._account.balances)}")
        return given


def _amount(coin: str, text: Any) -> Decimal:
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal(-1)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < 10**15:
        raise ValueError(f"balances.{coin}: {text!r} is no amount; accepted: a decimal string from 0")
    return amount
