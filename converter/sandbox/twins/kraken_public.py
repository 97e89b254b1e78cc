"""What the Kraken twin tells without an order: system, assets, prices, balances, fees.

Source: `services/kraken.md` sections 3, 4, 9 and 10. Inferred here: figures of the ticker other than prices are still;
the limit of public calls per address is not played.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.kraken_assets import ASSETS, MAKER, PAIRS, Book, Pair, asset_named, pair_named
from converter.sandbox.twins.kraken_auth import Endpoint, KrakenError, Params
from converter.sandbox.twins.kraken_desk import TradingDesk

STATUSES = ("online", "maintenance", "cancel_only", "post_only")
PAIR_STATUSES = ("online", "cancel_only", "post_only", "limit_only", "reduce_only")
_MAX_DEPTH = 500


class Notice:
    """The endpoints that change nothing."""

    def __init__(self, world: World, book: Book, desk: TradingDesk) -> None:
        self.status = "online"
        self.pair_statuses: dict[str, str] = {}
        self._world, self._book, self._desk = world, book, desk

    def endpoints(self) -> list[Endpoint]:
        """Public ones and balances."""
        public, private = "/0/public/", "/0/private/"
        return [
            Endpoint(f"{public}Time", "info", self._time),
            Endpoint(f"{public}SystemStatus", "info", self._system),
            Endpoint(f"{public}Assets", "info", self._assets),
            Endpoint(f"{public}AssetPairs", "info", self._pairs),
            Endpoint(f"{public}Ticker", "quote", self._ticker),
            Endpoint(f"{public}Depth", "quote", self._depth),
            Endpoint(f"{private}Balance", "info", self._balance),
            Endpoint(f"{private}BalanceEx", "info", self._balance_ex),
            Endpoint(f"{private}TradeVolume", "info", self._volume),
        ]

    def check_open(self, pair: Pair, kind: str) -> None:
        """Refuse an order that the state of the system or of the pair does not allow."""
        for status in (self.status, self.pair_statuses.get(pair.pair_id, "online")):
            if status == "maintenance":
                raise KrakenError("EService:Unavailable")
            if status in ("cancel_only", "post_only"):
                raise KrakenError(f"EService:Market in {status} mode")
            if status != "online" and kind == "market":
                raise KrakenError("EGeneral:Invalid arguments:ordertype")

    def _time(self, params: Params) -> dict[str, Any]:  # noqa: ARG002
        now = datetime.fromtimestamp(int(self._world.now()), UTC)
        return {"unixtime": int(self._world.now()), "rfc1123": now.strftime("%a, %d %b %y %H:%M:%S +0000")}

    def _system(self, params: Params) -> dict[str, Any]:  # noqa: ARG002
        now = datetime.fromtimestamp(int(self._world.now()), UTC)
        return {"status": self.status, "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _assets(self, params: Params) -> dict[str, Any]:
        wanted = [asset_named(name) for name in (params.text("asset") or "").split(",") if name]
        return {asset.asset_id: asset.listing() for asset in wanted or ASSETS.values()}

    def _pairs(self, params: Params) -> dict[str, Any]:
        taker = f"{self._desk.switches.fee:f}"
        return {
            pair.pair_id: pair.listing(taker, self.pair_statuses.get(pair.pair_id, self._pair_status()))
            for pair in _wanted(params)
        }

    def _pair_status(self) -> str:
        return self.status if self.status in PAIR_STATUSES else "cancel_only"

    def _ticker(self, params: Params) -> dict[str, Any]:
        return {pair.pair_id: self._prices(pair) for pair in _wanted(params)}

    def _prices(self, pair: Pair) -> dict[str, Any]:
        bids, asks = self._book.levels(pair)
        places = pair.pair_decimals

        def side(level: tuple[Decimal, Decimal]) -> list[str]:
            return [f"{level[0]:.{places}f}", f"{int(level[1])}", f"{level[1]:.3f}"]

        last = f"{self._book.mid(pair):.{places}f}"
        pair_of = [last, last]
        return {
            "a": side(asks[0]),
            "b": side(bids[0]),
            "c": [last, f"{pair.ordermin:.8f}"],
            "v": ["0.00000000", "0.00000000"],
            "p": pair_of,
            "t": [0, 0],
            "l": pair_of,
            "h": pair_of,
            "o": last,
        }

    def _depth(self, params: Params) -> dict[str, Any]:
        pair, count, now = pair_named(params.need("pair")), params.whole("count", 100), int(self._world.now())
        if not 1 <= count <= _MAX_DEPTH:
            raise KrakenError("EGeneral:Invalid arguments:count")
        bids, asks = self._book.levels(pair)
        sides = {
            name: [[f"{price:.{pair.pair_decimals}f}", f"{volume:.3f}", now] for price, volume in levels[:count]]
            for name, levels in (("asks", asks), ("bids", bids))
        }
        return {pair.pair_id: sides}

    def _balance(self, params: Params) -> dict[str, str]:  # noqa: ARG002
        return {asset_id: f"{amount:.10f}" for asset_id, amount in self._desk.balances.items()}

    def _balance_ex(self, params: Params) -> dict[str, Any]:  # noqa: ARG002
        return {
            asset_id: {"balance": f"{amount:.10f}", "hold_trade": f"{self._desk.held(asset_id):.10f}"}
            for asset_id, amount in self._desk.balances.items()
        }

    def _volume(self, params: Params) -> dict[str, Any]:
        fee = f"{self._desk.switches.fee:.4f}"
        found: dict[str, Any] = {"currency": "ZUSD", "volume": "0.0000"}
        names = [name for name in (params.text("pair") or "").split(",") if name]
        if names:
            pairs = [pair_named(name).pair_id for name in names]
            found["fees"] = {pair: _fee_step(fee) for pair in pairs}
            found["fees_maker"] = {pair: _fee_step(f"{Decimal(MAKER):.4f}") for pair in pairs}
        return found


def _fee_step(fee: str) -> dict[str, str]:
    steps = {"minfee": "0.1000", "maxfee": fee, "nextfee": "0.2400", "tiervolume": "0.0000", "nextvolume": "50000.0000"}
    return {"fee": fee} | steps


def _wanted(params: Params) -> list[Pair]:
    names = [name for name in (params.text("pair") or "").split(",") if name]
    return [pair_named(name) for name in names] or list(PAIRS.values())
