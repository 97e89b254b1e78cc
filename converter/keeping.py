"""Compares what a service delivered with what it promised: one that keeps paying out less is put into quarantine."""

from __future__ import annotations

from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.conversions import Attempt
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.orders import Order
from converter.domain.quarantine import SLIPPED, after_settlement
from converter.selecting import tell_standing


class Keeping:
    """Judges promises, after the conversion is completed: a process that dies in between loses a strike, no money."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def judge(self, attempt: Attempt, order: Order) -> Next | None:
        """Strike a service that delivered too little. Nothing follows from it for this conversion."""
        if order.delivered is None or order.delivered >= attempt.promised:
            return None
        promised, delivered, now = attempt.promised, order.delivered, self._desk.ledger.now()
        change = self._desk.shared.rates.note(
            attempt.service_id, lambda standing: after_settlement(standing, promised, delivered, now), now
        )
        if SLIPPED not in change.alerts:
            return None
        payload = {
            "serviceId": attempt.service_id,
            "code": "slippage",
            "promised": plain(promised),
            "delivered": plain(delivered),
        }
        with self._desk.ledger.begin() as work:
            work.outbox.add(Event(events.RATE_ANOMALY, {**payload, "strike": True}, attempt.conversion_id))
            tell_standing(work, attempt.service_id, change.standing)
        return None
