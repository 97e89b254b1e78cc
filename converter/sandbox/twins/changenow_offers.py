"""What the ChangeNOW twin promises: estimates, held rates, and the orders made from them.

Source: `services/changenow.md` sections 3 and 4. A fixed rate is held under a `rateId` for one pair and one amount
until its `validUntil`; the order then has as long again for its deposit. Inferred here: both times are twenty minutes
and are not divided by the sandbox's speed (they are deadlines of the client); a rate id serves again until it
expires, the more dangerous of the two readings; a fixed rate is as good as a floating one; without `useRateId` no
rate is held; a rate id of another pair or amount counts as not found; `reverse` needs the fixed flow; `payload`
values are measured as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.carriers import made_up_address
from converter.sandbox.twin import World
from converter.sandbox.twins.changenow_assets import (
    SERVICE_ID,
    ApiError,
    Asset,
    Prices,
    Wish,
    amount_of,
    number,
    wish_of,
)
from converter.sandbox.twins.changenow_orders import Order, Orders, iso

HOLD_SECONDS = 20 * 60.0


@dataclass(frozen=True)
class HeldRate:
    """A fixed rate: the pair, both amounts, and until when."""

    wish: Wish
    from_amount: Decimal
    to_amount: Decimal
    valid_until: float


class Offers:
    """Estimates and the orders that follow them."""

    def __init__(self, world: World, prices: Prices, orders: Orders) -> None:
        self._world = world
        self._prices = prices
        self._orders = orders
        self._held: dict[str, HeldRate] = {}

    def estimate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an estimate; holds a rate when asked to."""
        wish = wish_of(values)
        from_amount, to_amount = self._price(wish, values)
        rate_id, valid_until = None, None
        if wish.flow == "fixed-rate" and str(values.get("useRateId")).lower() == "true":
            valid_until = self._world.now() + HOLD_SECONDS
            rate_id = self._hold(HeldRate(wish, from_amount, to_amount, valid_until))
        return {
            **wish.pair(),
            "flow": wish.flow,
            "type": wish.kind,
            "rateId": rate_id,
            "validUntil": None if valid_until is None else iso(valid_until),
            "transactionSpeedForecast": "10-60",
            "warningMessage": None,
            "depositFee": number(wish.sender.deposit_fee),
            "withdrawalFee": number(wish.receiver.withdrawal_fee),
            "userId": None,
            "fromAmount": number(from_amount),
            "toAmount": number(to_amount),
        }

    def create(self, body: Mapping[str, Any]) -> Order:
        """Make an order; nothing moves before its deposit."""
        wish = wish_of(body)
        payload = _payload(body.get("payload"))
        address, refund_address = _text(body, "address"), _text(body, "refundAddress")
        if not wish.receiver.accepts(address):
            raise ApiError(400, "not_valid_address", "Address is not valid")
        if refund_address and not wish.sender.accepts(refund_address):
            raise ApiError(400, "not_valid_refund_address", "Refund address is not valid")
        now = self._world.now()
        rate_id = valid_until = None
        if wish.flow == "fixed-rate":
            rate_id, valid_until = _text(body, "rateId"), now + HOLD_SECONDS
            from_amount, to_amount = self._held_amounts(rate_id, wish, body)
        else:
            from_amount, to_amount = self._price(wish, body)
        order = Order(
            order_id=self._orders.fresh_hex(14),
            exchange_id=self._orders.fresh_hex(24),
            wish=wish,
            expected_from=from_amount,
            expected_to=to_amount,
            payin_address=self._payin_address(wish.sender),
            address=address,
            created=now,
            extra_id=_text(body, "extraId"),
            refund_address=refund_address,
            refund_extra_id=_text(body, "refundExtraId"),
            user_id=_text(body, "userId") or None,
            payload=payload,
            rate_id=rate_id,
            valid_until=valid_until,
        )
        self._orders.add(order)
        return order

    def _price(self, wish: Wish, values: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
        if wish.kind == "reverse":
            to_amount = amount_of(values.get("toAmount"), "toAmount")
            from_amount = self._prices.from_amount(wish.sender, wish.receiver, to_amount)
        else:
            from_amount = amount_of(values.get("fromAmount"), "fromAmount")
            to_amount = self._prices.to_amount(wish.sender, wish.receiver, from_amount)
        least = self._prices.minimum(wish.sender)
        if from_amount < least or to_amount <= 0:
            message = f"Amount is less then minimal: {number(least):f} {wish.sender.coin}"
            raise ApiError(400, "out_of_range", message, {"range": {"min": number(least), "max": None}})
        return from_amount, to_amount

    def _hold(self, held: HeldRate) -> str:
        now = self._world.now()
        self._held = {key: rate for key, rate in self._held.items() if rate.valid_until > now}
        rate_id = self._orders.fresh_hex(16)
        self._held[rate_id] = held
        return rate_id

    def _held_amounts(self, rate_id: str, wish: Wish, body: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
        if not rate_id:
            raise ApiError(400, "not_valid_params", "Parameter rateId is required for the fixed-rate flow")
        held = self._held.get(rate_id)
        name = "toAmount" if wish.kind == "reverse" else "fromAmount"
        asked = amount_of(body.get(name), name)
        if held is None or held.wish != wish or self._world.now() >= held.valid_until:
            raise ApiError(400, "rate_id_not_found_or_expired", "Rate id is not found or expired")
        if asked != (held.to_amount if wish.kind == "reverse" else held.from_amount):
            raise ApiError(400, "rate_id_not_found_or_expired", "Rate id was given for another amount")
        return held.from_amount, held.to_amount

    def _payin_address(self, sender: Asset) -> str:
        carrier = sender.carrier(self._world)
        if carrier is not None:
            return carrier.new_address(SERVICE_ID)
        return made_up_address(sender.network.upper(), int(self._orders.fresh_hex(64), 16))


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, "not_valid_params", f"Parameter {name} must be a string")
    return value


def _payload(value: object) -> dict[str, Any] | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or len(value) > 5 or any(len(str(item)) > 64 for item in value.values()):
        raise ApiError(400, "not_valid_params", "Parameter payload holds at most 5 fields of at most 64 characters")
    return value
