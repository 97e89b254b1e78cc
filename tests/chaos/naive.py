"""Runs Celery with an execution as it is often written: a lease, and the next service after any error.

Nothing is stored before it is sent, each try has a new key, an error of any kind counts as "not executed", and a second
delivery after the lease executes again. Queues, tasks, quotes and choosing are the product's. It shows that the
drill sees what it is there to see; the product knows nothing of it: its use-case is replaced in the test's own process.
"""

from __future__ import annotations

import secrets
import sys

from celery.__main__ import main

from converter.desk import Desk, Next
from converter.domain.conversions import Conversion, State
from converter.domain.errors import ClaimLost, ConverterError
from converter.domain.orders import NEXT_STEP, OrderRequest
from converter.domain.quotes import Quote
from converter.execution import Execution
from converter.ports import Deadline


def execute(self: Execution, conversion_id: str) -> Next | None:
    """Pay at the best service, or at the next one when that raised anything."""
    desk = self._desk
    with desk.ledger.begin() as work:
        conversion = work.conversions.claim(conversion_id, desk.owner, desk.timing.lease, (State.EXECUTING,))
        if conversion is None:
            return None
        rows = work.quotes.of_round(conversion.id, conversion.round)
    ranked = sorted((row for row in rows if row.rank is not None and row.quote is not None), key=lambda row: row.rank)
    try:
        for row in ranked:
            try:
                _pay(desk, conversion, row.quote)
            except ConverterError:
                continue
            _note(desk, conversion, row.quote)
            return None
        with desk.ledger.begin() as work:
            work.conversions.move(conversion, State.WAITING, due_at=work.now(), reason="all failed")
    except ClaimLost:
        return None
    return Next.START


def _pay(desk: Desk, conversion: Conversion, quote: Quote) -> None:
    service = desk.services[quote.service_id]
    order = service.place_order(_request(conversion, quote), Deadline.after(5))
    if order.status in NEXT_STEP:
        service.advance_order(order, Deadline.after(5))


def _request(conversion: Conversion, quote: Quote) -> OrderRequest:
    given = conversion.request
    return OrderRequest(
        key=f"{conversion.id.removeprefix('cv_')}-{secrets.token_hex(2)}",
        from_asset=given.from_asset,
        to_asset=given.to_asset,
        amount=given.amount,
        address=given.address,
        net=quote.net,
        minimum_net=quote.net / 2,
        quote_reference=quote.reference,
        prepared_at=conversion.updated_at,
    )


def _note(desk: Desk, conversion: Conversion, quote: Quote) -> None:
    with desk.ledger.begin() as work:
        work.conversions.move(
            conversion, State.COMPLETED, service_id=quote.service_id, promised=quote.net, delivered=quote.net
        )


Execution.execute = execute  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
