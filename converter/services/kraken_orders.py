"""Kraken's orders: the client id that is ours, and what a row of a look-up says."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

from converter.domain.errors import IntegrityMismatch, MalformedResponse
from converter.domain.money import EXACT, floor_to, plain
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.services.base import exact
from converter.services.kraken_market import UNIT, Leg, Route, Step

_OPEN = {"pending", "open"}
_ENDED = {"closed", "canceled", "expired"}
"""Ended does not say what happened: `vol_exec` does."""


def client_id(key: str) -> str:
    """Our key as a client id: only a UUID or 18 letters fit there, so a UUID is made of it, the same each time."""
    return str(uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))


def form(step: Step, least: Decimal, key: str) -> dict[str, str]:
    """An order for a priced leg: whole or not at all, at a bound, the commission taken from what comes in."""
    return {
        "pair": step.leg.pair.name,
        "type": "sell" if step.leg.selling else "buy",
        "ordertype": "limit",
        "timeinforce": "FOK",
        "volume": plain(step.quantity),
        "price": plain(step.price(least)),
        "oflags": "fciq" if step.leg.selling else "fcib",
        "cl_ord_id": client_id(key),
    }


def ours_among(rows: Any, key: str) -> tuple[str, Any] | None:
    """Id and row of the order with our client id. IntegrityMismatch when there are two."""
    found = [(txid, row) for txid, row in dict(rows).items() if row["cl_ord_id"] == client_id(key)]
    if len(found) > 1:
        raise IntegrityMismatch("kraken", "status", detail="two orders have our client id")
    return found[0] if found else None


def order_of(ref: OrderRef, row: Any, leg: Leg, amount: Decimal) -> Order:
    """The order that a row shows. `filled` is what it brought, commission off. IntegrityMismatch unless it is the trade
    that we asked for, of this leg and for this amount."""
    status, volume = row["status"], exact(row["vol"])
    _check_ours(row, leg, amount, volume)
    if status in _OPEN:
        return Order(ref, OrderStatus.OPEN, detail=status)
    if status not in _ENDED:
        raise MalformedResponse("kraken", "status", detail=f"unknown status {str(status)[:40]!r}")
    executed, cost, fee = exact(row["vol_exec"]), exact(row["cost"]), exact(row["fee"])
    if min(executed, cost, fee) < 0 or (not executed and cost):
        raise ValueError("odd figures")
    if executed > volume or (status == "closed" and executed != volume):
        raise IntegrityMismatch("kraken", "status", detail="another volume was executed than ordered")
    if executed == volume:
        return Order(ref, OrderStatus.FILLED, filled=_brought(row, leg, amount))
    detail = f"{status} after {plain(executed)} of {plain(volume)} {row.get('reason') or ''}".strip()
    return Order(ref, OrderStatus.HELD if executed else OrderStatus.REJECTED, detail=detail)


def halfway(order: Order, route: Route) -> Order:
    """The first trade of a route: filled, it is halfway when another follows."""
    if order.status is OrderStatus.FILLED and len(route) > 1:
        return replace(order, status=OrderStatus.HALFWAY)
    return order


def _check_ours(row: Any, leg: Leg, amount: Decimal, volume: Decimal) -> None:
    said, side = row["descr"], "sell" if leg.selling else "buy"
    limit = exact(said["price"])
    if said["pair"] not in leg.pair.names or said["type"] != side or said["ordertype"] != "limit":
        raise IntegrityMismatch("kraken", "status", detail="pair, side or kind are not ours")
    whole = volume == floor_to(amount, leg.pair.lot) if leg.selling else EXACT.multiply(limit, volume) <= amount
    if not whole or volume <= 0:
        raise IntegrityMismatch("kraken", "status", detail="the volume is not ours")


def _brought(row: Any, leg: Leg, amount: Decimal) -> Decimal:
    """What a filled order brought, by its own flags."""
    executed, cost, fee, price = (exact(row[name]) for name in ("vol_exec", "cost", "fee", "price"))
    limit, flags = exact(row["descr"]["price"]), row["oflags"].split(",")
    if ("fcib" in flags) == ("fciq" in flags):
        raise ValueError("the side of the fee is not told")
    slack = EXACT.fma(leg.pair.tick, executed, UNIT)
    bound = EXACT.multiply(limit, executed)
    worse = cost < bound - UNIT if leg.selling else cost > min(amount, bound) + UNIT
    if worse or abs(cost - EXACT.multiply(price, executed)) > slack:
        raise IntegrityMismatch("kraken", "status", detail="the cost is not that of our order")
    gross, in_kind = (cost, "fciq" in flags) if leg.selling else (executed, "fcib" in flags)
    received = EXACT.subtract(gross, fee) if in_kind else gross
    if received <= 0:
        raise ValueError("it brought nothing")
    return received
