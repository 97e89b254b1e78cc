"""CoinGate's own list of what it paid: send requests, a hundred on a page.

Our key travels as `external_id`; `order_id` is the request's id. A request goes by the moment of its creation. Drafts
and expired ones are no payments: nothing was taken. A failed or cancelled one was not paid; whether its money is back
is not told. The list's order is not documented: it is read from new to old where its rows run so, else to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Any

from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import Call, HttpService, encode, exact, text
from converter.services.coingate_requests import SENDS, number
from converter.services.lists import Page, Row, gathered, state_of, told, utc

STATES = {
    **dict.fromkeys(("in_progress", "processing"), PayoutState.UNDER_WAY),
    "completed": PayoutState.PAID,
    **dict.fromkeys(("failed", "canceled"), PayoutState.FAILED),
}
PAGE, PAGES = 100, 5

_UNCONFIRMED = ("draft", "expired")


class CoinGatePayouts(HttpService):
    """See the module."""

    lists = True

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Send requests that were created since then and are no drafts."""
        return gathered("coingate", self._sends(deadline), since, PAGES)

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        """A call with our token."""
        raise NotImplementedError

    def _sends(self, deadline: Deadline) -> Iterator[Page]:
        for page in count(1):
            query = encode({"page": str(page), "per_page": str(PAGE)})
            body = self._read(self._call("list", "GET", f"/{SENDS}", query), deadline)
            with self._parsing("list"):
                rows, is_last = [_row(row) for row in list.copy(body[SENDS])], page >= exact(body["total_pages"])
            yield rows, is_last


def _row(body: Any) -> Row:
    row_id, at, status = str(number(body)), utc(body["created_at"]), body["status"]
    if status in _UNCONFIRMED:
        return Row(row_id, at, None)
    paid = [one["txid"] for one in list.copy(body.get("blockchain_transactions") or []) if one.get("txid")]
    payout = Payout(
        service_id="coingate",
        reference=told(body.get("external_id")),
        order_id=row_id,
        coin=text(body["sending_currency"]["symbol"]),
        amount=exact(body["sending_amount"]),
        address=text(body["beneficiary_payout_setting"]["crypto_address"]),
        txid=text(paid[0]) if paid else "",
        at=at,
        state=state_of(STATES, status),
    )
    return Row(row_id, at, payout)
