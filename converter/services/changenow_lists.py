"""ChangeNOW's own list of what it paid: the partner's list of orders, which wants the private key; without one, none.

Our key travels as `payload.ref` and `userId`, and comes back where the key has partner fields; `order_id` is the
`requestId`, the id used everywhere else. The list is asked for by the moment of the last change, new to old, so that
an old order that pays only now is on it. A further deposit makes an order of its own, with the same key. Orders that
nobody funded are no payments. `failed` and `refunded` did not pay the address; a failed one may be continued by hand
and pay later. Coins go by their ticker alone, without a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from converter.domain.errors import AuthenticationFailed
from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import Call, HttpService, encode, exact, text
from converter.services.changenow_orders import CODES, key_of
from converter.services.lists import Page, Row, gathered, state_of, told, utc

STATES = {
    **dict.fromkeys(("confirming", "exchanging", "sending", "verifying"), PayoutState.UNDER_WAY),
    "finished": PayoutState.PAID,
    **dict.fromkeys(("failed", "refunded"), PayoutState.FAILED),
}
PAGE, PAGES = 100, 4

_UNFUNDED = ("new", "waiting", "expired")
_COINS = {code[0]: coin for (coin, _), code in CODES.items() if code is not None}


class ChangeNowPayouts(HttpService):
    """See the module."""

    @property
    def lists(self) -> bool:
        """With a private key."""
        return bool(self._settings.keys.get("private_key"))

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Funded orders that changed since then. Raises AuthenticationFailed without a private key."""
        if not self.lists:
            raise AuthenticationFailed("changenow", "list", detail="there is no private key")
        return gathered("changenow", self._orders(since, deadline), since, PAGES)

    def _orders(self, since: datetime, deadline: Deadline) -> Iterator[Page]:
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        order = {"sortDirection": "DESC", "sortField": "updatedAt", "dateField": "updatedAt", "dateFrom": start}
        headers, offset = {"x-changenow-api-key": self._settings.keys["private_key"]}, 0
        while True:
            query = encode({"limit": str(PAGE), "offset": str(offset), **order})
            body = self._read(Call("list", "GET", "/v2/exchanges", query, headers), deadline)
            with self._parsing("list"):
                rows = [_row(row) for row in list.copy(body["exchanges"])]  # a TypeError for anything but a list
            yield rows, len(rows) < PAGE
            offset += len(rows)


def _row(body: Any) -> Row:
    row_id, at, status, paid = text(body["requestId"]), utc(body["updatedAt"]), body["status"], body["payout"]
    if status in _UNFUNDED:
        return Row(row_id, at, None)
    ticker, amount = text(paid["currency"]), paid.get("amount")
    payout = Payout(
        service_id="changenow",
        reference=key_of(body),
        order_id=row_id,
        coin=_COINS.get(ticker, ticker.upper()),
        amount=None if amount is None else exact(amount),
        address=text(paid["address"]),
        txid=told(paid.get("hash")),
        at=at,
        state=state_of(STATES, status),
    )
    return Row(row_id, at, payout)
