"""What Kraken trades: its names, pairs, routes over them, and what a book gives for an amount."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from converter.domain.coins import Asset
from converter.domain.errors import PairNotSupported, ServiceRejected
from converter.domain.money import EXACT, floor_to
from converter.domain.order_book import buy_from, sell_into
from converter.services.base import exact, text


@dataclass(frozen=True)
class Code:
    """Names of an asset: its id in answers, the short one in requests, and the method of its withdrawals."""

    asset: str
    altname: str
    method: str = ""
    """Empty: not known, so it can be sold but not paid out."""

    @property
    def names(self) -> tuple[str, str]:
        """What answers may call it."""
        return (self.asset, self.altname)


CODES: dict[tuple[str, str], Code | None] = {
    ("BTC", "BTC"): Code("XXBT", "XBT", "Bitcoin"),
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): Code("XETH", "ETH", "Ether"),
    ("ETC", "ETC"): Code("XETC", "ETC", "Ether Classic (Hex)"),
    ("LTC", "LTC"): Code("XLTC", "LTC", "Litecoin"),
    ("BCH", "BCH"): Code("BCH", "BCH", "Bitcoin Cash"),
    ("DOGE", "DOGE"): Code("XXDG", "XDG", "Dogecoin"),
    ("RVN", "RVN"): None,
    ("XMR", "XMR"): Code("XXMR", "XMR"),
    ("ZEC", "ZEC"): None,
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): Code("USDT", "USDT", "Tether USD (TRC20)"),
    ("USDT", "ETH"): Code("USDT", "USDT", "Tether USD (ERC20)"),
}
"""Every asset of the system. None: known here, not supported there."""

MIDDLE = ("XXBT", "USDT")
"""Assets over which a route may lead when there is no direct pair."""

VIA = "via "
UNIT = Decimal("1e-8")
T = TypeVar("T")


def code_of(asset: Asset) -> Code:
    """The names of an asset. Raises PairNotSupported when it is not traded there."""
    code = CODES.get((asset.coin, asset.network))
    if code is None:
        raise PairNotSupported("kraken", "quote", detail=f"{asset} is not traded there")
    return code


def supported(from_asset: Asset, to_asset: Asset) -> bool:
    """Both have names there, the to_asset a method of withdrawal, and they differ in coin."""
    sold, paid = (CODES.get((one.coin, one.network)) for one in (from_asset, to_asset))
    return bool(sold and paid and paid.method) and from_asset.coin != to_asset.coin


@dataclass(frozen=True)
class Pair:
    """A pair and its limits."""

    name: str
    names: frozenset[str]
    base: str
    quote: str
    lot: Decimal
    tick: Decimal
    order_min: Decimal
    cost_min: Decimal
    online: bool


@dataclass(frozen=True)
class Leg:
    """One trade of a route: selling the pair's base, or buying it."""

    pair: Pair
    selling: bool


Route = tuple[Leg, ...]


def parse_pairs(body: Any) -> dict[frozenset[str], Pair]:
    """The pairs of our assets, by the two ids. What concerns other assets is not read."""
    ours = {code.asset for code in CODES.values() if code is not None}
    return {
        frozenset((listed["base"], listed["quote"])): _pair(name, listed)
        for name, listed in dict(body).items()
        if listed["base"] in ours and listed["quote"] in ours
    }


def _pair(name: str, listed: Any) -> Pair:
    decimals = [listed["lot_decimals"], listed["pair_decimals"]]
    if not all(type(count) is int and 0 <= count <= 18 for count in decimals):
        raise ValueError("odd decimals")
    lot, place = (Decimal(1).scaleb(-count) for count in decimals)
    tick = exact(listed.get("tick_size") or place)
    limits = exact(listed["ordermin"]), exact(listed.get("costmin") or 0)
    if min(*limits, tick) < 0 or not tick:
        raise ValueError("odd limits")
    names = frozenset((name, text(listed["altname"]), listed.get("wsname") or name))
    online = listed["status"] in ("online", "limit_only")
    return Pair(name, names, listed["base"], listed["quote"], lot, tick, *limits, online)


def routes(pairs: dict[frozenset[str], Pair], from_id: str, to_id: str) -> dict[str, Route]:
    """Ways from one asset to the other by the reference that a quote keeps: the direct one, and those over a middle."""
    direct = _leg(pairs, from_id, to_id)
    found: dict[str, Route] = {} if direct is None else {direct.pair.name: (direct,)}
    for middle in MIDDLE:
        first, second = _leg(pairs, from_id, middle), _leg(pairs, middle, to_id)
        if first is not None and second is not None:
            found[VIA + middle] = (first, second)
    return found


def _leg(pairs: dict[frozenset[str], Pair], from_id: str, to_id: str) -> Leg | None:
    pair = pairs.get(frozenset((from_id, to_id)))
    return None if pair is None or from_id == to_id else Leg(pair, pair.base == from_id)


@dataclass(frozen=True)
class Step:
    """A leg priced from its book: `quantity` of the base for `amount`, bringing `gross` and, less commission, more or
    less `received`. The commission is always taken from what comes in. `short`: so many times the amount is the least
    that the pair's limits allow; 0 when it is enough."""

    leg: Leg
    amount: Decimal
    quantity: Decimal
    gross: Decimal
    kept: Decimal
    short: Decimal

    @property
    def received(self) -> Decimal:
        """What comes in."""
        return floor_to(EXACT.multiply(self.gross, self.kept), Decimal("1e-10"))

    def price(self, least: Decimal) -> Decimal:
        """The worst price at which the whole quantity brings `least` and costs no more than the amount."""
        if not self.leg.selling:
            return floor_to(EXACT.divide(self.amount, self.quantity), self.leg.pair.tick)
        return ceil_to(EXACT.divide(EXACT.divide(least, self.kept), self.quantity), self.leg.pair.tick)


def walk(leg: Leg, amount: Decimal, book: Any, kept: Decimal) -> Step:
    """What the book gives for an amount at once. Raises ServiceRejected when it does not cover it; ValueError for what
    is no book."""
    levels = [(exact(price), exact(volume)) for price, volume, _time in book["bids" if leg.selling else "asks"]]
    if any(min(level) <= 0 for level in levels):
        raise ValueError("no level")
    pair = leg.pair
    quantity = floor_to(amount, pair.lot) if leg.selling else buy_from(levels, amount, pair.lot)
    if quantity is None or not levels:
        raise ServiceRejected("kraken", "quote", detail="the book does not cover the amount")
    least = ceil_to(max(pair.order_min, pair.lot, EXACT.divide(pair.cost_min, levels[-1][0])), pair.lot)
    base = amount if leg.selling else EXACT.divide(amount, levels[0][0])
    short = EXACT.divide(least, base) if quantity < least else Decimal(0)
    gross = sell_into(levels, quantity) if leg.selling else quantity
    if gross is None:
        raise ServiceRejected("kraken", "quote", detail="the book does not cover the amount")
    return Step(leg, amount, quantity, gross, kept, short)


def ceil_to(amount: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `amount`."""
    floor = floor_to(amount, step)
    return floor if floor == amount else EXACT.add(floor, step)


def only(body: Any, names: Sequence[str] | frozenset[str]) -> Any:
    """The value of an answer that is keyed by one of the names of what was asked for."""
    found = [value for name, value in dict(body).items() if name in names]
    if len(found) != 1:
        raise ValueError("not what was asked for")
    return found[0]


class Kept:
    """Readings that are kept for a while; every thread may read, one call refreshes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, tuple[Any, float]] = {}

    def get(self, name: str, life: float, read: Callable[[], T]) -> T:
        """The reading of this name, made anew when it is older than `life` seconds."""
        with self._lock:
            kept: tuple[T, float] | None = self._values.get(name)
        now = time.monotonic()
        if kept is not None and now - kept[1] < life:
            return kept[0]
        fresh = read()  # not under the lock: a slow answer must not hold others up
        with self._lock:
            self._values[name] = (fresh, now)
        return fresh
