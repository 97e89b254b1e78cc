"""Kraken's own list of what it paid: its withdrawals, newest first, of the last 90 days; what is older is refused here.

No key of ours travels with a withdrawal, so `reference` is empty; `order_id` is the withdrawal's `refid`. A withdrawal
of ours is told by its address and by amount and fee together, whose last digits are ours (see `kraken_payouts`).

Pages go by `end`, which is documented, and not by a cursor, whose place in the answer is not. `onhold` is under way:
it may still be paid. A failed one is back in the account. `Partial` is seen in a public client only: unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from converter.domain.errors import ServiceRejected
from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from converter.services.base import HttpService, exact, text
from converter.services.kraken_market import CODES
from converter.services.kraken_payouts import page_of
from converter.services.lists import Page, Row, from_seconds, gathered, state_of, told

STATES = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), PayoutState.UNDER_WAY),
    "Success": PayoutState.PAID,
    "Failure": PayoutState.FAILED,
}
PAGE, PAGES = 500, 2

_COINS = {name: coin for (coin, _), code in CODES.items() if code is not None for name in code.names}
_FITTING: dict[str, tuple[PayoutState, ...]] = {
    **dict.fromkeys(("", "cancel-pending", "cancel-denied"), tuple(PayoutState)),
    **dict.fromkeys(("canceled", "return"), (PayoutState.FAILED,)),
    "onhold": (PayoutState.UNDER_WAY,),
}
"""`status-prop` -> the states that it goes with; any other pair is unknown."""

_SHOWN = timedelta(days=89)


class KrakenPayouts(HttpService):
    """See the module."""

    lists = True

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Withdrawals made since then. Raises ServiceRejected for what is too long ago to be shown."""
        if since < self._clock.now() - _SHOWN:
            raise ServiceRejected("kraken", "list", detail="it shows the last 90 days")
        return gathered("kraken", self._withdrawals(since, deadline), since, PAGES)

    def _private(self, operation: str, method: str, params: dict[str, str], deadline: Deadline) -> Any:
        """The result of a signed call."""
        raise NotImplementedError

    def _withdrawals(self, since: datetime, deadline: Deadline) -> Iterator[Page]:
        asked = {"start": str(int(since.timestamp())), "limit": str(PAGE)}
        while True:
            body = self._private("list", "WithdrawStatus", asked, deadline)
            with self._parsing("list"):
                told_rows, more = page_of(body)
                rows = [_row(row) for row in told_rows]
            yield rows, not more and len(rows) < PAGE
            # The oldest second once more, and one for an end that is not included: what is shown twice counts once.
            oldest = min(int(row.at.timestamp()) for row in rows if row.at is not None)
            asked["end"] = str(oldest + 1)


def _row(body: Any) -> Row:
    row_id, at, asset = text(body["refid"]), from_seconds(body["time"]), text(body["asset"])
    state, prop = state_of(STATES, body["status"]), told(body.get("status-prop"))
    payout = Payout(
        service_id="kraken",
        reference="",
        order_id=row_id,
        coin=_COINS.get(asset, asset),
        amount=exact(body["amount"]),
        address=text(body["info"]),
        txid=told(body.get("txid")),
        at=at,
        state=state if state in _FITTING.get(prop, ()) else PayoutState.UNKNOWN,
    )
    return Row(row_id, at, payout)
