"""Where a breaker lives: one hash in Redis for all processes, and in this process while Redis is away.

A step is one script on Redis' own clock. The key carries the service, the operation and the version of its shape; it is
small, ends by itself, and when it is lost the breaker is closed and counts from nothing. A forced-open breaker is kept
for thirty days after it was last asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pybreaker

from converter.domain.breaker_rules import BreakerRules, milliseconds
from converter.domain.breakers import NO_END, NO_PERMIT, Answer, BreakerState, Verdict
from converter.domain.permits import Admission, Permit, Snapshot, Transition
from converter.shared_state.local_breaker import LocalBreaker, steady_now
from converter.shared_state.redis_access import RedisAccess, RedisAway

VERSION = 1


class SharedStorage(pybreaker.CircuitBreakerStorage):
    """pybreaker's storage, with the decisions in it. Its counters are read only: counting is part of a step."""

    def __init__(
        self,
        access: RedisAccess,
        name: str,
        rules: BreakerRules,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], int] = steady_now,
    ) -> None:
        super().__init__(name)
        self.key = f"converter:breaker:{VERSION}:{name}"
        self._access = access
        self._rules = rules
        self._figures = figures_of(rules)
        self._chance = chance
        self._local = LocalBreaker(rules, chance, clock)

    def admit(self, *, may_probe: bool) -> Admission:
        """Ask for a permit: the shared breaker, or ours while Redis is away."""
        told = self._shared("admit", int(may_probe))
        answer = told or self._local.admit(may_probe=may_probe)
        if answer.permit == NO_PERMIT:
            return Admission(None, _length(answer.wait), _transition(answer, shared=bool(told)))
        permit = Permit(answer.generation, answer.permit, shared=bool(told))
        return Admission(permit, None, _transition(answer, shared=bool(told)))

    def report(self, permit: Permit, verdict: Verdict) -> Transition | None:
        """Tell a call's end to the breaker that admitted it; to ours when Redis went away meanwhile."""
        if verdict is Verdict.NEUTRAL and not permit.is_probe:
            return None  # changes nothing
        if permit.shared:
            told = self._shared("report", permit.generation, permit.number, verdict.value)
            answer = told or self._local.report(None, verdict)
            return _transition(answer, shared=bool(told))
        answer = self._local.report((permit.generation, permit.number), verdict)
        return _transition(answer, shared=False)

    def move(self, target: BreakerState) -> Transition | None:
        """Put it into a state by hand. A forced-open breaker stays as it is."""
        told = self._shared("move", target.value)
        return _transition(told or self._local.move(target), shared=bool(told))

    def release(self) -> Transition | None:
        """End a forced-open state."""
        told = self._shared("move", "release")
        return _transition(told or self._local.release(), shared=bool(told))

    def look(self) -> Snapshot:
        """How it stands, without changing anything."""
        told = self._shared("look")
        answer = told or self._local.look()
        return Snapshot(
            state=answer.state,
            since=_moment(answer.since),
            until=_moment(answer.until) if answer.until else None,
            failures=answer.failures,
            generation=answer.generation,
            trips=answer.trips,
            retry_after=_length(answer.wait),
            shared=bool(told),
        )

    @property
    def state(self) -> str:
        """pybreaker's word for the state; it knows no forced-open."""
        state = self.look().state
        return pybreaker.STATE_OPEN if state is BreakerState.FORCED_OPEN else state.value

    @state.setter
    def state(self, state: str) -> None:
        """Put it into a state by pybreaker's word."""
        self.move(BreakerState(state))

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self.look().failures

    @property
    def success_counter(self) -> int:
        """Not told: good probes are counted inside the step."""
        return 0

    @property
    def opened_at(self) -> datetime | None:
        """Since when it is open; None when it is not."""
        snapshot = self.look()
        return None if snapshot.state is BreakerState.CLOSED else snapshot.since

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        """Left to the step, which takes Redis' clock."""

    def _shared(self, step: str, *arguments: str | int) -> Answer | None:
        figures = [*self._figures, repr(self._chance()), *arguments]
        try:
            answer = parse_answer(self._access.run(f"breaker_{step}", [self.key], figures))
        except RedisAway:
            return None
        self._local.follow(answer)
        return answer


def parse_answer(told: list[Any]) -> Answer:
    """A script's answer."""
    permit, wait, before, event, state, *rest = told
    return Answer(permit, wait, BreakerState(before) if before else None, event, BreakerState(state), *rest)


def figures_of(rules: BreakerRules) -> list[int]:
    """The rules as the scripts take them."""
    return [
        rules.max_failures,
        milliseconds(rules.open_for),
        milliseconds(rules.cap),
        rules.jitter_percent,
        rules.window_size,
        milliseconds(rules.window_age),
        rules.minimum_calls,
        rules.failure_percent,
        rules.slow_percent,
        rules.permitted,
        rules.successes,
        milliseconds(rules.lease),
        milliseconds(rules.keep),
    ]


def _transition(answer: Answer, *, shared: bool) -> Transition | None:
    if answer.before is None:
        return None
    return Transition(
        before=answer.before,
        after=answer.state,
        generation=answer.generation,
        at=_moment(answer.since),
        until=_moment(answer.until) if answer.until else None,
        failures=answer.failures,
        event=answer.event,
        shared=shared,
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _length(wait: int) -> timedelta | None:
    return None if wait == NO_END else timedelta(milliseconds=wait)
