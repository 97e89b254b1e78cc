"""How often services may be called: the generic cell rate algorithm over several scopes, all of them or none.

Each scope keeps one number, its *arrival*: the moment at which its burst will be whole again. A call moves the arrival
of every scope by that scope's interval for each request that it makes. It is refused, and moves none, when one arrival
would go further ahead of the present than that scope's burst allows. So in any window of t seconds a scope lets at most
burst + rate x t requests through.

Moments and intervals are whole microseconds, so that the rule here and its script in Redis agree to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

SECOND = 1_000_000
MINUTE = timedelta(minutes=1)
EVERYTHING = "all"
HELD = "held"


@dataclass(frozen=True)
class Limit:
    """So many calls in a period, and at most `burst` at once (by default what one second brings, at least one)."""

    calls: int
    period: timedelta = timedelta(seconds=1)
    burst: int = 0

    @property
    def interval(self) -> int:
        """Microseconds from call to call, rounded against us."""
        return -(-(self.period // timedelta(microseconds=1)) // self.calls)

    @property
    def at_once(self) -> int:
        """Calls that may come at once."""
        return self.burst or max(1, SECOND // self.interval)


@dataclass(frozen=True)
class Scope:
    """Something that is limited, by name, and how many requests the call at hand counts in it."""

    name: str
    interval: int
    burst: int
    requests: int = 1

    @property
    def step(self) -> int:
        """How far the call at hand moves the arrival."""
        return self.interval * self.requests

    @property
    def tolerance(self) -> int:
        """How far ahead of the present its arrival may lie."""
        return self.interval * self.burst

    def share(self, name: str, part: Decimal, least: int) -> Scope:
        """A scope of its own for a part of this one; its burst holds at least so many requests."""
        return replace(
            self, name=name, interval=math.ceil(self.interval / part), burst=max(least, int(self.burst * part))
        )

    def divided(self, parts: int) -> Scope:
        """What one of so many processes may use when they cannot agree."""
        return replace(self, interval=self.interval * parts, burst=max(1, self.requests, self.burst // parts))


@dataclass(frozen=True)
class Budget:
    """What one service allows: requests in all, and calls of single operations where those are tighter."""

    calls: Limit
    operations: Mapping[str, Limit] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    """How many requests a call of an operation makes there, where it is not one."""

    @property
    def largest(self) -> int:
        """The most requests that one call makes: what any burst must hold, or that call would never pass."""
        return max((1, *self.requests.values()))


CAUTIOUS = Budget(Limit(1, burst=5))
"""For a service of whose limits nothing is known: a quote and its order may follow each other at once."""


@dataclass(frozen=True)
class Limits:
    """All limits of this system.

    `shares` are operations that may use only this part of the service's and of the common budget; what they leave is
    there for the others at any time. So quotes cannot starve executions.
    """

    everything: Limit = Limit(50, burst=100)
    services: Mapping[str, Budget] = field(default_factory=dict)
    unknown: Budget = CAUTIOUS
    """For a service without a budget of its own."""
    shares: Mapping[str, Decimal] = field(default_factory=lambda: {"quote": Decimal("0.7")})

    def whole(self, service_id: str) -> Scope:
        """The scope that counts every request to a service."""
        budget = self._budget(service_id)
        burst = max(budget.calls.at_once, budget.largest)
        return Scope(f"service:{service_id}", budget.calls.interval, burst)

    def scopes(self, service_id: str, operation: str) -> tuple[Scope, ...]:
        """Every scope that a call of this operation at this service is counted in."""
        budget = self._budget(service_id)
        requests = budget.requests.get(operation, 1)
        largest = max(one.largest for one in (self.unknown, *self.services.values()))
        everything = Scope(EVERYTHING, self.everything.interval, max(self.everything.at_once, largest), requests)
        whole = replace(self.whole(service_id), requests=requests)
        scopes = [everything, whole]
        if (part := self.shares.get(operation)) is not None:
            scopes.append(everything.share(f"{EVERYTHING}:{operation}", part, largest))
            scopes.append(whole.share(f"{whole.name}:{operation}:share", part, budget.largest))
        if (own := budget.operations.get(operation)) is not None:
            scopes.append(Scope(f"{whole.name}:{operation}", own.interval, own.at_once))
        return tuple(scopes)

    def _budget(self, service_id: str) -> Budget:
        return self.services.get(service_id, self.unknown)


@dataclass(frozen=True)
class Admission:
    """Whether a call may go out; if not, which scope refuses it longest and for how many seconds."""

    admitted: bool
    scope: str = ""
    retry_after: float = 0.0
    at: int = 0
    """When this was decided, in microseconds of the clock that decided it."""


def admit(
    arrivals: Mapping[str, int], scopes: Sequence[Scope], held_until: int, now: int
) -> tuple[Admission, dict[str, int]]:
    """Decide on one call, and give the arrivals afterwards: unchanged when it is refused.

    `held_until` is the end of the service's hold. A stored arrival that lies further ahead than its scope can put it
    (the clock was set back) is read as the furthest possible.
    """
    after, refused, longest = dict(arrivals), HELD, held_until - now
    for scope in scopes:
        ceiling = max(now, held_until) + scope.tolerance
        after[scope.name] = max(now, min(arrivals.get(scope.name, 0), ceiling)) + scope.step
        wait = after[scope.name] - scope.tolerance - now
        if wait > max(0, longest):
            refused, longest = scope.name, wait
    if longest > 0:
        return Admission(False, refused, longest / SECOND, now), dict(arrivals)
    return Admission(True, at=now), after


def held(arrivals: Mapping[str, int], scope: Scope, until: int) -> dict[str, int]:
    """Arrivals such that the scope lets one call through at `until` and then its rate, without a burst."""
    arrival = until + scope.tolerance - scope.interval
    return {**arrivals, scope.name: max(arrivals.get(scope.name, 0), arrival)}
