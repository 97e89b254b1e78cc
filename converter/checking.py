"""Health checks and recovery: an outage is known without any traffic, and ends by a check, not by a customer.

Only the quote breaker is opened and closed here; a breaker for executions recovers through the next conversion. Every
check also tells what a process that died had no time to tell.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

from converter.bulletin import catch_up
from converter.desk import Desk
from converter.domain import conditions, events
from converter.domain.breakers import BreakerState, Verdict, verdict_of
from converter.domain.conditions import Condition
from converter.domain.errors import ServiceError
from converter.domain.events import Event
from converter.domain.health import LIMIT, MISSES, Check
from converter.domain.permits import Permit
from converter.domain.quarantine import Standing
from converter.domain.seats import SEEN_WITHIN
from converter.guard import GuardedService
from converter.harmless import Harmless
from converter.ports import Deadline, Work
from converter.selecting import tell_standing

_PROBE_EARLY = timedelta(seconds=60)
"""While nobody converts a pair, a breaker that is not due is probed so long after it opened."""


class Checking:
    """The use-case behind `services.check`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def services(self) -> list[str]:
        """Services that are checked."""
        return sorted(self._desk.services)

    def check(self, service_id: str) -> Check | None:
        """Check a service now; None when it is not its time (its breaker is open and not due), or its limit says no."""
        guard = self._desk.services[service_id]
        breaker = guard.breakers["quote"]
        with self._desk.ledger.begin() as work:
            isolation = work.conditions.get(conditions.isolation_of(service_id))
            starving = self._starving(work)
        if isolation is not None and isolation.state == conditions.ON:
            for one in guard.breakers.values():  # a loss of Redis does not end an isolation
                one.move(BreakerState.FORCED_OPEN)
            return None
        for one in guard.breakers.values():  # nor does it outlast its end in the ledger
            if one.snapshot().state is BreakerState.FORCED_OPEN:
                one.release()
        permit = None
        if breaker.snapshot().state is not BreakerState.CLOSED:
            if starving:
                self._hurry(guard)
            admission = breaker.admit(may_probe=True)
            permit = admission.permit
            if permit is None:
                self._catch_up(guard, None)
                return None
        return self._ask(guard, permit)

    def _ask(self, guard: GuardedService, permit: Permit | None) -> Check | None:
        started = time.monotonic()
        with Harmless(f"the health check of {guard.service_id}", ServiceError) as call:
            guard.check_health(Deadline.after(LIMIT.total_seconds()))
        elapsed = timedelta(seconds=time.monotonic() - started)
        verdict = Verdict.GOOD if call.error is None else verdict_of(call.error)
        breaker = guard.breakers["quote"]
        if permit is not None:
            guard.note("quote", breaker.report(permit, verdict, elapsed))
        if verdict is Verdict.NEUTRAL:
            self._catch_up(guard, None)
            return None  # too often, or refused for reasons of its own: says nothing about its health
        check = self._kept(
            guard, Check(self._desk.ledger.now(), _words(call.error), round(elapsed.total_seconds() * 1000))
        )
        if check.misses >= MISSES and breaker.snapshot().state is BreakerState.CLOSED:
            guard.note("quote", breaker.move(BreakerState.OPEN))
        self._catch_up(guard, check)
        return check

    def _kept(self, guard: GuardedService, check: Check) -> Check:
        with self._desk.ledger.begin() as work:
            check = work.memory.checked(guard.service_id, check)
            if not check.ok:
                payload = {"serviceId": guard.service_id, "failures": check.misses, "operation": "health"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload))
        return check

    def _catch_up(self, guard: GuardedService, check: Check | None) -> None:
        with self._desk.ledger.begin() as work:
            before = _told(work, guard.service_id)
        snapshots = {operation: breaker.snapshot() for operation, breaker in guard.breakers.items()}
        standing = self._standing(guard.service_id, before)
        with self._desk.ledger.begin() as work:
            if _told(work, guard.service_id) != before:
                return  # told just now, and what we saw may be older than that
            self._desk.shared.bulletin.write(work)
            for operation, snapshot in snapshots.items():
                catch_up(work, guard.service_id, operation, snapshot, proven=check is not None and check.ok)
            if standing.is_quarantined or standing.lifted_at is not None:  # else it may only be forgotten
                tell_standing(work, guard.service_id, standing)

    def _standing(self, service_id: str, told: dict[str, Condition]) -> Standing:
        """How it stands. A quarantine that nobody remembers is looked up in the ledger's copy."""
        rates = self._desk.shared.rates
        standing = rates.standings([service_id])[service_id]
        quarantine = told.get(conditions.quarantine_of(service_id))
        forgotten = not standing.is_quarantined and standing.lifted_at is None
        if quarantine is None or quarantine.state != conditions.ON or not forgotten:
            return standing
        with self._desk.ledger.begin() as work:
            kept = work.memory.rates()
        rates.reload(kept, self._desk.ledger.now())
        return rates.standings([service_id])[service_id]

    def _starving(self, work: Work) -> bool:
        """Whether some pair has had nobody for a while."""
        tiers = work.conditions.of(conditions.tier_of(""))
        now = work.now()
        return any(
            one.state == conditions.NOBODY and now - one.seen_at <= SEEN_WITHIN and now - one.since >= _PROBE_EARLY
            for one in tiers.values()
        )

    def _hurry(self, guard: GuardedService) -> None:
        """A pair has nobody: do not wait for the end of a long open time."""
        for breaker in guard.breakers.values():
            snapshot = breaker.snapshot()
            if snapshot.state is BreakerState.OPEN and self._desk.ledger.now() - snapshot.since >= _PROBE_EARLY:
                breaker.move(BreakerState.HALF_OPEN)


def _words(error: Exception | None) -> str:
    return "" if error is None else str(error) or type(error).__name__


def _told(work: Work, service_id: str) -> dict[str, Condition]:
    """What was told last of a service."""
    quarantine = conditions.quarantine_of(service_id)
    told = work.conditions.of(conditions.breaker_of(service_id, "")) | work.conditions.of(quarantine)
    return {name: replace(one, seen_at=one.since) for name, one in told.items()}
