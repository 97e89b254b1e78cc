"""Finds conversions that stand still and says which task should look at each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from converter.desk import Desk, Next
from converter.domain.conversions import State

LIMIT = 500
"""Errands per sweep: bounded, so that one sweep never outlasts the next by far."""

REPEAT = timedelta(seconds=15)
"""A hint that led to nothing is repeated after this time."""


@dataclass(frozen=True)
class Errand:
    """A task to send. `task` None stands for choosing from the quotes of a round whose chord was lost."""

    conversion_id: str
    task: Next | None
    round: int


_TASK = {
    State.RECEIVED: Next.START,
    State.WAITING: Next.START,
    State.QUOTING: None,
    State.EXECUTING: Next.EXECUTE,
    State.SETTLING: Next.SETTLE,
    State.RECONCILING: Next.SETTLE,
    State.NEEDS_REVIEW: Next.SETTLE,
}


class Sweeping:
    """The use-case behind `conversions.sweep`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def due(self) -> list[Errand]:
        """What is due and free, each postponed so that the next sweep does not send the same hint again."""
        with self._desk.ledger.begin() as work:
            return [
                Errand(conversion.id, _TASK[conversion.state], conversion.round)
                for conversion in work.conversions.due(LIMIT)
                if work.conversions.postpone(conversion, work.now() + REPEAT)
            ]
