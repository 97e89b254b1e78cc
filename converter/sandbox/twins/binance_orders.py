"""Orders of the Binance twin: the form that a client fills in, and how an order is shown.

Source: `services/binance.md` sections 3, 5 and 7. Inferred here: the pattern of client order ids, which the sheet
knows for another interface only, and the order in which the parts of a form are checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twins.binance_auth import BinanceError, Params
from converter.sandbox.twins.binance_book import UNIT, Book, Symbol, eight

CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
_NOTHING = Decimal(0)


@dataclass(frozen=True)
class OrderForm:
    """A checked order as a client asked for it."""

    symbol: Symbol
    side: str
    kind: str
    in_force: str
    quantity: Decimal | None
    quote_amount: Decimal | None
    price: Decimal | None
    client_id: str | None
    answer: str

    @property
    def buys(self) -> bool:
        """Whether the base coin is bought."""
        return self.side == "BUY"


@dataclass(frozen=True)
class Fill:
    """One trade of an order."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_coin: str


@dataclass
class SpotOrder:
    """An order that the exchange has taken."""

    form: OrderForm
    order_id: int
    client_id: str
    quantity: Decimal
    time: int
    status: str
    expiry_reason: str | None = None
    fills: list[Fill] = field(default_factory=list)
    updated: int = 0

    @property
    def executed(self) -> Decimal:
        """Base quantity traded."""
        return sum((fill.quantity for fill in self.fills), _NOTHING)

    @property
    def quote(self) -> Decimal:
        """Quote amount traded."""
        return sum((fill.quote for fill in self.fills), _NOTHING)

    @property
    def resting(self) -> tuple[str, Decimal]:
        """The coin and amount that an open rest keeps locked."""
        rest = self.quantity - self.executed
        if self.form.buys:
            return self.form.symbol.quote, rest * (self.form.price or _NOTHING)
        return self.form.symbol.base, rest

    def view(self) -> dict[str, Any]:
        """The fields that every answer about an order carries."""
        return {
            "symbol": self.form.symbol.name,
            "orderId": self.order_id,
            "orderListId": -1,
            "clientOrderId": self.client_id,
            "price": eight(self.form.price or _NOTHING),
            "origQty": eight(self.quantity),
            "executedQty": eight(self.executed),
            "origQuoteOrderQty": eight(self.form.quote_amount or _NOTHING),
            "cummulativeQuoteQty": eight(self.quote),
            "status": self.status,
            "timeInForce": self.form.in_force,
            "type": self.form.kind,
            "side": self.form.side,
            "workingTime": self.time,
            "selfTradePreventionMode": "NONE",
        }

    def lookup_view(self) -> dict[str, Any]:
        """The answer to a lookup: no fills, no commissions."""
        return {
            **self.view(),
            "stopPrice": eight(_NOTHING),
            "icebergQty": eight(_NOTHING),
            "time": self.time,
            "updateTime": self.updated,
            "isWorking": True,
        }

    def placed_view(self, factor: Decimal) -> dict[str, Any]:
        """The answer to the order itself; `factor` is the sandbox's wrong-amount fault."""
        head = {
            "symbol": self.form.symbol.name,
            "orderId": self.order_id,
            "orderListId": -1,
            "clientOrderId": self.client_id,
            "transactTime": self.time,
        }
        if self.form.answer == "ACK":
            return head
        body = {**head, **self.view(), "executedQty": eight(self.executed * factor)}
        if self.expiry_reason:
            body["expiryReason"] = self.expiry_reason
        if self.form.answer == "FULL":
            body["fills"] = [
                {
                    "price": eight(fill.price),
                    "qty": eight(fill.quantity),
                    "commission": eight(fill.commission),
                    "commissionAsset": fill.commission_coin,
                    "tradeId": fill.trade_id,
                }
                for fill in self.fills
            ]
        return body


def read_form(params: Params, book: Book) -> OrderForm:
    """Check everything about an order that does not depend on balances; BinanceError says what is wrong."""
    name, side, kind = params.need("symbol"), params.need("side"), params.need("type")
    symbol = book.named(name)
    if side not in {"BUY", "SELL"}:
        raise BinanceError(-1117, "Invalid side.")
    if kind not in {"MARKET", "LIMIT"}:
        raise BinanceError(-1116, "Invalid orderType.")
    client_id = params.text("newClientOrderId")
    if client_id is not None and not re.fullmatch(CLIENT_ID, client_id):
        message = f"Illegal characters found in parameter 'newClientOrderId'; legal range is '{CLIENT_ID}'."
        raise BinanceError(-1100, message)
    answer = params.text("newOrderRespType") or "FULL"
    if answer not in {"ACK", "RESULT", "FULL"}:
        raise BinanceError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    form = OrderForm(
        symbol,
        side,
        kind,
        _in_force(params, kind),
        _amount(params, "quantity"),
        _amount(params, "quoteOrderQty"),
        _amount(params, "price"),
        client_id,
        answer,
    )
    _check_filters(form, book)
    return form


def _in_force(params: Params, kind: str) -> str:
    if kind == "LIMIT":
        params.need("quantity")
        params.need("price")
        params.forbid("quoteOrderQty")
        if (in_force := params.need("timeInForce")) not in {"GTC", "IOC", "FOK"}:
            raise BinanceError(-1115, "Invalid timeInForce.")
        return in_force
    params.forbid("price", "timeInForce")
    if params.has("quantity") == params.has("quoteOrderQty"):
        if params.has("quantity"):
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        raise BinanceError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
    return "GTC"


def _amount(params: Params, name: str) -> Decimal | None:
    amount = params.decimal(name)
    if amount is not None and amount != amount.quantize(UNIT, ROUND_FLOOR):
        raise BinanceError(-1111, f"Parameter '{name}' has too much precision.")
    return amount


def _check_filters(form: OrderForm, book: Book) -> None:
    market = form.kind == "MARKET"
    if form.price is not None:
        form.symbol.check_price(form.price)
    if form.quantity is not None:
        form.symbol.check_quantity(form.quantity, market=market)
        price = book.mid(form.symbol) if form.price is None else form.price
        form.symbol.check_notional(price * form.quantity, market=market)
    if form.quote_amount is not None:
        form.symbol.check_notional(form.quote_amount, market=market)
