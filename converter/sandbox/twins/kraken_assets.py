"""Assets, pairs, withdrawal methods and prices of the Kraken twin.

Source: `services/kraken.md` sections 3, 4 and 11. Bitcoin is XBT and Dogecoin XDG; old assets have an X, currencies a Z
in front. Answers are keyed by the pair's id, whatever name was asked for. Inferred here: which pairs and methods there
are and their figures, except those of the sheet's samples; a dollar is worth a USDT; twenty levels a side around the
market's price, 0.05 % away and then 0.03 % apart; what is taken from the book is back at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.kraken_auth import KrakenError

SERVICE_ID = "kraken"
TAKER, MAKER = "0.26", "0.16"
LEVELS = 20
HALF_SPREAD, GAP = Decimal("0.0005"), Decimal("0.0003")
FIRST_IN_ETH, GROWTH = Decimal("1.5"), Decimal("1.35")
WOBBLE = Decimal("0.002")

Level = tuple[Decimal, Decimal]  # price and volume


@dataclass(frozen=True)
class Asset:
    """A coin or currency under its id here."""

    asset_id: str
    altname: str
    coin: str  # the market's name
    decimals: int = 10
    start: str = "100000"

    def listing(self) -> dict[str, Any]:
        """As Assets shows it."""
        shown = {"aclass": "currency", "altname": self.altname, "decimals": self.decimals, "display_decimals": 5}
        return shown | {"status": "enabled"}


ASSETS = {
    asset.asset_id: asset
    for asset in (
        Asset("XXBT", "XBT", "BTC", start="10000"),
        Asset("XETH", "ETH", "ETH"),
        Asset("XLTC", "LTC", "LTC"),
        Asset("BCH", "BCH", "BCH"),
        Asset("XXDG", "XDG", "DOGE", 8, "1000000000"),
        Asset("XETC", "ETC", "ETC", start="1000000"),
        Asset("USDT", "USDT", "USDT", 8, "100000000"),
        Asset("ZUSD", "USD", "USDT", 4, "100000000"),
    )
}


@dataclass(frozen=True)
class Method:
    """A way on which an asset can be withdrawn."""

    asset_id: str
    name: str
    network: str
    fee: Decimal
    minimum: Decimal


METHODS = tuple(
    Method(asset_id, name, network, Decimal(fee), Decimal(minimum))
    for asset_id, name, network, fee, minimum in (
        ("XXBT", "Bitcoin", "Bitcoin", "0.00015", "0.0005"),
        ("XETH", "Ether", "Ethereum", "0.0015", "0.005"),
        ("XLTC", "Litecoin", "Litecoin", "0.002", "0.01"),
        ("BCH", "Bitcoin Cash", "Bitcoin Cash", "0.001", "0.005"),
        ("XXDG", "Dogecoin", "Dogecoin", "4", "20"),
        ("XETC", "Ether Classic (Hex)", "Ethereum Classic", "0.02", "0.1"),
        ("USDT", "Tether USD (ERC20)", "Ethereum", "4", "10"),
        ("USDT", "Tether USD (TRC20)", "Tron", "2", "10"),
    )
)


def asset_named(name: str, error: str = "EQuery:Unknown asset") -> Asset:
    """The asset of an id or altname."""
    found = next((asset for asset in ASSETS.values() if name in (asset.asset_id, asset.altname)), None)
    if found is None:
        raise KrakenError(error)
    return found


@dataclass(frozen=True)
class Pair:
    """A market. `pair_decimals` are the price's, `lot_decimals` the volume's."""

    base: Asset
    quote: Asset
    pair_decimals: int
    ordermin: Decimal
    costmin: Decimal
    lot_decimals: int = 8
    cost_decimals: int = 10

    @property
    def pair_id(self) -> str:
        """The key of answers: both ids when both are of the old kind, else the altname."""
        old = self.base.asset_id[0] in "XZ" and self.quote.asset_id[0] in "XZ"
        return self.base.asset_id + self.quote.asset_id if old else self.altname

    @property
    def altname(self) -> str:
        """What orders call it."""
        return self.base.altname + self.quote.altname

    @property
    def wsname(self) -> str:
        """The name with a slash."""
        return f"{self.base.altname}/{self.quote.altname}"

    @property
    def tick(self) -> Decimal:
        """Step of the price."""
        return Decimal(1).scaleb(-self.pair_decimals)

    @property
    def lot(self) -> Decimal:
        """Step of the volume."""
        return Decimal(1).scaleb(-self.lot_decimals)

    def listing(self, taker: str, status: str) -> dict[str, Any]:
        """As AssetPairs shows it."""
        steps = ((0, taker, MAKER), (50000, "0.24", "0.14"))
        return {
            "altname": self.altname,
            "wsname": self.wsname,
            "aclass_base": "currency",
            "base": self.base.asset_id,
            "aclass_quote": "currency",
            "quote": self.quote.asset_id,
            "lot": "unit",
            "cost_decimals": self.cost_decimals,
            "pair_decimals": self.pair_decimals,
            "lot_decimals": self.lot_decimals,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": [[volume, Decimal(fee)] for volume, fee, _ in steps],
            "fees_maker": [[volume, Decimal(fee)] for volume, _, fee in steps],
            "fee_volume_currency": "ZUSD",
            "margin_call": 80,
            "margin_stop": 40,
            "ordermin": f"{self.ordermin:f}",
            "costmin": f"{self.costmin:f}",
            "tick_size": f"{self.tick:f}",
            "status": status,
        }


_ORDERMIN = {"XXBT": "0.0001", "XETH": "0.01", "XLTC": "0.05", "BCH": "0.01", "XXDG": "30", "XETC": "0.2", "USDT": "5"}
_COSTMIN = {"XXBT": "0.00002", "XETH": "0.0002", "ZUSD": "0.5", "USDT": "0.5"}
_DECIMALS = {
    "XXBT": {"USDT": 1, "ZUSD": 1},
    "XETH": {"XXBT": 5, "USDT": 2, "ZUSD": 2},
    "XLTC": {"XXBT": 6, "XETH": 5, "USDT": 2, "ZUSD": 2},
    "BCH": {"XXBT": 5, "USDT": 2, "ZUSD": 2},
    "XXDG": {"XXBT": 8, "USDT": 5, "ZUSD": 5},
    "XETC": {"XXBT": 6, "XETH": 5, "ZUSD": 3},
    "USDT": {"ZUSD": 4},
}
PAIRS = {
    pair.pair_id: pair
    for pair in (
        Pair(ASSETS[base], ASSETS[quote], decimals, Decimal(_ORDERMIN[base]), Decimal(_COSTMIN[quote]))
        for base, quotes in _DECIMALS.items()
        for quote, decimals in quotes.items()
    )
}


def pair_named(name: str) -> Pair:
    """The pair of an id, altname or name with a slash."""
    found = next((pair for pair in PAIRS.values() if name in (pair.pair_id, pair.altname, pair.wsname)), None)
    if found is None:
        raise KrakenError("EQuery:Unknown asset pair")
    return found


class Book:
    """Prices: within one step of the market everybody sees the same levels."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mid(self, pair: Pair) -> Decimal:
        """The price around which the book stands."""
        drift = self._world.market.wobble(SERVICE_ID, WOBBLE) * self._world.wrong_rate(SERVICE_ID)
        return self._world.market.rate(pair.base.coin, pair.quote.coin) * drift

    def levels(self, pair: Pair) -> tuple[list[Level], list[Level]]:
        """Bids from the highest and asks from the lowest."""
        mid, first = self.mid(pair), FIRST_IN_ETH * self._world.market.rate("ETH", pair.base.coin)
        bids: list[Level] = []
        asks: list[Level] = []
        for place in range(LEVELS):
            away = HALF_SPREAD + GAP * place
            volume = max(pair.lot, floor_to(first * GROWTH**place, pair.lot))
            bid = floor_to(mid * (1 - away), pair.tick)
            ask = (mid * (1 + away) / pair.tick).to_integral_value(ROUND_CEILING) * pair.tick
            if place:  # a coarse tick must not put two levels at one price
                bid, ask = min(bid, bids[-1][0] - pair.tick), max(ask, asks[-1][0] + pair.tick)
            bids.append((bid, volume))
            asks.append((ask, volume))
        return [level for level in bids if level[0] > 0], asks


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `amount`."""
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


def take_volume(levels: Sequence[Level], volume: Decimal, limit: Decimal | None, sign: int) -> list[Level]:
    """Parts of the levels that fill a volume, no worse than `limit` (`sign` 1: not above, -1: not below)."""
    taken: list[Level] = []
    for price, available in levels:
        if volume <= 0 or (limit is not None and price * sign > limit * sign):
            break
        taken.append((price, min(available, volume)))
        volume -= taken[-1][1]
    return taken


def take_cost(levels: Sequence[Level], cost: Decimal, lot: Decimal) -> list[Level]:
    """Parts of the levels, in whole lots, that a quote amount pays for."""
    taken: list[Level] = []
    for price, available in levels:
        part = min(available, floor_to(cost / price, lot))
        if part > 0:
            taken.append((price, part))
        if part < available:
            break
        cost -= part * price
    return taken
