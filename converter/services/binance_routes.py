"""Binance's ways from one coin to another: one trade, or two over a middle coin where there is no pair.

A route is told as the quote's reference, which comes back with the order: empty for one trade, else the middle coin and
what the first trade was expected to bring of it. The first trade may use half of the accepted difference; the second
is bound by what must reach the address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from converter.domain.errors import AmountOutOfRange
from converter.domain.money import EXACT, floor_to, floor_unit, plain
from converter.domain.orders import OrderRequest
from converter.services.base import exact
from converter.services.binance_orders import Walk
from converter.services.binance_rules import UNIT, Leg, Network, ceil_to

MIDDLE_COINS = ("BTC", "USDT")
_SLACK = Decimal("0.999")
"""Share of what the book offers that a second trade asks for when it buys: prices move while it travels."""


@dataclass(frozen=True)
class Route:
    """See the module; `middle` is empty for one trade."""

    middle: str = ""
    expected: Decimal = Decimal(0)

    @classmethod
    def read(cls, reference: str) -> Route:
        """From a quote's reference. ValueError for a text that no route has."""
        if not reference:
            return cls()
        via, middle, expected = reference.split(" ")
        if via != "via" or middle not in MIDDLE_COINS:
            raise ValueError("not a route")
        return cls(middle, exact(expected))

    def over(self, from_coin: str, to_coin: str) -> list[str]:
        """The coins on the way, first to last."""
        return [coin for coin in (from_coin, self.middle, to_coin) if coin]

    def __str__(self) -> str:
        return f"via {self.middle} {plain(self.expected)}" if self.middle else ""


def bounded(leg: Leg, amount: Decimal, bounds: tuple[Decimal, Decimal], key: str) -> Mapping[str, str]:
    """A FOK order that spends at most `amount`: selling brings at least the first of `bounds`, buying brings the
    second, both before the commission. Raises AmountOutOfRange for less than a lot."""
    symbol, (least, wanted) = leg.symbol, bounds
    if leg.selling:
        quantity = floor_to(amount, symbol.step)
        if not quantity:
            raise AmountOutOfRange("binance", "order", minimum=symbol.step)
        price = ceil_to(EXACT.divide(least, quantity), symbol.tick)
    else:
        quantity = ceil_to(wanted, symbol.step)
        price = floor_to(EXACT.divide(amount, quantity), symbol.tick)
    return {
        "symbol": symbol.name,
        "side": "SELL" if leg.selling else "BUY",
        "type": "LIMIT",
        "timeInForce": "FOK",
        "quantity": plain(quantity),
        "price": plain(price),
        "newClientOrderId": key,
        "newOrderRespType": "FULL",
    }


def last_bounds(order: OrderRequest, network: Network, kept: Decimal) -> tuple[Decimal, Decimal]:
    """What the last trade must bring, at least and as promised. What cannot be withdrawn afterwards must not be
    traded: the proceeds reach the withdrawal's minimum as well."""

    def before(net: Decimal) -> Decimal:
        proceeds = ceil_to(max(EXACT.add(net, network.fee), network.minimum), network.step)
        return EXACT.divide(proceeds, kept)

    return before(order.minimum_net), before(order.net)


def first_bounds(order: OrderRequest, route: Route, kept: Decimal) -> tuple[Decimal, Decimal]:
    """What the first of two trades must bring of the middle coin: half of the accepted difference is its own."""
    share = EXACT.divide(EXACT.add(1, EXACT.divide(order.minimum_net, order.net)), Decimal(2))
    expected = EXACT.divide(route.expected, kept)
    return EXACT.multiply(expected, share), expected


def second_bounds(walked: Walk, least: Decimal) -> tuple[Decimal, Decimal]:
    """What a second trade asks for: when it buys, a little less than the book offers now, and never below `least`."""
    return least, max(least, EXACT.multiply(walked.quantity, _SLACK))


def first_traded(amount: Decimal, leg: Leg, walked: Walk, kept: Decimal) -> Decimal:
    """What the first of two trades brings. Raises AmountOutOfRange when the filters of its pair forbid the amount."""
    notional = walked.gross if walked.selling else amount
    symbol = leg.symbol
    most = symbol.largest(amount, walked.quantity, selling=walked.selling)
    if most is not None:
        raise AmountOutOfRange("binance", "quote", maximum=most)
    if walked.quantity < symbol.min_quantity or notional < symbol.min_notional:
        minimum = symbol.smallest(walked.best_price, Decimal(0), selling=walked.selling)
        raise AmountOutOfRange("binance", "quote", minimum=minimum)
    return floor_to(EXACT.multiply(walked.gross, kept), UNIT)


def in_first_coin(error: AmountOutOfRange, amount: Decimal, middle: Decimal) -> AmountOutOfRange:
    """The limits of a second trade, told in the coin of the first."""

    def told(limit: Decimal | None) -> Decimal | None:
        return None if limit is None else EXACT.divide(EXACT.multiply(limit, amount), middle)

    least, most = told(error.minimum), told(error.maximum)
    return AmountOutOfRange(
        "binance",
        "quote",
        minimum=None if least is None else ceil_to(least, UNIT),
        maximum=None if most is None else floor_unit(most, 8),
    )
