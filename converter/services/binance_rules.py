"""What Binance publishes about itself and we keep for a while: symbols, networks, its clock, its refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from converter.domain.errors import (
    AuthenticationFailed,
    MalformedResponse,
    RateLimited,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import EXACT, floor_to
from converter.ports import Clock, Deadline
from converter.services.base import encode, exact, milliseconds

SYMBOL_LIFE, NETWORK_LIFE, CLOCK_LIFE = 3600.0, 60.0, 300.0
HISTORY_LIFE = 7.0
"""The history of withdrawals may be read ten times a minute, so all open withdrawals share one reading."""

_PARAMETERS = frozenset(range(-1130, -1099))
_KEYS = frozenset({-1002, -1022, -2014, -2015})
_LIMITS = frozenset({-1003, -1015, -4005})
_WITHDRAWAL = frozenset(
    {-4007, -4008, -4012, -4013, -4014, -4015, -4016, -4017, -4018, -4019, -4021, -4022, -4023, -4024, -4025, -4026}
    | {-4028, -4033, -4034, -4035, -4036, -4038, -4041, -4044, -4060, -4104, -4106}
)
_LOOK_UP, _NO_SYMBOL = frozenset({-2013, -2026}), "-1121"
_ANY = _PARAMETERS | _KEYS | _LIMITS | {-1013, -1014, -1020, -1034, -2010}
"""Codes that prove that nothing was executed (errors.md and client lists): those of withdrawals only of a withdrawal,
those of a look-up only of a look-up. The rest, -1000, -1006, -1007, -1008, -4027, -4032 and -4046 (two readings) among
them, is unknown."""

UNIT = Decimal("1e-8")

T = TypeVar("T")


def known_error(operation: str, code: int) -> ServiceError | None:
    """The error for a code that proves that nothing was executed; None for every other."""
    own = {"withdraw": _WITHDRAWAL, "status": _LOOK_UP}.get(operation, frozenset())
    if code not in _ANY | own:
        return None
    if code in _KEYS:
        return AuthenticationFailed("binance", operation, code=str(code))
    if code in _LIMITS:
        return RateLimited("binance", operation, code=str(code))
    return ServiceRejected("binance", operation, code=str(code))


@dataclass(frozen=True)
class Symbol:
    """A pair and its filters."""

    name: str
    base: str
    quote: str
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    tick: Decimal
    min_notional: Decimal
    tradable: bool

    def largest(self, amount: Decimal, quantity: Decimal, *, selling: bool) -> Decimal | None:
        """Largest from_coin amount that one order may take, when `quantity`, which `amount` trades, is more than that;
        else None. A maximum of 0 is none."""
        if not self.max_quantity or quantity <= self.max_quantity:
            return None
        if selling:
            return self.max_quantity
        return floor_to(EXACT.divide(EXACT.multiply(amount, self.max_quantity), quantity), UNIT)

    def smallest(self, price: Decimal, proceeds: Decimal, *, selling: bool) -> Decimal:
        """Smallest from_coin amount that the filters allow at this price and that brings `proceeds`."""
        if selling:
            least = EXACT.divide(max(self.min_notional, proceeds), price)
            return ceil_to(max(self.min_quantity, least), self.step)
        cost = EXACT.multiply(ceil_to(max(self.min_quantity, proceeds), self.step), price)
        return ceil_to(max(self.min_notional, cost), UNIT)


@dataclass(frozen=True)
class Leg:
    """One trade; `brings` is the coin that it brings."""

    symbol: Symbol
    selling: bool
    brings: str


def ceil_to(amount: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `amount`."""
    floor = floor_to(amount, step)
    return floor if floor == amount else EXACT.add(floor, step)


@dataclass(frozen=True)
class Network:
    """Withdrawing a coin on a network; `code` is the service's name of the network."""

    code: str
    fee: Decimal
    minimum: Decimal
    maximum: Decimal
    step: Decimal


class Rules:
    """Cached rules; every thread may read, one call refreshes."""

    def __init__(
        self, public: Callable[..., Any], signed: Callable[..., Any], clock: Clock, history_life: float = HISTORY_LIFE
    ) -> None:
        self._public = public
        self._signed = signed
        self._clock = clock
        self._history_life = history_life
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Any, float]] = {}

    def symbol(self, one: str, other: str, deadline: Deadline) -> Symbol | None:
        """The pair of two coins, whichever is its base; it may be halted."""
        return self._cached(f"symbol:{one}:{other}", SYMBOL_LIFE, lambda: self._listed((one, other), deadline))[0]

    def network(self, coin: str, network: str, deadline: Deadline) -> Network:
        """Fee and limits of a withdrawal. Raises ServiceRejected while it is switched off."""
        found, _ = self._cached("networks", NETWORK_LIFE, lambda: self._networks(deadline))
        if (coin, network) not in found:
            raise ServiceRejected("binance", "quote", detail=f"withdrawals of {coin} on {network} are closed")
        rule = found[coin, network]
        if min(rule.fee, rule.minimum, rule.step) < 0 or rule.maximum <= 0:
            raise MalformedResponse("binance", "info", detail="odd limits of a withdrawal")
        return rule

    def withdrawals(self, coin: str, since: int, deadline: Deadline, *, anew: bool = False) -> tuple[Any, bool]:
        """Withdrawals of a coin since a day before `since` (Unix ms), and whether they were asked for after this call
        began: a reading that is up to HISTORY_LIFE old can show a withdrawal, but not the absence of one. That is for
        one that is made `anew`."""
        began, day = time.monotonic(), 86_400_000
        start = since // day * day - day
        until = milliseconds(self._clock.now()) + 300_000

        def read() -> Any:
            params = {"coin": coin, "startTime": str(start), "endTime": str(min(until, start + 89 * day))}
            return self._signed("status", "/sapi/v1/capital/withdraw/history", params, deadline)

        rows, read_at = self._cached(f"withdrawals:{coin}:{start}", 0.0 if anew else self._history_life, read)
        return rows, read_at >= began

    def server_time(self, deadline: Deadline) -> int:
        """The server's time in milliseconds, by our clock and a measured offset."""
        offset, _ = self._cached("offset", CLOCK_LIFE, lambda: self._offset(deadline))
        return milliseconds(self._clock.now()) + offset

    def forget_time(self) -> None:
        """Measure the clock again before the next signed call."""
        with self._lock:
            self._kept.pop("offset", None)

    def _cached(self, name: str, life: float, read: Callable[[], T]) -> tuple[T, float]:
        """What was read, and the moment when it was asked for."""
        with self._lock:
            kept: tuple[T, float] | None = self._kept.get(name)
        now = time.monotonic()
        if kept is not None and now - kept[1] < life:
            return kept
        fresh = (read(), now)  # not under the lock: a slow answer must not hold others up
        with self._lock:
            self._kept[name] = fresh
        return fresh

    def _offset(self, deadline: Deadline) -> int:
        before = milliseconds(self._clock.now())
        body = self._public("info", "/api/v3/time", "", deadline)
        after = milliseconds(self._clock.now())
        with _strict():
            return int(body["serverTime"]) - (before + after) // 2

    def _listed(self, coins: tuple[str, str], deadline: Deadline) -> Symbol | None:
        """The pair by its name, which is base and quote; the whole list is several MiB long."""
        for base, quote in (coins, coins[::-1]):
            try:
                body = self._public("info", "/api/v3/exchangeInfo", encode({"symbol": base + quote}), deadline)
            except ServiceRejected as error:
                if error.code != _NO_SYMBOL:
                    raise
                continue
            with _strict():
                for listed in body["symbols"]:
                    if {listed["baseAsset"], listed["quoteAsset"]} == {base, quote}:
                        return _symbol(listed)
        return None

    def _networks(self, deadline: Deadline) -> dict[tuple[str, str], Network]:
        body = self._signed("info", "/sapi/v1/capital/config/getall", {}, deadline)
        with _strict():
            return {
                (coin["coin"], one["network"]): Network(
                    one["network"],
                    exact(one["withdrawFee"]),
                    exact(one["withdrawMin"]),
                    exact(one["withdrawMax"]),
                    exact(one["withdrawIntegerMultiple"]),
                )
                for coin in body
                for one in coin["networkList"]
                if coin["withdrawAllEnable"] and one["withdrawEnable"] and not one.get("busy")
            }


def _symbol(body: Any) -> Symbol:
    filters = {one["filterType"]: one for one in body["filters"]}
    lot = filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
    return Symbol(
        name=body["symbol"],
        base=body["baseAsset"],
        quote=body["quoteAsset"],
        step=exact(lot["stepSize"]),
        min_quantity=exact(lot["minQty"]),
        max_quantity=exact(lot["maxQty"]),
        tick=exact(filters["PRICE_FILTER"]["tickSize"]),
        min_notional=exact(notional["minNotional"]),
        tradable=body["status"] == "TRADING" and body["isSpotTradingAllowed"] and "LIMIT" in body["orderTypes"],
    )


class _strict:  # noqa: N801  reads as a statement
    """Turn an odd answer into MalformedResponse."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | ArithmeticError):
            raise MalformedResponse("binance", "info", detail="odd answer") from error
