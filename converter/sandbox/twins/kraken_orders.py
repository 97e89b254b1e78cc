"""Orders of the Kraken twin: the form that a client fills in, and how an order is shown.

Source: `services/kraken.md` sections 3, 5 and 6. Inferred here: the order of the checks; the texts of what the sheet
leaves open; the default of the fee flag is the one described there (base when selling, quote when buying).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twins.kraken_assets import Pair, pair_named
from converter.sandbox.twins.kraken_auth import KrakenError, Params

PAGE = 50  # rows of a list
OFLAGS = {"fcib", "fciq", "nompp", "post", "viqc"}
CLIENT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[!-~]{1,18}")
DEADLINE_FROM, DEADLINE_TO = 2, 60  # seconds from now
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
UNIT = Decimal("1e-10")
_NOTHING = Decimal(0)


@dataclass(frozen=True)
class OrderForm:
    """A checked order as a client asked for it."""

    pair: Pair
    buys: bool
    kind: str
    volume: Decimal
    price: Decimal | None
    flags: frozenset[str]
    in_force: str
    client_id: str | None
    userref: int | None

    @property
    def fee_in_base(self) -> bool:
        """Whether the fee is taken from the base asset."""
        return "fcib" in self.flags

    @property
    def words(self) -> str:
        """The order in words."""
        price = "market" if self.price is None else f"limit {self.price:.{self.pair.pair_decimals}f}"
        return f"{'buy' if self.buys else 'sell'} {self.volume:.8f} {self.pair.altname} @ {price}"


@dataclass
class Trade:
    """One fill."""

    trade_id: str
    price: Decimal
    volume: Decimal
    cost: Decimal
    fee: Decimal


@dataclass
class Order:
    """An order that the exchange has taken."""

    form: OrderForm
    txid: str
    volume: Decimal
    opened: Decimal
    visible_from: float
    status: str = "open"
    reason: str | None = None
    closed: Decimal | None = None
    pending_lookups: int = 0
    trades: list[Trade] = field(default_factory=list)

    @property
    def executed(self) -> Decimal:
        """Base volume traded."""
        return sum((trade.volume for trade in self.trades), _NOTHING)

    @property
    def cost(self) -> Decimal:
        """Quote amount traded."""
        return sum((trade.cost for trade in self.trades), _NOTHING)

    @property
    def fee(self) -> Decimal:
        """All fees, in base or quote as the flags say."""
        return sum((trade.fee for trade in self.trades), _NOTHING)

    @property
    def held(self) -> tuple[str, Decimal]:
        """Asset and amount that an open rest keeps."""
        if self.status != "open":
            return self.form.pair.base.asset_id, _NOTHING
        rest = self.volume - self.executed
        if self.form.buys:
            return self.form.pair.quote.asset_id, rest * (self.form.price or _NOTHING)
        return self.form.pair.base.asset_id, rest

    @property
    def seems_open(self) -> bool:
        """Whether lookups count it among the open ones: while pending it does not show that it has ended."""
        return self.status == "open" or self.pending_lookups > 0

    def view(self, factor: Decimal, *, trades: bool) -> dict[str, Any]:
        """The row of a lookup; `factor` is the sandbox's wrong-amount fault."""
        form, pair = self.form, self.form.pair
        pending = self.pending_lookups > 0
        executed = _NOTHING if pending else self.executed * factor
        cost, fee = (_NOTHING, _NOTHING) if pending else (self.cost * factor, self.fee)
        row: dict[str, Any] = {
            "refid": None,
            "userref": form.userref,
            "cl_ord_id": form.client_id,
            "status": "pending" if pending else self.status,
            "opentm": self.opened,
            "starttm": 0,
            "expiretm": 0,
            "descr": self._words(),
            "vol": f"{self.volume:.8f}",
            "vol_exec": f"{executed:.8f}",
            "cost": f"{cost.quantize(UNIT, ROUND_FLOOR):f}",
            "fee": f"{fee.quantize(UNIT, ROUND_FLOOR):f}",
            "price": f"{(cost / executed if executed else _NOTHING):.{pair.pair_decimals}f}",
            "stopprice": "0.00000",
            "limitprice": "0.00000",
            "misc": "",
            "oflags": ",".join(sorted(form.flags)),
        }
        if trades and not pending:
            row["trades"] = [trade.trade_id for trade in self.trades]
        if self.closed is not None and not pending:
            row |= {"reason": self.reason, "closetm": self.closed}
        return row

    def _words(self) -> dict[str, str]:
        return {
            "pair": self.form.pair.altname,
            "type": "buy" if self.form.buys else "sell",
            "ordertype": self.form.kind,
            "price": f"{self.form.price or _NOTHING:f}",
            "price2": "0",
            "leverage": "none",
            "order": self.form.words,
            "close": "",
        }


def read_form(params: Params, now: float) -> OrderForm:
    """Check everything about an order that does not depend on prices and balances; KrakenError says what is wrong."""
    pair = pair_named(params.need("pair"))
    side, kind = params.need("type"), params.need("ordertype")
    if side not in ("buy", "sell"):
        raise KrakenError("EGeneral:Invalid arguments:type")
    if kind not in ("market", "limit"):
        raise KrakenError("EGeneral:Invalid arguments:ordertype")
    client_id, userref = params.text("cl_ord_id"), params.text("userref")
    if userref and not (re.fullmatch(r"-?[0-9]{1,10}", userref) and -(2**31) <= int(userref) < 2**31):
        raise KrakenError("EGeneral:Invalid arguments:userref")
    if client_id and (userref or not CLIENT_ID.fullmatch(client_id)):
        raise KrakenError("EGeneral:Invalid arguments:cl_ord_id")
    volume, price = params.decimal("volume"), params.decimal("price") if kind == "limit" else None
    flags = _flags(params, kind, "buy" if side == "buy" else "sell")
    if volume is None or volume != volume.quantize(pair.lot, ROUND_FLOOR):
        raise KrakenError("EGeneral:Invalid arguments:volume")
    if kind == "limit" and price is None:
        raise KrakenError("EGeneral:Invalid arguments:price")
    if price is not None and price % pair.tick:
        raise KrakenError("EOrder:Tick size check failed")
    in_force = params.text("timeinforce") or "GTC"
    if in_force not in ("GTC", "IOC", "FOK") or (in_force == "FOK" and kind == "market"):
        raise KrakenError("EGeneral:Invalid arguments:timeinforce")
    _check_deadline(params, now)
    reference = int(userref) if userref else None
    return OrderForm(pair, side == "buy", kind, volume, price, flags, in_force, client_id, reference)


def check_minimums(form: OrderForm, volume: Decimal, price: Decimal) -> None:
    """The least volume and the least cost of a pair."""
    if volume < form.pair.ordermin:
        raise KrakenError("EOrder:Order minimum not met")
    if volume * price < form.pair.costmin:
        raise KrakenError("EOrder:Cost minimum not met")


def _flags(params: Params, kind: str, side: str) -> frozenset[str]:
    flags = set(filter(None, (params.text("oflags") or "").split(",")))
    misplaced = ("viqc" in flags and kind != "market") or ("post" in flags and kind != "limit")
    if flags - OFLAGS or {"fcib", "fciq"} <= flags or misplaced:
        raise KrakenError("EGeneral:Invalid arguments:oflags")
    if not flags & {"fcib", "fciq"}:
        flags.add("fciq" if side == "buy" else "fcib")
    return frozenset(flags)


def _check_deadline(params: Params, now: float) -> None:
    text = params.text("deadline")
    if text is None:
        return
    if not _RFC_3339.fullmatch(text):
        raise KrakenError("EGeneral:Invalid arguments:deadline")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise KrakenError("EGeneral:Invalid arguments:deadline") from error
    left = moment.timestamp() - now
    if left <= 0:
        raise KrakenError("EService:Deadline elapsed")
    if not DEADLINE_FROM <= left <= DEADLINE_TO:
        raise KrakenError("EGeneral:Invalid arguments:deadline")
