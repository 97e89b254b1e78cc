"""Binance's own list of what it paid: the history of withdrawals, of all coins and networks.

Our key travels as `withdrawOrderId`; `order_id` is the withdrawal's own id, which is not that of a trade. A row goes by
the moment at which it was asked for, told without a zone and read as UTC. One is shown up to 90 days after; what is
older is refused here. A row may appear late. A transfer inside the service has no transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from converter.domain.errors import ServiceRejected
from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import exact, milliseconds, text
from converter.services.binance_trades import BinanceTrades
from converter.services.lists import Page, Row, gathered, state_of, told, utc

STATES = {
    **dict.fromkeys((0, 2, 4), PayoutState.UNDER_WAY),
    **dict.fromkeys((1, 3, 5), PayoutState.FAILED),
    6: PayoutState.PAID,
}
PAGE, PAGES = 1000, 2
"""Rows of a page, and pages of one reading: the history may be read ten times a minute, whoever asks."""

_SHOWN = timedelta(days=89)
_AHEAD_MS = 300_000
_INTERNAL = 1


class BinancePayouts(BinanceTrades):
    """See the module."""

    lists = True

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Withdrawals asked for since then. Raises ServiceRejected for what is too long ago to be shown."""
        if since < self._clock.now() - _SHOWN:
            raise ServiceRejected("binance", "list", detail="it shows the last 90 days")
        return gathered("binance", self._history(since, deadline), since, PAGES)

    def _history(self, since: datetime, deadline: Deadline) -> Iterator[Page]:
        start, end = milliseconds(since) // 1000 * 1000, milliseconds(self._clock.now()) + _AHEAD_MS
        asked, offset = {"startTime": str(start), "endTime": str(end), "limit": str(PAGE)}, 0
        while True:
            params = {**asked, "offset": str(offset)}
            body = self._read_signed("list", "/sapi/v1/capital/withdraw/history", params, deadline)
            with self._parsing("list"):
                rows = [_row(row) for row in list.copy(body)]  # a TypeError for anything but a list
            yield rows, len(rows) < PAGE
            offset += len(rows)


def _row(body: Any) -> Row:
    row_id, at = text(body["id"]), utc(body["applyTime"])
    payout = Payout(
        service_id="binance",
        reference=told(body.get("withdrawOrderId")),
        order_id=row_id,
        coin=text(body["coin"]),
        amount=exact(body["amount"]),
        address=text(body["address"]),
        txid="" if body.get("transferType") == _INTERNAL else told(body.get("txId")),
        at=at,
        state=state_of(STATES, body["status"]),
    )
    return Row(row_id, at, payout)
