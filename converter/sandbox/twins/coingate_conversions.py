"""Conversions between two balances of the merchant at CoinGate: pending, then confirmed, cancelled or expired.

Source: `services/coingate.md` section 5: the rate is held for 65 seconds, the fee of 1 % comes on top of the base
amount, the list's key is `exchange_transactions`, a confirmation of anything but a pending one is 422 with the state in
its text. Those 65 seconds are a deadline of the client and not divided by the sandbox's speed. Inferred here: the text
of too little balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import Request, World
from converter.sandbox.twins.coingate_assets import COINS, SERVICE_ID, ApiError, Rates, currency_of, plain
from converter.sandbox.twins.coingate_input import amount_of, page_of
from converter.sandbox.twins.coingate_ledger import Account, Ledger, iso

FEE = Decimal("0.01")
HOLD_SECONDS = 65
BASE_URL = "https://api.coingate.com/api/v2"
_REASON = "LedgerConversionIsNotValid"


@dataclass
class Conversion:
    """One conversion."""

    conversion_id: str
    base: Account
    base_amount: Decimal
    quote: Account
    quote_amount: Decimal
    fee: Decimal
    created: float
    status: str = "pending"

    @property
    def cost(self) -> Decimal:
        """All that leaves the base account."""
        return self.base_amount + self.fee

    def show(self) -> dict[str, Any]:
        """The conversion's JSON."""
        body: dict[str, Any] = {
            "id": self.conversion_id,
            "status": self.status,
            "base_amount": plain(self.base_amount),
            "base_ledger_account": self.base.show(),
            "quote_amount": plain(self.quote_amount),
            "quote_ledger_account": self.quote.show(),
            "fees": {"conversion_fee": {"amount": plain(self.fee), "currency": self.base.currency.show()}},
        }
        if self.status == "pending":
            url = f"{BASE_URL}/ledger/conversions/{self.conversion_id}"
            body["actions_required"] = {"confirm": f"{url}/confirm", "cancel": f"{url}/cancel"}
        return body | {"created_at": iso(self.created), "expires_at": iso(self.created + HOLD_SECONDS)}


class Conversions:
    """All conversions."""

    def __init__(self, world: World, rates: Rates, ledger: Ledger) -> None:
        self._world, self._rates, self._ledger = world, rates, ledger
        self._all: dict[str, Conversion] = {}

    def create(self, body: Mapping[str, Any]) -> Conversion:
        """Hold a rate and reserve what it costs."""
        base = self._ledger.get(body.get("ledger_account_id"))
        currency = currency_of(body.get("quote_currency_id"), COINS)
        amount = amount_of(body.get("base_amount"))
        if currency is None or amount is None:
            name = "base_amount" if currency else "quote_currency_id"
            raise ApiError(422, _REASON, {name: ["is invalid"]})
        rate = self._rates.needed(base.currency, currency)
        amount = (amount * self._world.wrong_amount(SERVICE_ID)).quantize(base.currency.unit, ROUND_FLOOR)
        row = Conversion(
            conversion_id=self._ledger.new_ulid(),
            base=base,
            base_amount=amount,
            quote=self._ledger.of(currency),
            quote_amount=(amount * rate).quantize(currency.unit, ROUND_FLOOR),
            fee=(amount * FEE).quantize(base.currency.unit, ROUND_CEILING),
            created=self._world.now(),
        )
        if row.quote_amount <= 0:
            raise ApiError(422, _REASON, {"base_amount": ["is too small"]})
        if base.free < row.cost:
            raise ApiError(422, _REASON, ["Ledger account balance is insufficient"])
        base.reserved += row.cost
        self._all[row.conversion_id] = row
        return row

    def get(self, conversion_id: str) -> Conversion:
        """The conversion of an id; ApiError 404 when there is none."""
        row = self._all.get(conversion_id)
        if row is None:
            raise ApiError(404, "LedgerConversionNotFound")
        self._expire(row)
        return row

    def finish(self, conversion_id: str, action: str) -> Conversion:
        """`confirm` or `cancel` a pending conversion."""
        row = self.get(conversion_id)
        if row.status != "pending":
            done = {"confirm": "confirmed", "cancel": "canceled"}[action]
            text = f"Conversion can only be {done} when in 'pending' state. Current state: {row.status}."
            raise ApiError(422, _REASON, [text])
        self._release(row, "completed" if action == "confirm" else "canceled")
        if action == "confirm":
            source = ("ledger_conversion", row.conversion_id)
            self._ledger.move(row.base, -row.base_amount, source, "conversion")
            self._ledger.move(row.base, -row.fee, source, "conversion_fee")
            self._ledger.move(row.quote, row.quote_amount, source, "conversion")
        return row

    def page(self, request: Request) -> dict[str, Any]:
        """One page, newest first."""
        self.tick()
        return page_of(request, "exchange_transactions", [row.show() for row in reversed(self._all.values())])

    def tick(self) -> None:
        """Let go what nobody confirmed."""
        for row in self._all.values():
            self._expire(row)

    def _expire(self, row: Conversion) -> None:
        if row.status == "pending" and self._world.now() >= row.created + HOLD_SECONDS:
            self._release(row, "expired")

    def _release(self, row: Conversion, status: str) -> None:
        row.base.reserved -= row.cost
        row.status = status
