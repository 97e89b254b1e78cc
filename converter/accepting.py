"""Takes a conversion in: every field is checked, the row and its event are written in one transaction, a hint is sent.

Whoever calls (a pool backend in this process, or over HTTP) gets the same checks and the same answer. A conversion is
accepted once `accept` returned, whether or not a broker or a worker is there at that moment.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from converter.desk import Next
from converter.domain.coins import Asset
from converter.domain.conversions import Conversion, ConversionRequest
from converter.domain.errors import InvalidRequest
from converter.domain.events import CONVERSION_ACCEPTED, Event
from converter.domain.intake import check_services, conversion_id, read_request
from converter.domain.money import plain
from converter.ports import Ledger

_HANDOVER = timedelta(seconds=3)
"""A hint that was not taken by then is repeated by the sweep."""

Minimums = Callable[[Asset, Asset], Mapping[str, Decimal | None]]
"""The enabled services that convert a pair, each with its least amount of the from_coin, None where it has none."""


@dataclass(frozen=True)
class Accepted:
    """`created` is False when the idempotency key was known: then nothing was written."""

    conversion: Conversion
    created: bool


class Accepting:
    """Takes conversions in. `send` takes a task and a conversion id; whether it arrives does not matter."""

    def __init__(self, ledger: Ledger, minimums: Minimums, send: Callable[[str, str], bool]) -> None:
        self._ledger = ledger
        self._minimums = minimums
        self._send = send

    def accept(self, fields: Mapping[str, object], policy: str = "") -> Accepted:
        """Accept `from_coin`, `to_coin`, `amount`, `address` and what `read_request` takes beside them.

        `policy`: settings of this conversion, as text. Raises InvalidRequest (and IdempotencyConflict, one of its
        kind); then nothing was written.
        """
        request = replace(read_request(fields), policy=policy)
        try:
            check_services(request, self._minimums(request.from_asset, request.to_asset))
        except InvalidRequest:
            known = self._known(request)  # taken in before the services changed
            if known is None:
                raise
            return known
        identity = conversion_id(time.time_ns() // 1_000_000, secrets.token_bytes(10))
        with self._ledger.begin() as work:
            conversion = work.conversions.add(identity, request, work.now() + _HANDOVER)
            created = conversion.id == identity
            if created:
                sides = {"from": str(request.from_asset), "to": str(request.to_asset)}
                payload = {**sides, "amount": plain(request.amount)}
                work.outbox.add(Event(CONVERSION_ACCEPTED, payload, identity))
        if created:
            self._send(Next.START, identity)
        return Accepted(conversion, created)

    def known(self, fields: Mapping[str, object]) -> Accepted | None:
        """The conversion that has this idempotency key, None when there is none; writes nothing. Raises as `accept`."""
        return self._known(read_request(fields))

    def _known(self, request: ConversionRequest) -> Accepted | None:
        with self._ledger.begin() as work:
            conversion = work.conversions.known(request)
        return None if conversion is None else Accepted(conversion, created=False)
