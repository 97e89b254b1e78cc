"""BTCPay's own list of what it paid: all payouts of the store, from its beginning, in one answer without pages.

Our key travels in `metadata.clientRef`; `order_id` is the payout's id. A payout goes by the moment of its creation. One
that awaits approval is no payment, since nothing moves before. One that was cancelled unapproved was never paid; one
that was cancelled after its approval is unknown, for the reasons that `btcpay_lightning` gives. What was completed by
hand may have no proof, so no transaction. Payouts by other means (a send from the wallet) are not in this list.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import Call, HttpService, exact, text
from converter.services.lists import Row, from_seconds, gathered, state_of, told

STATES = {
    "AwaitingPayment": PayoutState.UNDER_WAY,
    "InProgress": PayoutState.UNDER_WAY,
    "Completed": PayoutState.PAID,
}


class BtcPayPayouts(HttpService):
    """See the module."""

    lists = True

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Approved and cancelled payouts that were created since then."""
        body = self._read(self._call("list", "GET", "/payouts", "includeCancelled=true"), deadline)
        with self._parsing("list"):
            rows = [_row(row) for row in list.copy(body)]  # a TypeError for anything but a list
        return gathered("btcpay_lightning", [(rows, True)], since, 1)

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        """A call to the store."""
        raise NotImplementedError


def _row(body: Any) -> Row:
    row_id, at, state = text(body["id"]), from_seconds(body["date"]), body["state"]
    if state == "AwaitingApproval":
        return Row(row_id, at, None)
    paid, proof = body["payoutAmount"], body.get("paymentProof") or {}
    named = {str(name).lower(): value for name, value in proof.items()}  # their case differs from server to server
    unpaid = state == "Cancelled" and paid is None
    payout = Payout(
        service_id="btcpay_lightning",
        reference=told((body.get("metadata") or {}).get("clientRef")),
        order_id=row_id,
        coin=text(body["payoutCurrency"]),
        amount=None if paid is None else exact(paid),
        address=text(body["destination"]),
        txid=told(named.get("transactionid") or named.get("paymenthash")),
        at=at,
        state=PayoutState.FAILED if unpaid else state_of(STATES, state),
    )
    return Row(row_id, at, payout)
