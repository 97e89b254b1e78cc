"""The BTCPay twin's purse: a Lightning node that pays BOLT11 invoices, and an on-chain hot wallet.

What the wallet pays really arrives on the sandbox's BTC chain, where there is one; its fee is its own affair.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import Chain
from converter.sandbox.twins.bolt11 import Invoice, write_invoice

BTC = Decimal("0.00000001")
MSAT_PER_BTC = 100_000_000_000
FEE_RATE = Decimal("8.25")  # sat per vB
CHAIN_FEE = (FEE_RATE * 140 * BTC).quantize(BTC)  # one input, two outputs
LIGHTNING_FEE = Decimal("0.0002")


@dataclass
class Payment:
    """One Lightning payment; amounts in millisatoshi."""

    invoice: str
    payment_hash: str
    preimage: str
    amount: int
    fee: int
    created_at: int
    status: str

    def show(self) -> dict[str, Any]:
        """LightningPaymentData."""
        done = self.status == "Complete"
        return {
            "id": self.payment_hash,
            "status": self.status,
            "BOLT11": self.invoice,
            "paymentHash": self.payment_hash,
            "preimage": self.preimage if done else None,
            "createdAt": self.created_at,
            "totalAmount": str(self.amount + self.fee) if done else None,
            "feeAmount": str(self.fee) if done else None,
        }


class LightningNode:
    """Channels with money on this side. It pays one payment hash once."""

    def __init__(self, balance: Decimal) -> None:
        self.local = int(balance * MSAT_PER_BTC)
        self.payments: dict[str, Payment] = {}
        self.invoices: dict[str, str] = {}  # invoices that the sandbox itself made, and their preimages by hash

    def new_invoice(self, amount: Decimal | None, now: int) -> str:
        """An invoice of some receiver whose preimage the twin knows, so that a payment can be proven."""
        preimage = secrets.token_bytes(32)
        digest = hashlib.sha256(preimage).digest()
        text = write_invoice(digest, amount, now)
        self.invoices[digest.hex()] = preimage.hex()
        return text

    def pay(self, invoice: Invoice, amount: Decimal, now: int, status: str = "Complete") -> Payment | None:
        """Pay, or only begin to when the status says so; None when this side has too little."""
        msat = int(amount * MSAT_PER_BTC)
        fee = int(msat * LIGHTNING_FEE)
        if msat + fee > self.local:
            return None
        preimage = self.invoices.get(invoice.payment_hash) or secrets.token_hex(32)
        payment = Payment(invoice.text, invoice.payment_hash, preimage, msat, fee, now, status)
        self.local -= msat + fee
        self.payments[payment.payment_hash] = payment
        return payment

    def fail(self, payment: Payment) -> None:
        """A payment in flight comes back."""
        payment.status = "Failed"
        self.local += payment.amount + payment.fee


class HotWallet:
    """The store's BTC-CHAIN wallet."""

    def __init__(self, balance: Decimal, chain: Callable[[], Chain | None]) -> None:
        self.balance = balance
        self._chain = chain
        self.transactions: list[dict[str, Any]] = []

    def send(self, amount: Decimal, destination: str, now: int) -> str | None:
        """Broadcast; the transaction id, or None when the wallet has too little or the chain knows no such address."""
        if amount + CHAIN_FEE > self.balance:
            return None
        try:
            made_up, chain = hashlib.sha256(f"{now}{secrets.token_hex(8)}".encode()).hexdigest(), self._chain()
            txid = chain.pay(destination, amount) if chain else made_up
        except ValueError:
            return None
        self.balance -= amount + CHAIN_FEE
        self.transactions.append(
            {
                "transactionHash": txid,
                "comment": "",
                "amount": format(-(amount + CHAIN_FEE), "f"),
                "blockHash": None,
                "blockHeight": None,
                "confirmations": 0,
                "timestamp": now,
                "status": "Unconfirmed",
                "labels": [],
            }
        )
        return txid

    def confirm(self, txid: str, height: int) -> None:
        """Mine a transaction."""
        for transaction in self.transactions:
            if transaction["transactionHash"] == txid:
                block = hashlib.sha256(f"block {height}".encode()).hexdigest()
                transaction |= {"status": "Confirmed", "confirmations": 1, "blockHeight": height, "blockHash": block}
