"""How the Binance twin fills an order from its book.

Source: `services/binance.md` sections 4 and 5. Inferred here: what one fill is worth in quote coin is cut to eight
decimals, and so is its commission; `quoteOrderQty` takes as many whole steps as the amount pays for (or, sold, brings
in).
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from converter.sandbox.twins.binance_account import COMMISSION
from converter.sandbox.twins.binance_book import UNIT, Book, Level, take_base, take_quote
from converter.sandbox.twins.binance_orders import Fill, OrderForm

_NOTHING = Decimal(0)


def match(form: OrderForm, book: Book) -> tuple[list[Level], Decimal, str, str | None]:
    """What the book gives for a form: the parts taken, the order's quantity, its status and why it expired."""
    bids, asks = book.levels(form.symbol)
    levels, sign = (asks, 1) if form.buys else (bids, -1)
    if form.quantity is None:
        amount = form.quote_amount or _NOTHING
        taken = take_quote(levels, amount, form.symbol.step)
        quantity = _quantity(taken)
        form.symbol.check_quantity(quantity, market=True)
        short = taken == levels and amount - _cost(taken) >= levels[-1][0] * form.symbol.step
        return (taken, quantity, "EXPIRED", "INSUFFICIENT_LIQUIDITY") if short else (taken, quantity, "FILLED", None)
    taken = take_base(levels, form.quantity, form.price, sign)
    if _quantity(taken) == form.quantity:
        return taken, form.quantity, "FILLED", None
    if form.kind == "MARKET":
        return taken, form.quantity, "EXPIRED", "INSUFFICIENT_LIQUIDITY"
    if form.in_force == "FOK":
        return [], form.quantity, "EXPIRED", "UNFILLED_FOK_ORDER_EXPIRED"
    if form.in_force == "IOC":
        return taken, form.quantity, "EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED"
    return taken, form.quantity, "PARTIALLY_FILLED" if taken else "NEW", None


def spends(form: OrderForm, taken: list[Level], quantity: Decimal) -> tuple[str, Decimal]:
    """The coin and amount that the account must have free for the whole order."""
    if not form.buys:
        return form.symbol.base, quantity
    if form.price is not None:
        return form.symbol.quote, form.price * quantity
    return form.symbol.quote, form.quote_amount if form.quote_amount is not None else _cost(taken)


def fill_of(form: OrderForm, level: Level, trade_id: int) -> Fill:
    """A trade at a level; the commission is taken from the coin received."""
    price, quantity = level
    quote = (price * quantity).quantize(UNIT, ROUND_FLOOR)
    received, coin = (quantity, form.symbol.base) if form.buys else (quote, form.symbol.quote)
    return Fill(trade_id, price, quantity, quote, (received * COMMISSION).quantize(UNIT, ROUND_FLOOR), coin)


def _quantity(taken: list[Level]) -> Decimal:
    return sum((quantity for _, quantity in taken), _NOTHING)


def _cost(taken: list[Level]) -> Decimal:
    return sum((price * quantity for price, quantity in taken), _NOTHING)
