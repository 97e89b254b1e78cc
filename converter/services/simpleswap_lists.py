"""SimpleSwap's own list of what it paid: the exchanges of our key.

No key of ours travels, so `reference` is empty; `order_id` is the exchange's id. An exchange goes by the moment of its
creation, told under one of two names or not at all: then it is always on the list. Those that nobody funded are no
payments; `failed` and `refunded` did not pay the address. The amount is told once it is paid: before, it may change.

That there is a list is documented; its filters, order and the most rows of a page are not. Read cautiously: `limit` and
`offset` as in its older version; from new to old where the rows run so, else to a page without rows; a page that only
repeats the one before means that there are no pages, and the list is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import Call, HttpService, encode, exact, text
from converter.services.lists import Page, Row, gathered, state_of, told, utc
from converter.services.simpleswap_orders import CODES, id_of

STATES = {
    **dict.fromkeys(("confirming", "exchanging", "sending", "verifying"), PayoutState.UNDER_WAY),
    "finished": PayoutState.PAID,
    **dict.fromkeys(("failed", "refunded"), PayoutState.FAILED),
}
PAGE, PAGES = 100, 4

_UNFUNDED = ("waiting", "expired")
_COINS = {code[0]: coin for (coin, _), code in CODES.items() if code is not None}


class SimpleSwapPayouts(HttpService):
    """See the module."""

    lists = True

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Funded exchanges that were created since then."""
        return gathered("simpleswap", self._exchanges(deadline), since, PAGES)

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        """A call with our key."""
        raise NotImplementedError

    def _exchanges(self, deadline: Deadline) -> Iterator[Page]:
        offset = 0
        while True:
            query = encode({"limit": str(PAGE), "offset": str(offset)})
            body = self._read(self._call("list", "GET", "/v3/exchanges", query), deadline)
            with self._parsing("list"):
                told_rows = body["result"] if isinstance(body, dict) else body  # an envelope, or none
                rows = [_row(row) for row in list.copy(told_rows)]  # a TypeError for anything but a list
            yield rows, not rows
            offset += len(rows)


def _row(body: Any) -> Row:
    row_id, status = id_of(body), body["status"]
    created = body.get("createdAt") or body.get("timestamp")
    at = utc(created) if created else None
    if status in _UNFUNDED:
        return Row(row_id, at, None)
    ticker, state = text(body["tickerTo"]), state_of(STATES, status)
    payout = Payout(
        service_id="simpleswap",
        reference="",
        order_id=row_id,
        coin=_COINS.get(ticker, ticker.upper()),
        amount=exact(body["amountTo"]) if state is PayoutState.PAID else None,
        address=text(body["addressTo"]),
        txid="" if status == "refunded" else told(body.get("txTo")),
        at=at,
        state=state,
    )
    return Row(row_id, at, payout)
