"""Kraken's withdrawals: saved addresses, what one costs, and how ours is told from the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import IntegrityMismatch, MalformedResponse
from converter.domain.money import EXACT, floor_to
from converter.domain.orders import Order, OrderStatus
from converter.services.base import exact, text
from converter.services.kraken_market import UNIT, Code

MARKS = 1000
"""A withdrawal is made recognisable by up to so many smallest units, which stay in the account."""

STATUS = {
    "Initial": OrderStatus.PAYING_OUT,
    "Pending": OrderStatus.PAYING_OUT,
    "Settled": OrderStatus.PAYING_OUT,
    "Success": OrderStatus.SETTLED,
    "Failure": OrderStatus.HELD,
}
_PROPERTIES = {None, "", "cancel-pending", "cancel-denied"}
_STOPPED = {"canceled", "return", "onhold"}
PAGE = 500
"""Rows of one answer; what a full one does not show may be on the next."""


@dataclass(frozen=True)
class Terms:
    """What a withdrawal costs and how small it may be."""

    fee: Decimal
    least: Decimal
    unit: Decimal

    @property
    def reserve(self) -> Decimal:
        """The most that the mark takes."""
        return EXACT.multiply(self.unit, Decimal(MARKS - 1))

    def gross(self, net: Decimal) -> Decimal:
        """What a trade must bring for this net to arrive, and for a withdrawal to be possible at all. One unit more:
        commissions are rounded."""
        wanted = EXACT.add(max(net, self.least), EXACT.add(self.fee, self.reserve))
        return EXACT.add(floor_to(EXACT.add(wanted, self.unit), self.unit), self.unit)


def unit_of(asset: Asset) -> Decimal:
    """The smallest amount that is withdrawn of an asset."""
    return max(UNIT, Decimal(1).scaleb(-asset.decimals))


def marked(filled: Decimal, key: str, asset: Asset) -> Decimal:
    """The gross amount of a withdrawal: all that the trade brought, less a mark made of our key."""
    mark = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % MARKS
    unit = unit_of(asset)
    return EXACT.subtract(floor_to(filled, unit), EXACT.multiply(unit, Decimal(mark)))


def saved_key(rows: Any, code: Code, address: str) -> str | None:
    """Name of the verified saved address for the asset's method; without an address, of any; None without one."""
    fitting = [
        text(row["key"])
        for row in list.copy(rows)
        if row["asset"] in code.names and row["method"] == code.method and row["verified"] is True
        if not address or row["address"] == address
    ]
    return fitting[0] if fitting else None


def least_of(rows: Any, code: Code) -> Decimal | None:
    """The least net amount of the asset's method; None when the method is not offered now."""
    found = [row for row in list.copy(rows) if row["asset"] in code.names and row["method"] == code.method]
    least = exact(found[0].get("minimum") or 0) if found else None
    if least is not None and least < 0:
        raise ValueError("odd minimum")
    return least


def terms_of(body: Any, gross: Decimal, least: Decimal, unit: Decimal) -> Terms:
    """What withdrawing this gross amount costs. ValueError unless the answer speaks of it."""
    fee, net = exact(body["fee"]), exact(body["amount"])
    if fee < 0 or EXACT.add(net, fee) != gross:
        raise ValueError("not our amount")
    return Terms(fee, least, unit)


def limit_of(body: Any, gross: Decimal) -> Decimal | None:
    """The most that may be withdrawn now, when that is less than `gross`."""
    limit, fee = exact(body["limit"]), exact(body["fee"])
    if limit < 0:
        raise ValueError("odd limit")
    most = EXACT.add(limit, fee)
    return most if most < gross else None


def free_of(body: Any, code: Code) -> Decimal:
    """What can be spent of an asset, by BalanceEx. Balances with a suffix are not tradable."""
    row = next((row for name, row in dict(body).items() if name in code.names), None)
    if row is None:
        return Decimal(0)
    credit = exact(row.get("credit") or 0) - exact(row.get("credit_used") or 0)
    return exact(row["balance"]) + credit - exact(row["hold_trade"])


def with_withdrawal(order: Order, body: Any, code: Code) -> Order:
    """The filled order with its withdrawal, if the list has it: the one to our address whose amount and fee make up the
    marked amount. IntegrityMismatch when two do."""
    rows, more = page_of(body)
    request, gross = (
        order.ref.request,
        marked(order.filled or UNIT, order.ref.step_key or "", order.ref.request.to_asset),
    )
    ours = [row for row in rows if row["info"] == request.address and _total(row) == gross]
    if not ours:
        if more or len(rows) >= PAGE:
            raise MalformedResponse("kraken", "status", detail="the list is longer than a page")
        return order
    row = ours[0]
    if len(ours) > 1 or row["asset"] not in code.names or row["method"] != code.method:
        raise IntegrityMismatch("kraken", "withdraw", detail="not one withdrawal of ours, but two or another's")
    status, prop, paid = STATUS.get(row["status"]), row.get("status-prop"), exact(row["amount"])
    if status is None or prop not in _PROPERTIES | _STOPPED or paid <= 0:
        said = f"{row['status']} {prop}"
        raise MalformedResponse("kraken", "status", detail=f"unknown status {said[:40]!r}")
    order = replace(order, txid=row.get("txid") or "")
    if status is OrderStatus.HELD or prop in _STOPPED:
        detail = f"withdrawal {text(row['refid'])} {row['status']} {prop or ''}".strip()
        return replace(order, status=OrderStatus.HELD, detail=detail)
    if status is OrderStatus.SETTLED and order.txid:
        return replace(order, status=OrderStatus.SETTLED, delivered=paid)
    return replace(order, status=OrderStatus.PAYING_OUT)


def _total(row: Any) -> Decimal:
    return EXACT.add(exact(row["amount"]), exact(row.get("fee") or 0))


def page_of(body: Any) -> tuple[list[Any], bool]:
    """The rows, and whether more follow. With a cursor, the list sits inside an object."""
    if isinstance(body, list):
        return body, False
    (rows,) = [value for value in body.values() if isinstance(value, list)]
    return rows, any(value for value in body.values() if not isinstance(value, list))
