"""How the CoinPayments twin shows spend requests and transactions, and what its webhooks carry.

Source: `services/coinpayments.md` sections B5, B7 and B8. A preview's amounts are JSON numbers in version 1 and text in
version 2; a transaction's amounts are text. Unset fields are left out. Inferred here: a transaction names currencies as
numbers in both versions, a token by its network's number; native amounts are dollars; `totalAmount` is the amount and
both fees where they are of the coin that was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.sandbox.twins.coinpayments_assets import Currency, plain
from converter.sandbox.twins.coinpayments_wallets import OWNER_ID, Wallet


@dataclass(frozen=True)
class Cost:
    """What a spend request costs and brings. `debit` is all that leaves the wallet."""

    from_amount: Decimal
    to_amount: Decimal
    service_fee: Decimal
    network_fee: Decimal
    debit: Decimal


@dataclass
class Preview:
    """A spend request; it moves nothing until it is confirmed."""

    request_id: str
    wallet: Wallet
    receiver: Currency
    address: str
    cost: Cost
    created: float
    memo: str | None = None
    used: bool = False

    @property
    def converts(self) -> bool:
        """Whether another coin leaves than the wallet holds."""
        return self.wallet.currency != self.receiver

    def show(self, version: str) -> dict[str, Any]:
        """The answer to the request, in the shape of an API version."""
        sender, cost = self.wallet.currency, self.cost
        body: dict[str, Any] = {
            "spendRequestId": self.request_id,
            "fromWalletId": self.wallet.wallet_id,
            "toAddress": self.address,
            "fromCurrencyId": sender.number if version == "1" else sender.currency_id,
            "toCurrencyId": self.receiver.number if version == "1" else self.receiver.currency_id,
            "blockchainFee": cost.network_fee,
            "coinpaymentsFee": cost.service_fee,
            "fromAmount": cost.from_amount,
            "toAmount": cost.to_amount,
        }
        # The exact Decimal is shortened, or 0.5 would go out as 0.50000000.
        body = {name: Decimal(plain(value)) if isinstance(value, Decimal) else value for name, value in body.items()}
        if version != "1":
            body = {name: plain(value) if isinstance(value, Decimal) else value for name, value in body.items()}
            body |= {"fromCurrencySymbol": sender.symbol, "toCurrencySymbol": self.receiver.symbol}
            if self.converts:
                body["conversionPreview"] = {}
        if self.memo is not None:
            body["memo"] = self.memo
        return body


def exponent_json(body: dict[str, Any]) -> bytes:
    """A flat object whose numbers are written with an exponent, as JSON allows."""
    pairs = (
        f"{json.dumps(name)}:{format(value, 'E') if isinstance(value, Decimal) else json.dumps(value)}"
        for name, value in body.items()
    )
    return ("{" + ",".join(pairs) + "}").encode()


@dataclass
class Transaction:
    """A confirmed spend request on its way, or a deposit (without a preview)."""

    transaction_id: str
    wallet: Wallet
    receiver: Currency
    address: str
    cost: Cost
    created: float
    kind: str
    status: str
    preview: Preview | None = None
    tx_hash: str | None = None
    confirmations: int = 0
    due: float = 0.0
    ending: str = ""

    def show(self, write: Callable[[Decimal, Currency], str], dollars: Callable[[Decimal, Currency], str]) -> Any:
        """The transaction's JSON; `write` gives amounts their unit."""
        sender, receiver, cost = self.wallet.currency, self.receiver, self.cost
        body = {
            "id": self.transaction_id,
            "dateCreated": _iso(self.created),
            "fromOwnerId": OWNER_ID,
            "fromWalletId": self.wallet.wallet_id,
            "spendRequestId": self.preview.request_id if self.preview else None,
            "fromCurrencyId": int(sender.number),
            "toCurrencyId": int(receiver.number),
            "fromContractAddress": sender.contract,
            "toContractAddress": receiver.contract,
            "fromAmount": write(cost.from_amount, sender),
            "toAmount": write(cost.to_amount, receiver),
            "coinPaymentsFee": write(cost.service_fee, sender),
            "coinPaymentsFeeCurrency": sender.number,
            "blockchainFee": write(cost.network_fee, receiver),
            "blockchainFeeCurrency": receiver.number,
            "transactionStatus": self.status,
            "transactionType": self.kind,
            "memo": self.preview.memo if self.preview else None,
            "toAddress": self.address,
            "txHash": self.tx_hash,
            "confirmations": self.confirmations,
            "requiredConfirmations": receiver.confirmations,
            "fromAmountNative": dollars(cost.from_amount, sender),
            "toAmountNative": dollars(cost.to_amount, receiver),
            "coinpaymentsFeeNative": dollars(cost.service_fee, sender),
            "blockchainFeeNative": dollars(cost.network_fee, receiver),
            "isInvoicePaymentSend": False,
        }
        return {name: value for name, value in body.items() if value is not None}

    def webhook(self, dollars: Callable[[Decimal, Currency], str]) -> dict[str, Any]:
        """The body of a webhook; it tells no status."""
        sender, receiver, cost = self.wallet.currency, self.receiver, self.cost
        body = {
            "walletId": self.wallet.wallet_id,
            "address": self.address,
            "transactionId": self.transaction_id,
            "txHash": self.tx_hash,
            "spendRequestId": self.preview.request_id if self.preview else None,
            "transactionType": self.kind[0].upper() + self.kind[1:],
            "amount": plain(cost.from_amount),
            "symbol": sender.symbol,
            "coinPaymentsFee": plain(cost.service_fee),
            "coinPaymentsFeeSymbol": sender.symbol,
            "blockchainFee": plain(cost.network_fee),
            "blockchainFeeSymbol": receiver.symbol,
            "totalAmount": plain(cost.debit),
            "totalAmountSymbol": sender.symbol,
            "nativeAmount": dollars(cost.from_amount, sender),
            "coinPaymentsFeeNativeAmount": dollars(cost.service_fee, sender),
            "blockchainFeeNativeAmount": dollars(cost.network_fee, receiver),
            "totalNativeAmount": dollars(cost.debit, sender),
            "nativeSymbol": "USD",
            "confirmations": self.confirmations,
            "requiredConfirmations": receiver.confirmations,
        }
        return {name: value for name, value in body.items() if value is not None}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
