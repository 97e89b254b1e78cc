"""What Binance publishes about itself and we keep for a while: symbols, networks, its clock, its refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
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
from converter.domain.money import EXACT
from converter.ports import Clock, Deadline
from converter.services.base import exact, milliseconds

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
NOT_EXECUTED = _PARAMETERS | _KEYS | _LIMITS | _WITHDRAWAL | {-1013, -1014, -1020, -1034, -2010, -2013, -2026}
"""Codes that prove that nothing was executed (errors.md and client lists). The rest, -1000, -1006, -1007, -1008,
-4027, -4032 and -4046 (two readings) among them, is unknown."""

T = TypeVar("T")


def error_class(operation: str, code: int) -> ServiceError:
    """The error for a code of NOT_EXECUTED."""
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
    tick: Decimal
    min_notional: Decimal

    def smallest(self, levels: Sequence[tuple[Decimal, Decimal]], *, selling: bool) -> Decimal | None:
        """Smallest from_coin amount that the filters allow at the present price."""
        if not levels:
            return None
        price = levels[0][0]
        if selling:
            return max(self.min_quantity, EXACT.divide(self.min_notional, price).quantize(Decimal("1e-8")))
        return max(self.min_notional, EXACT.multiply(self.min_quantity, price).quantize(Decimal("1e-8")))


@dataclass(frozen=True)
class Network:
    """Withdrawing a coin on a network."""

    fee: Decimal
    minimum: Decimal
    step: Decimal


class Rules:
    """Cached rules; every thread may read, one call refreshes."""

    def __init__(self, public: Callable[..., Any], signed: Callable[..., Any], clock: Clock) -> None:
        self._public = public
        self._signed = signed
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}

    def symbol(self, one: str, other: str, deadline: Deadline) -> Symbol | None:
        """The tradable pair of two coins, whichever is its base."""
        symbols: dict[frozenset[str], Symbol] = self._cached("symbols", SYMBOL_LIFE, lambda: self._symbols(deadline))
        return symbols.get(frozenset((one, other)))

    def network(self, coin: str, network: str, deadline: Deadline) -> Network:
        """Fee and limits of a withdrawal. Raises ServiceRejected while it is switched off."""
        found: dict[tuple[str, str], Network] = self._cached("networks", NETWORK_LIFE, lambda: self._networks(deadline))
        if (coin, network) not in found:
            raise ServiceRejected("binance", "quote", detail=f"withdrawals of {coin} on {network} are closed")
        return found[coin, network]

    def withdrawals(self, coin: str, since: int, deadline: Deadline) -> Any:
        """Withdrawals of a coin since a day before `since` (Unix ms); may be HISTORY_LIFE old."""
        day = 86_400_000
        start = since // day * day - day
        until = milliseconds(self._clock.now()) + 300_000

        def read() -> Any:
            params = {"coin": coin, "startTime": str(start), "endTime": str(min(until, start + 89 * day))}
            return self._signed("status", "/sapi/v1/capital/withdraw/history", params, deadline)

        return self._cached(f"withdrawals:{coin}:{start}", HISTORY_LIFE, read)

    def server_time(self, deadline: Deadline) -> int:
        """The server's time in milliseconds, by our clock and a measured offset."""
        offset: int = self._cached("offset", CLOCK_LIFE, lambda: self._offset(deadline))
        return milliseconds(self._clock.now()) + offset

    def forget_time(self) -> None:
        """Measure the clock again before the next signed call."""
        with self._lock:
            self._kept.pop("offset", None)

    def _cached(self, name: str, life: float, read: Callable[[], T]) -> T:
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and time.monotonic() - kept[0] < life:
            value: T = kept[1]
            return value
        fresh = read()  # not under the lock: a slow answer must not hold others up
        with self._lock:
            self._kept[name] = (time.monotonic(), fresh)
        return fresh

    def _offset(self, deadline: Deadline) -> int:
        before = milliseconds(self._clock.now())
        body = self._public("info", "/api/v3/time", "", deadline)
        after = milliseconds(self._clock.now())
        with _strict():
            return int(body["serverTime"]) - (before + after) // 2

    def _symbols(self, deadline: Deadline) -> dict[frozenset[str], Symbol]:
        body = self._public("info", "/api/v3/exchangeInfo", "", deadline)
        with _strict():
            tradable = [one for one in body["symbols"] if one["status"] == "TRADING" and "LIMIT" in one["orderTypes"]]
            return {frozenset((one["baseAsset"], one["quoteAsset"])): _symbol(one) for one in tradable}

    def _networks(self, deadline: Deadline) -> dict[tuple[str, str], Network]:
        body = self._signed("info", "/sapi/v1/capital/config/getall", {}, deadline)
        with _strict():
            return {
                (coin["coin"], one["network"]): Network(
                    exact(one["withdrawFee"]), exact(one["withdrawMin"]), exact(one["withdrawIntegerMultiple"])
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
        tick=exact(filters["PRICE_FILTER"]["tickSize"]),
        min_notional=exact(notional["minNotional"]),
    )


class _strict:  # noqa: N801  reads as a statement
    """Turn an odd answer into MalformedResponse."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | ArithmeticError):
            raise MalformedResponse("binance", "info", detail="odd answer") from error
