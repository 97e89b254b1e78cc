"""Hears a callback: a hint that a service may have news of an order, and never more than that.

Nothing in it is believed and nothing but a due time changes: the order's status is read from the service by the normal
settlement. A conversion is looked at no sooner than `PAUSE` after it was last touched, however many hints come. Only
the following of an accepted order is hastened. The pauses of a reconciliation belong to its proof, and those after a
refused withdrawal are what the service asked for; a callback, which may be forged, must not shorten them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from converter.desk import Next
from converter.domain.conversions import Conversion, OperationState, State
from converter.ports import Ledger, Work

PAUSE = timedelta(seconds=2)


class Hearing:
    """The use-case behind `POST /callbacks/<service_id>`. `send` takes a task and a conversion id."""

    def __init__(self, ledger: Ledger, send: Callable[[str, str], bool]) -> None:
        self._ledger = ledger
        self._send = send

    def hear(self, service_id: str, *, order_id: str = "", reference: str = "") -> bool:
        """Take a hint; whether a look was asked for at once. Otherwise one is due within `PAUSE`, or none is needed."""
        if not order_id and not reference:
            return False
        with self._ledger.begin() as work:
            conversion_id = work.conversions.find(service_id, order_id, reference)
        if conversion_id is None or not self._bring_forward(conversion_id, service_id):
            return False
        return self._send(Next.SETTLE, conversion_id)

    def _bring_forward(self, conversion_id: str, service_id: str) -> bool:
        """Move the due time; True when the look may be now. The sweep sees to those that must wait."""
        with self._ledger.begin() as work:
            conversion, now = work.conversions.get(conversion_id), work.now()
            if conversion.due_at is None or conversion.due_at <= now + PAUSE:
                return False  # looked at soon in any case
            if conversion.lease_until is not None and conversion.lease_until >= now:
                return False  # looked at now, or its owner died: then the lease has to lapse
            if not _is_followed(work, conversion, service_id):
                return False
            rested = conversion.updated_at + PAUSE
            if rested > now:
                work.conversions.postpone(conversion, rested)
                return False
            # Where the message is lost the sweep looks, and until then further hints find it due soon.
            return work.conversions.postpone(conversion, now + PAUSE)


def _is_followed(work: Work, conversion: Conversion, service_id: str) -> bool:
    """Whether a look asks how an accepted order goes, and repeats nothing that was refused or is unknown."""
    attempt = next((one for one in work.attempts.of(conversion.id) if one.is_open), None)
    if attempt is None or attempt.service_id != service_id:
        return False
    if conversion.state is State.NEEDS_REVIEW:
        return True  # nothing is sent any more; a payout that turns up completes it
    if conversion.state is not State.SETTLING:
        return False
    return work.attempts.operations(attempt.id)[-1].state is not OperationState.NOT_EXECUTED
