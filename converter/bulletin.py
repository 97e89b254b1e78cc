"""Tells the outages and recoveries of services: once each, in the ledger's outbox, whoever saw them first.

A breaker's transition is told to one caller, who notes it here; the next transaction of that process writes it. A
process that dies in between loses its notes and nothing else: every health check compares how the breakers stand with
what was told last (`catch_up`). What was told is a condition in the ledger, changed together with the event.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from converter.domain import conditions, events
from converter.domain.breakers import BreakerState
from converter.domain.conditions import Condition
from converter.domain.events import Event
from converter.domain.permits import Snapshot, Transition
from converter.ports import Ledger, Work

_MOST = 1000


class Bulletin:
    """Notes of this process that are not written yet. Shared by threads."""

    def __init__(self) -> None:
        self._notes: deque[tuple[str, str, Transition]] = deque(maxlen=_MOST)

    def note(self, service_id: str, operation: str, transition: Transition) -> None:
        """Remember a change of state; steps within an outage are nobody's news."""
        if transition.event:
            self._notes.append((service_id, operation, transition))

    def write(self, work: Work) -> None:
        """Write what was noted, in this transaction."""
        while self._notes:
            try:
                service_id, operation, transition = self._notes.popleft()
            except IndexError:  # another thread was faster
                return
            if transition.event == "open":
                tell_outage(work, service_id, operation, transition)
            else:
                tell_recovery(work, service_id, operation, transition)

    def flush(self, ledger: Ledger) -> None:
        """Write what was noted, in a transaction of its own, if there is anything."""
        if self._notes:
            with ledger.begin() as work:
                self.write(work)


def catch_up(work: Work, service_id: str, operation: str, snapshot: Snapshot, *, proven: bool) -> None:
    """Tell what nobody told. `proven`: the service just answered; a closed breaker may be a forgotten one."""
    due = operation == "execute" and snapshot.state is not BreakerState.CLOSED and snapshot.admits
    if due and proven:
        # It may be chosen again, which nobody has to hear; what becomes of the trial is told by its end.
        name = conditions.breaker_of(service_id, operation)
        work.conditions.enter(name, conditions.TRIAL, normal=conditions.CLOSED, detail=str(snapshot.generation))
    elif snapshot.state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
        tell_outage(work, service_id, operation, snapshot)
    elif snapshot.state is BreakerState.CLOSED and proven:
        tell_recovery(work, service_id, operation, snapshot)


def tell_outage(work: Work, service_id: str, operation: str, seen: Snapshot | Transition) -> None:
    """The service is unavailable from now on."""
    name = conditions.breaker_of(service_id, operation)
    before = work.conditions.get(name)
    if _is_old(before, seen):
        return
    if before is not None and before.state == conditions.TRIAL:  # the same outage goes on
        work.conditions.enter(name, conditions.OPEN, normal=conditions.CLOSED, detail=str(seen.generation))
        return
    if not work.conditions.enter(name, conditions.OPEN, normal=conditions.CLOSED, detail=str(seen.generation)):
        return
    until = None if seen.until is None else seen.until.isoformat()
    payload = {"serviceId": service_id, "operation": operation, "failures": seen.failures, "until": until}
    work.outbox.add(Event(events.SERVICE_UNAVAILABLE, payload))


def tell_recovery(work: Work, service_id: str, operation: str, seen: Snapshot | Transition) -> None:
    """The service is available again."""
    name = conditions.breaker_of(service_id, operation)
    before = work.conditions.get(name)
    if before is None or _is_old(before, seen):
        return
    if not work.conditions.enter(name, conditions.CLOSED, normal=conditions.CLOSED, detail=str(seen.generation)):
        return
    away = max(timedelta(0), work.now() - before.since)
    payload = {"serviceId": service_id, "operation": operation, "seconds": round(away.total_seconds())}
    work.outbox.add(Event(events.SERVICE_RECOVERED, payload))


def _is_old(told: Condition | None, seen: Snapshot | Transition) -> bool:
    """Whether something later was told already: a process may come late with its notes. Generations grow with time."""
    return told is not None and told.detail.isdigit() and seen.generation <= int(told.detail)
