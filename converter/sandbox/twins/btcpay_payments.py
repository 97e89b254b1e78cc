"""Route A of the BTCPay twin: paying a BOLT11 from the store's node, and looking payments up by their hash.

A repeat is answered as LND does: a settled hash with the same payment and 200, one in flight with 202 and Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import Request, Response, World
from converter.sandbox.twins.bolt11 import Invoice, read_invoice
from converter.sandbox.twins.btcpay_input import SERVICE_ID, ApiError, Invalid, body_of
from converter.sandbox.twins.btcpay_node import MSAT_PER_BTC, LightningNode, Payment
from converter.sandbox.twins.btcpay_payouts import STEP_SECONDS


class PaymentDesk:
    """Handlers of the payment routes. `ending`: completed at once, stuck in flight, or failed after a while."""

    def __init__(self, world: World, node: LightningNode) -> None:
        self._world, self._node = world, node
        self._failing: list[tuple[float, Payment]] = []
        self.ending = "completed"

    def pay(self, request: Request) -> Response:
        """`POST …/invoices/pay`."""
        body = body_of(request)
        invoice = read_invoice(str(body.get("BOLT11")))
        now = self._world.now()
        if invoice is None or (invoice.expires_at is not None and invoice.expires_at < now):
            raise Invalid("BOLT11", "The BOLT11 invoice is invalid or has expired")
        known = self._node.payments.get(invoice.payment_hash)
        if known and known.status != "Failed":
            return Response(200, known.show()) if known.status == "Complete" else Response(202, _unknown(known))
        amount = _amount(body, invoice) * self._world.wrong_amount(SERVICE_ID)
        status = "Complete" if self.ending == "completed" else "Pending"
        payment = self._node.pay(invoice, amount, int(now), status)
        if payment is None:
            raise ApiError(400, "could-not-find-route")
        order_id = payment.payment_hash
        self._world.truth.executed(SERVICE_ID, "pay", order_id=order_id, amount=amount, address=invoice.text)
        if status == "Complete":
            facts = {"order_id": order_id, "txid": order_id, "address": invoice.text}
            self._world.truth.delivered(SERVICE_ID, to_coin="BTC", amount=amount, **facts)
            return Response(200, payment.show())
        if self.ending == "cancelled":
            self._failing.append((now + STEP_SECONDS / self._world.speed, payment))
        return Response(202, payment.show())

    def show_all(self, request: Request) -> Response:
        """`GET …/payments`."""
        pending = (request.one("includePending") or "").lower() == "true"
        wanted = [item for item in self._node.payments.values() if pending or item.status == "Complete"]
        return Response(200, [item.show() for item in wanted])

    def show(self, request: Request) -> Response:
        """`GET …/payments/{hash}`."""
        payment = self._node.payments.get(request.params["hash"].lower())
        if payment is None:
            raise ApiError(404, "payment-not-found")
        return Response(200, payment.show())

    def tick(self) -> None:
        """Payments that are to fail come back when their time is over."""
        now = self._world.now()
        for due, payment in list(self._failing):
            if due <= now:
                self._node.fail(payment)
                self._failing.remove((due, payment))


def _amount(body: Mapping[str, Any], invoice: Invoice) -> Decimal:
    if invoice.amount is not None:
        return invoice.amount
    msat = str(body.get("amount"))
    if not re.fullmatch("[0-9]{1,19}", msat) or not int(msat):
        raise Invalid("amount", "The invoice has no amount: the amount is required")
    return Decimal(msat) / MSAT_PER_BTC


def _unknown(payment: Payment) -> dict[str, Any]:
    return payment.show() | {"status": "Unknown"}
