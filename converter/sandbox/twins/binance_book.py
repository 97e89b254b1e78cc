"""Symbols, filters and the order book of the Binance twin.

Source: `services/binance.md` sections 3 and 4 (filters, worked examples of a walk). Inferred here: which symbols
there are and their figures; twenty levels a side around the market's price, 0.04 % away and then 0.03 % apart, the
first worth 1.2 ETH and each a third larger; what is taken from the book is back at once, so nobody's order moves the
price.

The book is computed from the market alone: within one step of the market, depth and matching see the same levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.binance_auth import BinanceError, Params

SERVICE_ID = "binance"
UNIT = Decimal("0.00000001")
LEVELS = 20
HALF_SPREAD = Decimal("0.0004")
GAP = Decimal("0.0003")
FIRST_IN_ETH = Decimal("1.2")
GROWTH = Decimal("1.35")
WOBBLE = Decimal("0.002")
MAX_NOTIONAL = Decimal(9_000_000)
_MIN_NOTIONAL = {"BTC": Decimal("0.0001"), "ETH": Decimal("0.001"), "USDT": Decimal(5)}


def eight(amount: Decimal) -> str:
    """An amount as the trading paths write it: text with eight decimals."""
    return f"{amount.quantize(UNIT, ROUND_FLOOR):f}"


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `amount`."""
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


@dataclass(frozen=True)
class Symbol:
    """A market of the exchange and its filters."""

    base: str
    quote: str
    tick: Decimal
    step: Decimal
    max_qty: Decimal
    market_max_qty: Decimal

    @property
    def name(self) -> str:
        """Base and quote without a separator."""
        return self.base + self.quote

    @property
    def min_notional(self) -> Decimal:
        """The least price times quantity."""
        return _MIN_NOTIONAL[self.quote]

    def filters(self) -> list[dict[str, Any]]:
        """The filters as exchangeInfo lists them."""
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": eight(self.tick),
                "maxPrice": eight(self.tick * 10**8),
                "tickSize": eight(self.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": eight(self.step),
                "maxQty": eight(self.max_qty),
                "stepSize": eight(self.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": eight(Decimal(0)),
                "maxQty": eight(self.market_max_qty),
                "stepSize": eight(Decimal(0)),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": eight(self.min_notional),
                "applyMinToMarket": True,
                "maxNotional": eight(MAX_NOTIONAL),
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ]

    def check_price(self, price: Decimal) -> None:
        """PRICE_FILTER."""
        if not self.tick <= price <= self.tick * 10**8 or price % self.tick:
            raise BinanceError(-1013, "Filter failure: PRICE_FILTER")

    def check_quantity(self, quantity: Decimal, *, market: bool) -> None:
        """LOT_SIZE, and MARKET_LOT_SIZE for market orders; only its upper bound is on."""
        if not self.step <= quantity <= self.max_qty or quantity % self.step:
            raise BinanceError(-1013, "Filter failure: LOT_SIZE")
        if market and quantity > self.market_max_qty:
            raise BinanceError(-1013, "Filter failure: MARKET_LOT_SIZE")

    def check_notional(self, notional: Decimal, *, market: bool) -> None:
        """NOTIONAL; its upper bound is off for market orders."""
        if notional < self.min_notional or (notional > MAX_NOTIONAL and not market):
            raise BinanceError(-1013, "Filter failure: NOTIONAL")


def _symbol(base: str, quote: str, tick: str, step: str) -> Symbol:
    # The largest order is 100000 units for coins traded in fractions, more for those traded in whole pieces.
    most = Decimal(100_000) if Decimal(step) < 1 else Decimal(90_000_000)
    return Symbol(base, quote, Decimal(tick), Decimal(step), most, most / 20)


SYMBOLS = (
    _symbol("ETH", "BTC", "0.00001", "0.0001"),
    _symbol("LTC", "BTC", "0.000001", "0.001"),
    _symbol("BCH", "BTC", "0.000001", "0.001"),
    _symbol("DOGE", "BTC", "0.00000001", "1"),
    _symbol("ETC", "BTC", "0.0000001", "0.01"),
    _symbol("LTC", "ETH", "0.00001", "0.001"),
    _symbol("BTC", "USDT", "0.01", "0.00001"),
    _symbol("ETH", "USDT", "0.01", "0.0001"),
    _symbol("LTC", "USDT", "0.01", "0.001"),
    _symbol("BCH", "USDT", "0.1", "0.001"),
    _symbol("DOGE", "USDT", "0.00001", "1"),
    _symbol("ETC", "USDT", "0.01", "0.01"),
    _symbol("RVN", "USDT", "0.00001", "0.1"),
)

Level = tuple[Decimal, Decimal]  # price and quantity


def take_base(levels: Sequence[Level], quantity: Decimal, limit: Decimal | None = None, sign: int = 1) -> list[Level]:
    """Parts of the levels that fill a base quantity, no worse than `limit` (`sign` 1: not above, -1: not below)."""
    taken: list[Level] = []
    for price, available in levels:
        if quantity <= 0 or (limit is not None and price * sign > limit * sign):
            break
        part = min(available, quantity)
        taken.append((price, part))
        quantity -= part
    return taken


def take_quote(levels: Sequence[Level], amount: Decimal, step: Decimal) -> list[Level]:
    """Parts of the levels, in whole steps, that a quote amount pays for."""
    taken: list[Level] = []
    for price, available in levels:
        part = min(available, floor_to(amount / price, step))
        if part > 0:
            taken.append((price, part))
        if part < available:
            break
        amount -= part * price
    return taken


class Book:
    """Prices of the exchange."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._symbols = {symbol.name: symbol for symbol in SYMBOLS if self._has_market(symbol)}

    @property
    def symbols(self) -> list[Symbol]:
        """Every symbol whose coins the market knows."""
        return list(self._symbols.values())

    def symbol(self, params: Params) -> Symbol:
        """The symbol that a request must name."""
        return self.named(params.need("symbol"))

    def named(self, name: str) -> Symbol:
        """The symbol of a name."""
        symbol = self._symbols.get(name)
        if symbol is None:
            raise BinanceError(-1121, "Invalid symbol.")
        return symbol

    def mid(self, symbol: Symbol) -> Decimal:
        """The price around which the book stands."""
        drift = self._world.market.wobble(SERVICE_ID, WOBBLE) * self._world.wrong_rate(SERVICE_ID)
        return self._world.market.rate(symbol.base, symbol.quote) * drift

    def levels(self, symbol: Symbol) -> tuple[list[Level], list[Level]]:
        """Bids from the highest and asks from the lowest."""
        mid = self.mid(symbol)
        first = FIRST_IN_ETH
        if symbol.base != "ETH":
            first *= self._world.market.rate("ETH", symbol.base)
        bids: list[Level] = []
        asks: list[Level] = []
        for place in range(LEVELS):
            away = HALF_SPREAD + GAP * place
            quantity = max(symbol.step, floor_to(first * GROWTH**place, symbol.step))
            bid = floor_to(mid * (1 - away), symbol.tick)
            ask = (mid * (1 + away) / symbol.tick).to_integral_value(ROUND_CEILING) * symbol.tick
            if place:  # a coarse tick must not put two levels at one price
                bid, ask = min(bid, bids[-1][0] - symbol.tick), max(ask, asks[-1][0] + symbol.tick)
            bids.append((bid, quantity))
            asks.append((ask, quantity))
        return [level for level in bids if level[0] > 0], asks

    def _has_market(self, symbol: Symbol) -> bool:
        try:
            return self._world.market.rate(symbol.base, symbol.quote) > 0
        except KeyError:
            return False
