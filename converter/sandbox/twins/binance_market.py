"""The Binance twin's market data: exchangeInfo, depth, tickers, health.

Source: `services/binance.md` sections 3, 4 and 10. Inferred here: the daily ticker's figures other than prices are
still (no change, no volume), and the average price is the present middle of the book.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from converter.sandbox.twins.binance_auth import BinanceError, Endpoint, Params, ServerClock, flat
from converter.sandbox.twins.binance_book import Book, Symbol, eight
from converter.sandbox.twins.binance_limits import LIMITS

_MAX_DEPTH = 5000
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (_MAX_DEPTH, 250))


class MarketDesk:
    """The endpoints that need no key."""

    def __init__(self, book: Book, clock: ServerClock) -> None:
        self._book = book
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """Health and prices."""
        ticker = _either(2, 4)
        return [
            Endpoint("GET", "/api/v3/ping", "info", lambda params: {}, flat(1)),  # noqa: ARG005
            Endpoint("GET", "/api/v3/time", "info", self._time, flat(1)),
            Endpoint("GET", "/sapi/v1/system/status", "info", self._system_status, flat(1), counter="ip"),
            Endpoint("GET", "/api/v3/exchangeInfo", "info", self._exchange_info, flat(20)),
            Endpoint("GET", "/api/v3/depth", "quote", self._depth, _depth_weight),
            Endpoint("GET", "/api/v3/avgPrice", "quote", self._average, flat(2)),
            Endpoint("GET", "/api/v3/ticker/price", "quote", self._price, ticker),
            Endpoint("GET", "/api/v3/ticker/bookTicker", "quote", self._book_ticker, ticker),
            Endpoint("GET", "/api/v3/ticker/24hr", "quote", self._day_ticker, _either(2, 80)),
        ]

    def _time(self, params: Params) -> dict[str, int]:  # noqa: ARG002
        return {"serverTime": self._clock.ms()}

    def _system_status(self, params: Params) -> dict[str, Any]:  # noqa: ARG002
        return {"status": 0, "msg": "normal"}

    def _exchange_info(self, params: Params) -> dict[str, Any]:
        symbols = self._wanted(params)
        status = params.text("symbolStatus")
        if status not in {None, "TRADING", "HALT", "BREAK"}:
            raise BinanceError(-1122, "Invalid symbolStatus.")
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": LIMITS["api"]}
        return {
            "timezone": "UTC",
            "serverTime": self._clock.ms(),
            "rateLimits": [limit],
            "exchangeFilters": [],
            "symbols": [_listing(symbol) for symbol in symbols] if status in {None, "TRADING"} else [],
        }

    def _depth(self, params: Params) -> dict[str, Any]:
        symbol = self._book.symbol(params)
        limit = params.whole("limit")
        limit = 100 if limit is None else limit
        if not limit:
            raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
        bids, asks = self._book.levels(symbol)
        return {
            "lastUpdateId": self._clock.ms(),
            "bids": [[eight(price), eight(quantity)] for price, quantity in bids[:limit]],
            "asks": [[eight(price), eight(quantity)] for price, quantity in asks[:limit]],
        }

    def _average(self, params: Params) -> dict[str, Any]:
        symbol = self._book.symbol(params)
        return {"mins": 5, "price": eight(self._book.mid(symbol)), "closeTime": self._clock.ms()}

    def _price(self, params: Params) -> Any:
        return self._tickers(params, lambda symbol: {"price": eight(self._rounded_mid(symbol))})

    def _book_ticker(self, params: Params) -> Any:
        return self._tickers(params, self._best)

    def _day_ticker(self, params: Params) -> Any:
        return self._tickers(params, self._day)

    def _best(self, symbol: Symbol) -> dict[str, Any]:
        bids, asks = self._book.levels(symbol)
        return {
            "bidPrice": eight(bids[0][0]),
            "bidQty": eight(bids[0][1]),
            "askPrice": eight(asks[0][0]),
            "askQty": eight(asks[0][1]),
        }

    def _day(self, symbol: Symbol) -> dict[str, Any]:
        price, none, now = eight(self._rounded_mid(symbol)), eight(Decimal(0)), self._clock.ms()
        names = ("weightedAvgPrice", "prevClosePrice", "lastPrice", "openPrice", "highPrice", "lowPrice")
        times = {"openTime": now - 86_400_000, "closeTime": now, "firstId": -1, "lastId": -1, "count": 0}
        return {
            "priceChange": none,
            "priceChangePercent": "0.000",
            **dict.fromkeys(names, price),
            "lastQty": none,
            **self._best(symbol),
            "volume": none,
            "quoteVolume": none,
            **times,
        }

    def _rounded_mid(self, symbol: Symbol) -> Decimal:
        return (self._book.mid(symbol) / symbol.tick).to_integral_value() * symbol.tick

    def _tickers(self, params: Params, show: Callable[[Symbol], dict[str, Any]]) -> Any:
        rows = [{"symbol": symbol.name, **show(symbol)} for symbol in self._wanted(params)]
        return rows[0] if params.has("symbol") else rows

    def _wanted(self, params: Params) -> list[Symbol]:
        one, several = params.text("symbol"), params.text("symbols")
        if one and several:
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        if one:
            return [self._book.named(one)]
        if not several:
            return self._book.symbols
        try:
            names = json.loads(several)
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BinanceError(-1100, "Illegal characters found in parameter 'symbols'; legal range is a JSON list.")
        if len(set(names)) != len(names):
            raise BinanceError(-1151, "Symbol is present multiple times in the list.")
        return [self._book.named(name) for name in names]


def _either(one: int, more: int) -> Callable[[Params], int]:
    return lambda params: one if params.has("symbol") else more


def _depth_weight(params: Params) -> int:
    text = params.values.get("limit", "")
    limit = int(text) if text.isascii() and text.isdecimal() else 100
    return next((weight for most, weight in _DEPTH_WEIGHTS if limit <= most), _DEPTH_WEIGHTS[-1][1])


def _listing(symbol: Symbol) -> dict[str, Any]:
    return {
        "symbol": symbol.name,
        "status": "TRADING",
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": symbol.filters(),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_MAKER"],
    }
