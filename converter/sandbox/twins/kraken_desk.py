"""The trading desk of the Kraken twin: placing, looking up and cancelling orders, balances.

Source: `services/kraken.md` sections 5 to 8 and 13. `cl_ord_id` is unique among open orders only. AddOrder answers an
id and nothing else. Inferred here: the text for a client id in use; orders are matched at once, a resting one never
fills; an unknown txid is `EOrder:Unknown order`; the age of a cancelled order counts in the clock's seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.kraken_assets import (
    ASSETS,
    SERVICE_ID,
    Book,
    Level,
    floor_to,
    pair_named,
    take_cost,
    take_volume,
)
from converter.sandbox.twins.kraken_auth import Endpoint, Gate, KrakenError, Params
from converter.sandbox.twins.kraken_orders import PAGE, Order, OrderForm, Trade, check_minimums, read_form

MAX_TXIDS = 50
_CANCEL_COSTS = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_NOTHING = Decimal(0)


def made_up_id(text: str, first: str) -> str:
    """An id in the pattern XXXXXX-XXXXX-XXXXXX that depends on the text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    letters = first + "".join(_LETTERS[byte % 32] for byte in digest[:16])
    return f"{letters[:6]}-{letters[6:11]}-{letters[11:17]}"


@dataclass
class Switches:
    """What the control interface can change about trading; the counts wear off."""

    hide_lookups: int = 0
    pending_lookups: int = 0
    engine_refuses: int = 0
    surface_after_ms: int = 0
    fill_share: Decimal = Decimal(1)
    fee: Decimal = Decimal("0.26")


class TradingDesk:
    """All orders of the account, and what it has. `balances` are totals; `free` is what no order holds."""

    def __init__(self, world: World, gate: Gate, book: Book) -> None:
        self.switches = Switches()
        self.balances = {asset_id: Decimal(asset.start) for asset_id, asset in ASSETS.items()}
        self.orders: dict[str, Order] = {}
        self._world, self._gate, self._book = world, gate, book
        self._trades = 0
        self._born = int(world.now() * 1000)

    def endpoints(self) -> list[Endpoint]:
        """Orders, trades, balances."""
        private = "/0/private/"
        return [
            Endpoint(f"{private}AddOrder", "order", self._add, 0, executes=True),
            Endpoint(f"{private}CancelOrder", "cancel", self._cancel, 0, executes=True),
            Endpoint(f"{private}QueryOrders", "status", self._query),
            Endpoint(f"{private}OpenOrders", "status", self._open),
            Endpoint(f"{private}ClosedOrders", "status", self._closed),
        ]

    def held(self, asset_id: str) -> Decimal:
        """What open orders hold of an asset."""
        return sum(
            (amount for order in self.orders.values() for name, amount in [order.held] if name == asset_id), _NOTHING
        )

    def free(self, asset_id: str) -> Decimal:
        """What can be spent now."""
        return self.balances[asset_id] - self.held(asset_id)

    def _add(self, params: Params) -> dict[str, Any]:
        now = self._world.now()
        self._gate.charge_engine(pair_named(params.need("pair")).pair_id, 1)
        form = read_form(params, now)
        if form.client_id and any(
            order.form.client_id == form.client_id and order.status == "open" for order in self.orders.values()
        ):
            raise KrakenError("EOrder:Duplicate order")
        taken, volume = self._match(form)
        check_minimums(form, volume, form.price or self._book.mid(form.pair))
        self._check_funds(form, taken, volume)
        descr = {"descr": {"order": form.words}}
        if params.flag("validate"):
            return descr
        order = self._place(form, taken, volume)
        return descr | {"txid": [order.txid]}

    def _place(self, form: OrderForm, taken: list[Level], volume: Decimal) -> Order:
        now, switches = self._world.now(), self.switches
        txid = made_up_id(f"order {self._born} {len(self.orders)}", "O")
        visible = now + switches.surface_after_ms / 1000 / self._world.speed if switches.surface_after_ms else 0.0
        order = Order(form, txid, volume, _moment(now), visible, pending_lookups=switches.pending_lookups)
        if switches.engine_refuses:
            switches.engine_refuses -= 1
            taken, order.status, order.reason = [], "canceled", "Insufficient funds"
        for level in taken:
            self._trade(order, level)
        if order.status == "open" and (form.kind == "market" or form.in_force != "GTC" or order.executed == volume):
            order.status = "closed" if order.executed == volume else "canceled"
            order.reason = None if order.executed == volume else "Order could not be filled"
        order.closed = None if order.status == "open" else _moment(now)
        self.orders[txid] = order
        self._world.truth.executed(
            SERVICE_ID,
            "order",
            order_id=txid,
            reference=form.client_id,
            pair=form.pair.altname,
            side="buy" if form.buys else "sell",
            executed_volume=order.executed,
            cost=order.cost,
            status=order.status,
        )
        return order

    def _match(self, form: OrderForm) -> tuple[list[Level], Decimal]:
        """Parts of the book that the order takes, and its volume in base."""
        bids, asks = self._book.levels(form.pair)
        levels, sign = (asks, 1) if form.buys else (bids, -1)
        if "viqc" in form.flags:
            taken = take_cost(levels, form.volume, form.pair.lot)
            volume = _volume(taken)
        else:
            taken, volume = take_volume(levels, form.volume, form.price, sign), form.volume
        if "post" in form.flags or (form.in_force == "FOK" and _volume(taken) < volume):
            return [], volume
        if self.switches.fill_share < 1:
            part = floor_to(volume * self.switches.fill_share, form.pair.lot)
            taken = take_volume(taken, part, form.price, sign)
        return taken, volume

    def _check_funds(self, form: OrderForm, taken: list[Level], volume: Decimal) -> None:
        cost = sum((price * part for price, part in taken), _NOTHING)
        if form.price is not None:
            cost = max(cost, form.price * volume)
        share = self.switches.fee / 100
        needs = cost if form.buys else volume
        if form.fee_in_base != form.buys:  # the fee comes from the side that is given away
            needs *= 1 + share
        asset = form.pair.quote if form.buys else form.pair.base
        if needs > self.free(asset.asset_id):
            raise KrakenError("EOrder:Insufficient funds")

    def _trade(self, order: Order, level: Level) -> None:
        (price, volume), form = level, order.form
        cost = (price * volume).quantize(Decimal("1e-10"), ROUND_FLOOR)
        fee = ((volume if form.fee_in_base else cost) * self.switches.fee / 100).quantize(Decimal("1e-10"), ROUND_FLOOR)
        self._trades += 1
        order.trades.append(Trade(made_up_id(f"trade {self._born} {self._trades}", "T"), price, volume, cost, fee))
        sign = 1 if form.buys else -1
        self.balances[form.pair.base.asset_id] += sign * volume - (fee if form.fee_in_base else 0)
        self.balances[form.pair.quote.asset_id] -= sign * cost + (0 if form.fee_in_base else fee)

    def _cancel(self, params: Params) -> dict[str, Any]:
        wanted, client_id = params.text("txid"), params.text("cl_ord_id")
        if not wanted and not client_id:
            raise KrakenError("EGeneral:Invalid arguments:txid")
        found = [
            order
            for order in self.orders.values()
            if order.status == "open" and (order.txid == wanted or (client_id and order.form.client_id == client_id))
        ]
        if not found:
            raise KrakenError("EOrder:Unknown order")
        now = self._world.now()
        for order in found:
            age = _moment(now) - order.opened
            self._gate.charge_engine(
                order.form.pair.pair_id, next((cost for limit, cost in _CANCEL_COSTS if age < limit), 0)
            )
            order.status, order.reason, order.closed = "canceled", "User requested", _moment(now)
            self._world.truth.executed(SERVICE_ID, "cancel", order_id=order.txid, reference=order.form.client_id)
        return {"count": len(found)}

    def _query(self, params: Params) -> dict[str, Any]:
        txids = params.need("txid").split(",")
        if len(txids) > MAX_TXIDS:
            raise KrakenError("EGeneral:Invalid arguments:txid")
        if not any(txid in self.orders for txid in txids):
            raise KrakenError("EOrder:Unknown order")
        rows = [self.orders[txid] for txid in txids if txid in self.orders]
        return self._rows([order for order in rows if not order.visible_from], params)

    def _open(self, params: Params) -> dict[str, Any]:
        return {"open": self._rows([order for order in self._filtered(params) if order.seems_open], params)}

    def _closed(self, params: Params) -> dict[str, Any]:
        start, end = params.whole("start", 0), params.whole("end", 2**40)
        rows = [
            order
            for order in reversed(self._filtered(params))
            if not order.seems_open and start <= order.opened <= end + 1
        ]
        offset = params.whole("ofs", 0)
        shown = self._rows(rows[offset : offset + PAGE], params)
        return {"closed": shown, "count": len(rows) if shown else 0}

    def _filtered(self, params: Params) -> list[Order]:
        client_id, userref, now = params.text("cl_ord_id"), params.text("userref"), self._world.now()
        return [
            order
            for order in self.orders.values()
            if client_id in (None, order.form.client_id)
            and userref in (None, str(order.form.userref))
            and order.visible_from <= now
        ]

    def _rows(self, orders: list[Order], params: Params) -> dict[str, Any]:
        """Rows by id, less what the switches hide."""
        if self.switches.hide_lookups:
            self.switches.hide_lookups -= 1
            return {}
        factor, trades = self._world.wrong_amount(SERVICE_ID), params.flag("trades")
        rows = {order.txid: order.view(factor, trades=trades) for order in orders}
        for order in orders:
            order.pending_lookups = max(0, order.pending_lookups - 1)
        return rows


def _volume(taken: list[Level]) -> Decimal:
    return sum((volume for _, volume in taken), _NOTHING)


def _moment(now: float) -> Decimal:
    return Decimal(str(now)).quantize(Decimal("0.0001"))
