"""A breaker inside one process, by the same rules: what protects while Redis is away.

It follows what the shared breaker last told this process, so that a service that was open stays open when Redis goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from converter.domain import breakers
from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import Answer, BreakerState, Moment, Verdict

_WALL_MINUS_MONOTONIC = time.time() - time.monotonic()


def steady_now() -> int:
    """Milliseconds of a clock that looks like the wall's but never steps."""
    return int((_WALL_MINUS_MONOTONIC + time.monotonic()) * 1000)


class LocalBreaker:
    """One breaker of this process. Its lock is held for the bookkeeping only, never during a call."""

    def __init__(self, rules: BreakerRules, chance: Callable[[], float], clock: Callable[[], int] = steady_now) -> None:
        self._rules = rules
        self._chance = chance
        self._clock = clock
        self._lock = threading.Lock()
        self._record = breakers.fresh(clock())

    def admit(self, *, may_probe: bool) -> Answer:
        """Ask for a permit."""
        with self._lock:
            self._record, answer = breakers.admit(self._record, self._rules, self._clock(), may_probe=may_probe)
            return answer

    def report(self, permit: tuple[int, int] | None, verdict: Verdict) -> Answer:
        """Tell a call's end; without a permit of ours it counts only in normal operation."""
        with self._lock:
            held = permit or (self._record.generation, 0)
            self._record, answer = breakers.report(self._record, self._rules, held, verdict, self._moment())
            return answer

    def move(self, target: BreakerState) -> Answer:
        """Put it into a state by hand."""
        with self._lock:
            self._record, answer = breakers.move(self._record, self._rules, target, self._moment())
            return answer

    def release(self) -> Answer:
        """End a forced-open state."""
        with self._lock:
            self._record, answer = breakers.release(self._record, self._rules, self._moment())
            return answer

    def look(self) -> Answer:
        """How it stands."""
        with self._lock:
            return breakers.look(self._record, self._rules, self._clock())

    def follow(self, shared: Answer) -> None:
        """Take over what the shared breaker says. Half-open is open here: the probes are others' until they run out."""
        probing = shared.state is BreakerState.HALF_OPEN
        state = BreakerState.OPEN if probing else shared.state
        with self._lock:
            now = self._clock()
            same = state is self._record.state
            self._record = replace(
                breakers.fresh(now),
                state=state,
                generation=self._record.generation if same else self._record.generation + 1,
                until=now + max(0, shared.wait) if state is BreakerState.OPEN else 0,
                failures=shared.failures,
                trips=max(0, shared.trips),
                outage=state is BreakerState.OPEN,
            )

    def _moment(self) -> Moment:
        return Moment(self._clock(), self._chance())
