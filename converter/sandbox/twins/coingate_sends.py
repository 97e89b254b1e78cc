"""Send requests of the CoinGate twin: a draft, its confirmation, and the way to the address.

Source: `services/coingate.md` sections 7 and 10. A request that converts is a draft for a minute and moves nothing
until it is confirmed; one that does not convert is paid by the create call itself. `external_id` is unique for ever.
Inferred here: a repeated `external_id` and too little balance are 422 `SendRequestIsNotValid`; fees come on top of the
balance debit, unless `fees_inside` is set; the minute is a deadline of the client and not divided by the sandbox's
speed; what failed or was stopped by compliance is credited back after three further steps; a request that needs a
second factor cannot be confirmed by call; a refusal by the sandbox's chain ends in `failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import Request, World
from converter.sandbox.twins.coingate_assets import EURO, SERVICE_ID, ApiError, Currency, Rates, currency_of
from converter.sandbox.twins.coingate_beneficiaries import Beneficiaries, PayoutSetting
from converter.sandbox.twins.coingate_input import amount_of, page_of
from converter.sandbox.twins.coingate_ledger import Account, Ledger
from converter.sandbox.twins.coingate_views import Cost, Send

STEP_SECONDS = 0.3
CREDIT_STEPS = 3
ENDINGS = ("completed", "in_progress", "failed", "canceled")
SECOND_FACTOR_SECONDS = 30 * 86400
CONVERSION_FEE = Decimal("0.01")
SERVICE_FEE = Decimal("0.005")
SERVICE_FEE_IN_EURO = Decimal("0.50")
_REASON = "SendRequestIsNotValid"
_FIRST_ID = 90210
_MOVING = ("in_progress", "processing")


class Sends:
    """All send requests; `changed` is told of every new status. The public fields are set by `configure`."""

    def __init__(self, world: World, rates: Rates, ledger: Ledger, changed: Callable[[Send], None]) -> None:
        self.ending = "completed"
        self.draft_seconds = 60
        self.fees_inside = False
        self.requires_2fa = False
        self.credit_back = True
        self._world, self._rates, self._ledger, self._changed = world, rates, ledger, changed
        self._all: dict[int, Send] = {}

    def __iter__(self) -> Iterator[Send]:
        return iter(self._all.values())

    def create(self, body: Mapping[str, Any], beneficiaries: Beneficiaries) -> Send:
        """Make a draft; or pay at once when nothing has to be converted."""
        account = self._ledger.get(body.get("ledger_account_id"))
        setting = beneficiaries.setting(body.get("beneficiary_payout_setting_id"))
        amount, named = amount_of(body.get("amount")), currency_of(body.get("amount_currency_id"))
        external_id = None if body.get("external_id") is None else str(body["external_id"])
        errors = self._wrong(body, external_id)
        errors |= {} if amount else {"amount": ["is invalid"]}
        errors |= {} if named else {"amount_currency_id": ["is invalid"]}
        if errors or amount is None or named is None:
            raise ApiError(422, _REASON, errors)
        amount *= self._world.wrong_amount(SERVICE_ID)
        cost = self._cost(account, setting, amount, named)
        if account.free < cost.total:
            raise ApiError(422, _REASON, ["Ledger account balance is insufficient"])
        send = Send(
            send_id=_FIRST_ID + len(self._all),
            account=account,
            setting=setting,
            amount=amount,
            amount_currency=named,
            cost=cost,
            created=self._world.now(),
            purpose=str(body["purpose"]),
            callback_url=body.get("callback_url") or None,
            external_id=external_id,
            needs_second_factor=self.requires_2fa,
            ending=self.ending,
        )
        self._all[send.send_id] = send
        if send.converts or send.needs_second_factor:
            self._move(send, "draft")
        else:
            self._start(send)
        return send

    def get(self, send_id: str) -> Send:
        """The send request of an id; ApiError 404 when there is none."""
        send = next((row for row in self if str(row.send_id) == send_id), None)
        if send is None:
            raise ApiError(404, "SendRequestNotFound")
        self._expire(send)
        return send

    def confirm(self, send_id: str) -> Send:
        """Execute a draft."""
        send = self._draft(send_id, "confirmed")
        if send.needs_second_factor:
            raise ApiError(422, _REASON, ["Two-factor confirmation is required"])
        if send.account.free < send.cost.total:
            raise ApiError(422, _REASON, ["Ledger account balance is insufficient"])
        factor = self._world.wrong_amount(SERVICE_ID)
        send.cost = send.cost._replace(
            sending=(send.cost.sending * factor).quantize(send.setting.currency.unit, ROUND_FLOOR)
        )
        self._start(send)
        return send

    def cancel(self, send_id: str) -> Send:
        """Drop a draft."""
        send = self._draft(send_id, "canceled")
        self._move(send, "canceled")
        return send

    def page(self, request: Request) -> dict[str, Any]:
        """One page, newest first."""
        for send in self:
            self._expire(send)
        return page_of(request, "send_requests", [send.show() for send in reversed(self._all.values())])

    def tick(self) -> None:
        """Take every step that is due."""
        now = self._world.now()
        for send in self:
            self._expire(send)
            if now >= send.due and send.status in _MOVING:
                self._advance(send)
            elif send.credit_due is not None and now >= send.credit_due:
                send.credit_due = None
                self._ledger.move(send.account, send.cost.total, ("send_request", send.send_id), "send_request_return")

    def _draft(self, send_id: str, done: str) -> Send:
        send = self.get(send_id)
        if send.status == "expired" and done == "confirmed":
            raise ApiError(422, _REASON, ["Transaction expired."])
        if send.status != "draft":
            text = f"Send request can only be {done} when in 'draft' state. Current state: {send.status}."
            raise ApiError(422, _REASON, [text])
        return send

    def _start(self, send: Send) -> None:
        self._ledger.move(send.account, -send.cost.total, ("send_request", send.send_id), "send_request")
        self._move(send, "in_progress")

    def _advance(self, send: Send) -> None:
        if send.status == "in_progress":
            if send.ending == "canceled":
                self._stop(send, "canceled")
            elif send.ending != "in_progress":
                self._move(send, "processing")
        elif send.ending == "failed":
            self._stop(send, "failed")
        else:
            self._pay_out(send)

    def _pay_out(self, send: Send) -> None:
        coin, amount = send.setting.currency, send.cost.sending
        carrier = coin.carrier(self._world, send.setting.platform)
        try:
            txid = carrier.pay(send.setting.address, amount) if carrier else self._made_up_hash(send.setting)
        except ValueError:  # right in shape, but no address of the chain
            self._stop(send, "failed")
            return
        send.txid = txid
        self._world.truth.delivered(
            SERVICE_ID,
            order_id=str(send.send_id),
            reference=send.external_id,
            from_coin=send.account.currency.symbol,
            from_amount=send.cost.total,
            to_coin=coin.symbol,
            amount=amount,
            address=send.setting.address,
            txid=txid,
        )
        self._move(send, "completed")

    def _stop(self, send: Send, status: str) -> None:
        if self.credit_back:
            send.credit_due = self._world.now() + CREDIT_STEPS * STEP_SECONDS / self._world.speed
        self._move(send, status)

    def _expire(self, send: Send) -> None:
        life = SECOND_FACTOR_SECONDS if send.needs_second_factor else self.draft_seconds
        if send.status == "draft" and self._world.now() >= send.created + life:
            self._move(send, "expired")

    def _move(self, send: Send, status: str) -> None:
        send.status = status
        send.due = self._world.now() + STEP_SECONDS / self._world.speed
        self._changed(send)

    def _made_up_hash(self, setting: PayoutSetting) -> str:
        return ("0x" if setting.address.startswith("0x") else "") + f"{self._ledger.digest():064x}"

    def _wrong(self, body: Mapping[str, Any], external_id: str | None) -> dict[str, list[str]]:
        errors: dict[str, list[str]] = {}
        if not body.get("purpose"):
            errors["purpose"] = ["can't be blank"]
        if external_id is not None and len(external_id) > 50:
            errors["external_id"] = ["is too long (maximum is 50 characters)"]
        elif external_id is not None and any(send.external_id == external_id for send in self):
            errors["external_id"] = ["has already been taken"]
        return errors

    def _cost(self, account: Account, setting: PayoutSetting, amount: Decimal, named: Currency) -> Cost:
        rate = self._rates.needed(account.currency, setting.currency)
        share = SERVICE_FEE + (CONVERSION_FEE if account.currency != setting.currency else 0)
        fixed = SERVICE_FEE_IN_EURO * self._rates.mid(EURO, account.currency)
        if named == account.currency:
            debit = amount
        elif named == setting.currency:
            debit = (amount / rate + fixed) / (1 - share) if self.fees_inside else amount / rate
        else:
            debit = amount * self._rates.mid(named, account.currency)
        debit = debit.quantize(account.currency.unit, ROUND_FLOOR if named == account.currency else ROUND_CEILING)
        service_fee = (debit * SERVICE_FEE + fixed).quantize(account.currency.unit, ROUND_CEILING)
        conversion_fee = (debit * (share - SERVICE_FEE)).quantize(account.currency.unit, ROUND_CEILING)
        fees = service_fee + conversion_fee
        sending = ((debit - fees if self.fees_inside else debit) * rate).quantize(setting.currency.unit, ROUND_FLOOR)
        if named == setting.currency:
            sending = amount.quantize(setting.currency.unit, ROUND_FLOOR)
        if sending <= 0:
            raise ApiError(422, _REASON, {"amount": ["is too small"]})
        return Cost(debit, sending, rate, service_fee, conversion_fee, debit + (0 if self.fees_inside else fees))
