"""How the CoinGate twin shows a send request, in answers and in callbacks.

Source: `services/coingate.md` sections 7 and 8: amounts are text, `actions_required` stands there only while a
conversion waits for its confirmation, fees name their currency, a callback has the fields of the object. Inferred
here: a payment on the chain is shown once the request is completed, with twelve confirmations; without a conversion
there is no conversion fee.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from converter.sandbox.twins.coingate_assets import Currency, plain
from converter.sandbox.twins.coingate_beneficiaries import PayoutSetting
from converter.sandbox.twins.coingate_conversions import BASE_URL
from converter.sandbox.twins.coingate_ledger import Account, iso

AMOUNTS = ("input_amount", "sending_amount", "balance_debit_amount")
_RATE_UNIT = Decimal("1e-12")


class Cost(NamedTuple):
    """What a send request takes and brings; `total` is all that leaves the account."""

    debit: Decimal
    sending: Decimal
    rate: Decimal
    service_fee: Decimal
    conversion_fee: Decimal
    total: Decimal


@dataclass
class Send:
    """One send request."""

    send_id: int
    account: Account
    setting: PayoutSetting
    amount: Decimal
    amount_currency: Currency
    cost: Cost
    created: float
    purpose: str
    callback_url: Any
    external_id: str | None
    needs_second_factor: bool
    ending: str
    status: str = "draft"
    due: float = 0.0
    credit_due: float | None = None
    txid: str | None = None

    @property
    def converts(self) -> bool:
        """Whether another coin is paid out than the account holds."""
        return self.account.currency != self.setting.currency

    def show(self) -> dict[str, Any]:
        """The send request's JSON."""
        held, paid, cost = self.account.currency.show(), self.setting.currency.show(), self.cost
        fees = {"service_fee": {"amount": plain(cost.service_fee), "currency": held}}
        if self.converts:
            fees["conversion_fee"] = {"amount": plain(cost.conversion_fee), "currency": held}
        setting = self.setting.show()
        body = {
            "id": self.send_id,
            "status": self.status,
            "purpose": self.purpose,
            "callback_url": self.callback_url,
            "created_at": iso(self.created),
            "external_id": self.external_id,
            "ledger_account": self.account.show(),
            "input_amount": plain(self.amount),
            "input_currency": self.amount_currency.show(),
            "sending_amount": plain(cost.sending),
            "sending_currency": paid,
            "input_to_sending_rate": plain(self._input_rate()),
            "sending_to_balance_debit_rate": plain((1 / cost.rate).quantize(_RATE_UNIT)),
            "balance_debit_amount": plain(cost.debit),
            "balance_debit_currency": held,
            "beneficiary_payout_setting": {
                name: setting[name]
                for name in ("id", "crypto_address", "crypto_address_metadata", "created_at", "platform", "currency")
            },
            "fees": fees,
            "blockchain_transactions": self._payments(),
            "requires_2fa_confirmation": self.needs_second_factor and self.status == "draft",
        }
        if self.converts and self.status == "draft":
            url = f"{BASE_URL}/send_requests/{self.send_id}"
            body["actions_required"] = {"confirm": f"{url}/confirm", "cancel": f"{url}/cancel"}
        return body

    def callback(self, *, numbers: bool) -> dict[str, Any]:
        """The fields of a callback; amounts as JSON numbers when asked for."""
        body = self.show()
        return body | {name: Decimal(body[name]) for name in AMOUNTS} if numbers else body

    def _input_rate(self) -> Decimal:
        if self.amount_currency == self.account.currency:
            return self.cost.rate
        return (self.cost.sending / self.amount).quantize(_RATE_UNIT)

    def _payments(self) -> list[dict[str, Any]]:
        if self.txid is None:
            return []
        amount = plain(self.cost.sending)
        return [{"txid": self.txid, "amount": amount, "status": "confirmed", "network_confirmations": 12}]
