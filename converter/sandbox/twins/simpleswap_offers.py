"""What the SimpleSwap twin promises: limits, estimates, held rates, and the exchanges made from them.

Source: `services/simpleswap.md` sections 2 to 4 and 7. Inferred here: a fixed rate is held for ten minutes, which are a
deadline of the client and not divided by the sandbox's speed; a rate id serves again until it ends, the more dangerous
of the two readings, but only for its pair and amount (422 otherwise); the answer of the check is `{"result": true}`; an
address of the wrong shape is 400.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.simpleswap_assets import ApiError, Prices, Wish, amount_of, text_of, wish_of
from converter.sandbox.twins.simpleswap_orders import Order, Orders, iso

HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class HeldRate:
    """A fixed rate: the pair, both amounts, and until when."""

    wish: Wish
    amount_from: Decimal
    amount_to: Decimal
    valid_until: float


class Offers:
    """Estimates and the exchanges that follow them.

    `fixed_available` false takes the fixed flow away (404); `refuses_extra_id` lets a fixed exchange with a payout memo
    fail with the service's 500.
    """

    def __init__(self, world: World, prices: Prices, orders: Orders) -> None:
        self.fixed_available = True
        self.refuses_extra_id = True
        self._world = world
        self._prices = prices
        self._orders = orders
        self._held: dict[str, HeldRate] = {}

    def ranges(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The published limits; of the to-coin when asked in reverse."""
        wish = self._wish(values)
        least, most = self._prices.limits(wish)
        if wish.reverse:
            least = self._prices.received(wish, least)
            most = None if most is None else self._prices.received(wish, most)
        return {"min": text_of(least), "max": text_of(most)}

    def estimate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What would be received, or in reverse what would have to be sent; holds a fixed rate."""
        wish = self._wish(values)
        amount_from, amount_to = self._price(wish, values.get("amount"))
        rate_id, valid_until = None, None
        if wish.fixed:
            valid_until = self._world.now() + HOLD_SECONDS
            rate_id = str(uuid.UUID(int=self._orders.digest() % 2**128, version=4))
            self._held = {key: rate for key, rate in self._held.items() if rate.valid_until > self._world.now()}
            self._held[rate_id] = HeldRate(wish, amount_from, amount_to, valid_until)
        shown = amount_from if wish.reverse else amount_to
        return {"estimatedAmount": text_of(shown), "rateId": rate_id, "validUntil": iso(valid_until)}

    def check(self, values: Mapping[str, Any]) -> bool:
        """Whether an exchange could be made; says no with the same errors as making one."""
        self._price(self._wish(values), values.get("amount"))
        return True

    def create(self, body: Mapping[str, Any]) -> Order:
        """Make an exchange; nothing moves before its deposit."""
        wish = self._wish(body)
        address, refund_address = _text(body, "addressTo"), _text(body, "userRefundAddress")
        if not wish.receiver.accepts(address):
            raise ApiError(400, "addressTo is not valid")
        if refund_address and not wish.sender.accepts(refund_address):
            raise ApiError(400, "userRefundAddress is not valid")
        extra_id = _text(body, "extraIdTo")
        if wish.fixed and extra_id and self.refuses_extra_id:
            raise ApiError(500, "check extra_id")
        valid_until = None
        if wish.fixed:
            held = self._held_rate(_text(body, "rateId"), wish, body.get("amount"))
            amount_from, amount_to, valid_until = held.amount_from, held.amount_to, held.valid_until
        else:
            amount_from, amount_to = self._price(wish, body.get("amount"))
        order = Order(
            order_id=self._orders.new_id(),
            wish=wish,
            amount_from=amount_from,
            amount_to=amount_to,
            address_from=self._orders.new_address(wish.sender),
            address_to=address,
            created=self._world.now(),
            extra_id_to=extra_id,
            refund_address=refund_address,
            refund_extra_id=_text(body, "userRefundExtraId"),
            valid_until=valid_until,
        )
        self._orders.add(order)
        return order

    def _wish(self, values: Mapping[str, Any]) -> Wish:
        wish = wish_of(values)
        if wish.fixed and not self.fixed_available:
            raise ApiError(404, "Pair not found")
        return wish

    def _price(self, wish: Wish, asked: object) -> tuple[Decimal, Decimal]:
        if wish.reverse:
            amount_to = amount_of(asked, wish.receiver.unit)
            amount_from = self._prices.needed(wish, amount_to)
        else:
            amount_from = amount_of(asked, wish.sender.unit)
            amount_to = self._prices.received(wish, amount_from)
        least, most = self._prices.limits(wish)
        real = (least * self._prices.minimum_factor).quantize(wish.sender.unit, ROUND_CEILING)
        if amount_from < real or (most is not None and amount_from > most) or amount_to <= 0:
            shown = "null" if most is None else text_of(most)
            raise ApiError(422, f"Amount does not fall within the range. Min: {text_of(real)} Max: {shown}")
        return amount_from, amount_to

    def _held_rate(self, rate_id: str, wish: Wish, asked: object) -> HeldRate:
        if not rate_id:
            raise ApiError(400, "rateId is required for a fixed exchange")
        held = self._held.get(rate_id)
        amount = amount_of(asked, (wish.receiver if wish.reverse else wish.sender).unit)
        if held is None or held.wish != wish or self._world.now() >= held.valid_until:
            raise ApiError(422, "rateId is not valid or has expired")
        if amount != (held.amount_to if wish.reverse else held.amount_from):
            raise ApiError(422, "rateId was given for another amount")
        return held


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, f"{name} must be a string")
    return value
