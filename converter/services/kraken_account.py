"""What Kraken is asked for: its pairs and books, our fees, balances and saved addresses, orders and withdrawals.

Limits: Kraken's guide on REST rate limits, for a key of the lowest tier (Starter).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import AmountOutOfRange, IntegrityMismatch, MalformedResponse, ServiceRejected
from converter.domain.limits import MINUTE, Budget, Limit
from converter.domain.money import plain
from converter.ports import Deadline
from converter.services.base import exact
from converter.services.kraken_errors import NO_SUCH_ORDER
from converter.services.kraken_market import Code, Kept, Leg, Pair, Route, code_of, only, parse_pairs, routes
from converter.services.kraken_orders import client_id, ours_among
from converter.services.kraken_payouts import Terms, free_of, least_of, limit_of, saved_key, terms_of, unit_of

_PAIRS_LIFE, _FEE_LIFE, _METHODS_LIFE, _ADDRESSES_LIFE, _TERMS_LIFE, _BALANCE_LIFE = (
    600.0,
    3600.0,
    600.0,
    30.0,
    30.0,
    5.0,
)
"""Seconds. A key of the lowest tier has one call in three seconds."""

BUDGET = Budget(
    Limit(16, MINUTE, burst=12),
    operations={
        "find": Limit(3, MINUTE, burst=2),
        "health": Limit(12, MINUTE, burst=2),
        "list": Limit(1, 2 * MINUTE),
    },
    requests={"quote": 3, "order": 3, "advance": 3, "find": 4, "health": 0, "list": 2},
)
"""80 % of the counter of a key: 15, less one in three seconds. Only private calls count, and no AddOrder.

A quote reads balances, saved addresses and the terms of the withdrawal; an order or a step the latter two and one thing
more; a look-up two trades (the second among the open and the closed ones) and the withdrawals; the list has up to two
pages. What is kept for minutes (methods, fees) is in the fifth that is left. Look-ups leave a quarter to what moves
money. Public calls go by address: of Depth, about one a second is a safe pace, and so few quotes stay far below it; the
health check is held by itself.
"""

EARLIER = 60
"""Seconds by which clocks may differ where rows are asked for from a moment on."""

Found = tuple[str, Any]
"""Id and row of an order."""


class Account:
    """The reads. `public` and `signed` take operation, method, parameters and deadline, and give the result."""

    def __init__(self, public: Callable[..., Any], signed: Callable[..., Any], taker_fee: str | None) -> None:
        self._public = public
        self._signed = signed
        self._taker_fee = taker_fee
        self._kept = Kept()

    def routes(self, codes: tuple[Code, Code], deadline: Deadline) -> dict[str, Route]:
        """Ways from one asset to the other, traded now or not."""

        def read() -> dict[frozenset[str], Pair]:
            body = self._public("info", "AssetPairs", {}, deadline)
            with _strict("info"):
                return parse_pairs(body)

        return routes(self._kept.get("pairs", _PAIRS_LIFE, read), codes[0].asset, codes[1].asset)

    def book(self, leg: Leg, deadline: Deadline) -> Any:
        """The book of a leg's pair."""
        body = self._public("quote", "Depth", {"pair": leg.pair.name, "count": "100"}, deadline)
        with _strict("quote"):
            return only(body, leg.pair.names)

    def kept(self, pair: Pair, deadline: Deadline) -> Decimal:
        """The share that the taker's commission (a percentage there) leaves."""

        def read() -> Decimal:
            body = self._signed("info", "TradeVolume", {"pair": pair.name}, deadline)
            with _strict("info"):
                return exact(only(body["fees"], pair.names)["fee"])

        with _strict("info"):
            configured = self._taker_fee
            percent = exact(configured) if configured else self._kept.get(f"fee {pair.name}", _FEE_LIFE, read)
            if not 0 <= percent < 100:
                raise ValueError("no percentage")
            return 1 - percent / 100

    def free(self, asset: Asset, deadline: Deadline) -> Decimal:
        """What can be spent of an asset, by a reading that is a few seconds old."""
        body = self._kept.get("balances", _BALANCE_LIFE, lambda: self._signed("info", "BalanceEx", {}, deadline))
        with _strict("info"):
            return free_of(body, code_of(asset))

    def saved(self, asset: Asset, address: str, deadline: Deadline) -> str:
        """Name of the saved address; without an address, of any for the same method. Raises ServiceRejected."""
        code = code_of(asset)
        rows = self._kept.get(
            f"addresses {code.method}",
            _ADDRESSES_LIFE,
            lambda: self._signed("info", "WithdrawAddresses", {"asset": code.altname}, deadline),
        )
        with _strict("info"):
            key = saved_key(rows, code, address)
        if key is None:
            raise ServiceRejected("kraken", "order", detail="the address is not saved and confirmed in the account")
        return key

    def terms(self, place: tuple[Asset, str], gross: Decimal, deadline: Deadline, *, fresh: bool) -> Terms:
        """What withdrawing `gross` costs (place: asset and saved key); not `fresh`: by a reading for another amount, if
        there is one. Raises ServiceRejected while the method is closed, AmountOutOfRange in units of the asset."""
        asset, key = place
        code, unit = code_of(asset), unit_of(asset)
        asked = {"asset": code.altname}
        rows = self._kept.get(
            f"methods {code.asset}", _METHODS_LIFE, lambda: self._signed("info", "WithdrawMethods", asked, deadline)
        )
        with _strict("info"):
            least = least_of(rows, code)
        if least is None:
            raise ServiceRejected("kraken", "quote", detail=f"withdrawals by {code.method} are closed")
        if gross < max(least, unit):
            raise AmountOutOfRange("kraken", "quote", minimum=Terms(Decimal(0), least, unit).gross(least))

        def read() -> Terms:
            body = self._signed("info", "WithdrawInfo", {**asked, "key": key, "amount": plain(gross)}, deadline)
            with _strict("info"):
                most = limit_of(body, gross)
                terms = terms_of(body, gross, least, unit)
            # What lies in the account bounds it too, and the trade will add to that: at our balance it says nothing.
            if most is not None and most < self.free(asset, deadline):
                raise AmountOutOfRange("kraken", "quote", maximum=most)
            return terms

        return self._kept.get(f"terms {code.asset} {key}", 0.0 if fresh else _TERMS_LIFE, read)

    def order(self, txid: str | None, key: str, since: datetime, deadline: Deadline) -> Found | None:
        """The order with our key: by its id, else among the open ones, then among the closed ones."""
        found = None if txid is None else self.order_by_id(txid, key, deadline)
        if found is not None:
            return found
        asked = {"cl_ord_id": client_id(key)}
        body = self._signed("status", "OpenOrders", asked, deadline)
        with _strict("status"):
            found = ours_among(body["open"], key)
        if found is not None:
            return found
        asked["start"] = str(int(since.timestamp()) - EARLIER)
        body = self._signed("status", "ClosedOrders", asked, deadline)
        with _strict("status"):
            found = ours_among(body["closed"], key)
            if found is None and exact(body["count"]) > len(body["closed"]):
                raise ValueError("the list is longer than a page")
            return found

    def order_by_id(self, txid: str, key: str, deadline: Deadline) -> Found | None:
        """The order with this id. It may be missing for a moment."""
        try:
            body = self._signed("status", "QueryOrders", {"txid": txid}, deadline)
        except ServiceRejected as error:
            if error.code != NO_SUCH_ORDER:
                raise
            return None
        with _strict("status"):
            rows: Mapping[str, Any] = dict(body)
            if not rows:
                return None
            found = ours_among({txid: rows[txid]}, key)
        if found is None:
            raise IntegrityMismatch("kraken", "status", detail="the order has another client id")
        return found

    def withdrawals(self, asset: Asset, since: datetime, deadline: Deadline) -> Any:
        """Withdrawals of an asset from shortly before a moment on."""
        asked = {"asset": code_of(asset).altname, "start": str(int(since.timestamp()) - EARLIER)}
        return self._signed("status", "WithdrawStatus", asked, deadline)


@contextmanager
def _strict(operation: str) -> Iterator[None]:
    """Turn an odd answer into MalformedResponse."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError, IndexError, AttributeError) as error:
        raise MalformedResponse("kraken", operation, detail=f"odd answer: {type(error).__name__}") from error
