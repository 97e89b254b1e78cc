"""Walking an order book: what an amount really fetches, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from converter.domain.money import EXACT, floor_to

Levels = Sequence[tuple[Decimal, Decimal]]
"""(price, quantity), best first."""


def sell_into(bids: Levels, quantity: Decimal) -> Decimal | None:
    """What selling `quantity` of the base coin fetches in the quote coin; None when the levels do not cover it."""
    proceeds, left = Decimal(0), quantity
    for price, available in bids:
        taken = min(left, available)
        proceeds = EXACT.add(proceeds, EXACT.multiply(price, taken))
        left -= taken
        if left == 0:
            return proceeds
    return None


def buy_from(asks: Levels, spend: Decimal, step: Decimal) -> Decimal | None:
    """How much of the base coin can surely be bought for `spend`, in multiples of `step`.

    The figure holds for one order limited at the worst level that it touches, so that its cost can never be above
    `spend`. None when the levels do not cover it.
    """
    available = before = Decimal(0)
    for price, quantity in asks:
        available += quantity
        affordable = floor_to(EXACT.divide(spend, price), step)
        if affordable <= available:
            return max(before, affordable)  # at a higher limit it may be less than the levels before hold
        before = floor_to(available, step)
    return None
