"""Payouts of the BTCPay twin: created, approved, sent by a payout processor, cancelled.

Life: AwaitingApproval -> AwaitingPayment -> InProgress -> Completed, or Cancelled. As on the real server, the on-chain
processor broadcasts first and stores InProgress a little later: a cancel in between is accepted and then overwritten.
An LNURL or a lightning address is asked for an invoice of its own at every payout, so two payouts are two payments.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.bolt11 import Invoice
from converter.sandbox.twins.btcpay_input import (
    BASE58,
    CHAIN,
    LIGHTNING,
    SERVICE_ID,
    ApiError,
    Destination,
    Invalid,
    read_amount,
    read_destination,
)
from converter.sandbox.twins.btcpay_node import BTC, HotWallet, LightningNode

STEP_SECONDS = 0.4
DUST = {CHAIN: Decimal("0.00000546"), LIGHTNING: Decimal("0.00000001")}
PRECISION = {CHAIN: BTC, LIGHTNING: Decimal("1e-11")}
ENDINGS = ("completed", "stuck", "cancelled")
FINAL = ("Completed", "Cancelled")
FIRST_HEIGHT = 900_000


@dataclass
class Payout:
    """One payout. `stage` is what the processor really did; `state` is what it has stored."""

    payout_id: str
    date: int
    destination: Destination
    method: str
    amount: Decimal
    metadata: Mapping[str, Any]
    ending: str
    state: str = "AwaitingApproval"
    stage: str = "waiting"
    revision: int = 0
    payout_amount: Decimal | None = None
    due: float = 0.0
    txid: str | None = None
    paid_before: bool = False  # the node had paid this hash already: the payout completes, no money moves
    proof: dict[str, Any] | None = None

    def show(self) -> dict[str, Any]:
        """PayoutData."""
        return {
            "id": self.payout_id,
            "revision": self.revision,
            "pullPaymentId": None,
            "date": self.date,
            "destination": self.destination.address,
            "originalCurrency": "BTC",
            "originalAmount": format(self.amount, "f"),
            "payoutCurrency": "BTC",
            "payoutAmount": None if self.payout_amount is None else format(self.payout_amount, "f"),
            "payoutMethodId": self.method,
            "state": self.state,
            "paymentProof": self.proof,
            "metadata": self.metadata,
        }


class PayoutBook:
    """All payouts of the store and the processor that sends them; `tell` hears of every change."""

    def __init__(
        self, world: World, node: LightningNode, wallet: HotWallet, tell: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self._world, self._node, self._wallet = world, node, wallet
        self._step = STEP_SECONDS / world.speed
        self._tell = tell
        self._open: dict[str, Payout] = {}  # approved, and not yet at their end
        self.payouts: dict[str, Payout] = {}
        self.ending = ENDINGS[0]

    def create(self, body: Mapping[str, Any]) -> Payout:
        """A new payout; with `approved` it waits for the processor at once."""
        method = body.get("payoutMethodId")
        if not isinstance(method, str) or method not in DUST:
            raise Invalid("payoutMethodId", "Invalid payout method")
        destination = read_destination(method, body.get("destination"), self._world.now())
        amount = read_amount(body.get("amount"), destination.invoice)
        if amount < DUST[method]:
            raise ApiError(400, "amount-too-low")
        key = destination.key
        if key and any(item.destination.key == key and item.state not in FINAL for item in self.payouts.values()):
            raise ApiError(400, "duplicate-destination")
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise Invalid("metadata", "The metadata must be an object")
        payout_id = "".join(secrets.choice(BASE58) for _ in range(22))
        payout = Payout(
            payout_id=payout_id,
            date=int(self._world.now()),
            destination=destination,
            method=method,
            amount=self._distorted(amount, method),
            metadata=metadata,
            ending=self.ending,
        )
        self.payouts[payout_id] = payout
        self._note("order", payout)
        self._tell("PayoutCreated", payout.show())
        if body.get("approved") is True:
            self._approve(payout, payout.amount)
        return payout

    def find(self, payout_id: str) -> Payout:
        """A payout by its id."""
        if payout_id not in self.payouts:
            raise ApiError(404, "payout-not-found")
        return self.payouts[payout_id]

    def approve(self, payout_id: str, body: Mapping[str, Any]) -> Payout:
        """Approve the revision that the caller has seen."""
        revision = body.get("revision")
        if not isinstance(revision, int) or isinstance(revision, bool):
            raise Invalid("revision", "The revision is required")
        payout = self.find(payout_id)
        if payout.state != "AwaitingApproval":
            raise ApiError(400, "invalid-state")
        if revision != payout.revision:
            raise ApiError(400, "old-revision")
        self._approve(payout, self._distorted(payout.amount, payout.method))
        return payout

    def cancel(self, payout_id: str) -> None:
        """Cancel what is stored neither as InProgress nor as Completed."""
        payout = self.find(payout_id)
        if payout.state in ("InProgress", "Completed"):
            raise ApiError(400, "invalid-state")
        if payout.state != "Cancelled":
            self._move(payout, "Cancelled")
            self._note("cancel", payout)

    def tick(self) -> None:
        """One round of the processor."""
        now = self._world.now()
        for payout in [item for item in self._open.values() if item.due <= now]:
            if payout.stage == "waiting":
                self._send(payout, now)
            elif payout.stage == "broadcast":
                self._store_progress(payout, now)
            else:
                self._complete(payout)

    def _approve(self, payout: Payout, amount: Decimal) -> None:
        rounded = amount.quantize(PRECISION[payout.method], ROUND_UP)
        payout.payout_amount = amount if rounded == amount else rounded
        payout.state = "AwaitingPayment"
        payout.due = self._world.now() + self._step
        self._open[payout.payout_id] = payout
        self._note("approve", payout)
        self._tell("PayoutApproved", payout.show())

    def _send(self, payout: Payout, now: float) -> None:
        """First step: money leaves, unless the payout was cancelled, is stuck, or the purse is empty."""
        amount = payout.payout_amount or payout.amount
        invoice = payout.destination.invoice
        misfits = invoice is not None and invoice.amount not in (None, amount)
        if payout.state == "Cancelled" or payout.ending == "cancelled" or misfits:
            del self._open[payout.payout_id]
            self._move(payout, "Cancelled")
            return
        payout.due = now + self._step
        if payout.ending == "stuck":
            return
        if payout.method == LIGHTNING:
            self._pay(payout, amount, int(now))
            return
        payout.txid = self._wallet.send(amount, payout.destination.address, int(now))
        if payout.txid:
            payout.stage = "broadcast"
            payout.due = now + self._step / 2

    def _pay(self, payout: Payout, amount: Decimal, now: int) -> None:
        """Over Lightning; an LNURL or a lightning address is taken to give an invoice of its own each time."""
        invoice = payout.destination.invoice or Invoice(payout.destination.address, secrets.token_hex(32), amount)
        payment = self._node.payments.get(invoice.payment_hash)
        if payment and payment.status == "Pending":
            return
        payout.paid_before = payment is not None and payment.status == "Complete"
        if not payout.paid_before:
            payment = self._node.pay(invoice, amount, now)
        if payment:
            payout.stage, payout.txid = "sent", payment.payment_hash
            payout.proof = {
                "ProofType": "PayoutLightningBlob",
                "PaymentHash": payment.payment_hash,
                "Id": payment.payment_hash,
                "Preimage": None,  # known when it is paid
                "Link": None,
            }
            self._move(payout, "InProgress")

    def _store_progress(self, payout: Payout, now: float) -> None:
        payout.stage, payout.due = "sent", now + self._step
        payout.proof = {
            "ProofType": "PayoutTransactionOnChainBlob",
            "TransactionId": payout.txid,
            "Candidates": [payout.txid],
            "Accounted": True,
        }
        self._move(payout, "InProgress")

    def _complete(self, payout: Payout) -> None:
        del self._open[payout.payout_id]
        if payout.proof and payout.method == LIGHTNING:
            payout.proof["Preimage"] = self._node.payments[str(payout.txid)].preimage
        if payout.proof and payout.method == CHAIN:
            del payout.proof["Candidates"]
            self._wallet.confirm(str(payout.txid), FIRST_HEIGHT + len(self._wallet.transactions))
        self._move(payout, "Completed")
        if payout.paid_before:
            return
        self._world.truth.delivered(
            SERVICE_ID,
            reference=payout.metadata.get("clientRef"),
            order_id=payout.payout_id,
            from_coin=payout.metadata.get("fromCoin"),
            from_amount=payout.metadata.get("fromAmount"),
            to_coin="BTC",
            amount=payout.payout_amount,
            address=payout.destination.address,
            txid=payout.txid,
        )

    def _move(self, payout: Payout, state: str) -> None:
        if payout.state != state:
            payout.state = state
            self._tell("PayoutUpdated", payout.show())

    def _note(self, operation: str, payout: Payout) -> None:
        self._world.truth.executed(
            SERVICE_ID,
            operation,
            order_id=payout.payout_id,
            reference=payout.metadata.get("clientRef"),
            amount=payout.payout_amount or payout.amount,
            address=payout.destination.address,
        )

    def _distorted(self, amount: Decimal, method: str) -> Decimal:
        factor = self._world.wrong_amount(SERVICE_ID)
        return amount if factor == 1 else (amount * factor).quantize(PRECISION[method])
