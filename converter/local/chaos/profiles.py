"""How bad a day is: chances of faults outside, and what strikes our own processes how often. Plain data.

Chances are of single calls, from 0 to 1; times are seconds. Chances are no money, so they may be floats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from converter.domain.errors import ConfigurationError


class Blow(StrEnum):
    """What can strike while conversions are under way."""

    KILL = "kill"
    """kill -9 of a worker; the stack starts it again."""
    KILL_BEAT = "kill_beat"
    PAUSE = "pause"
    """SIGSTOP of a worker for longer than its lease, then SIGCONT."""
    FLUSH = "flush"
    """FLUSHALL: queues, results, breakers, limits, balancer."""
    REDIS = "redis"
    """Redis stopped, and started again later."""
    OUTAGE = "outage"
    """One service resets every connection."""
    PRICE = "price"
    """A price moves at once, more than the market does by itself."""


@dataclass(frozen=True)
class Strike:
    """A blow that falls about `every` seconds (0.7 to 1.3 of it) and lasts between two times, if it lasts at all.

    The lasting of PAUSE is on top of the lease.
    """

    blow: Blow
    every: float
    lasts: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Profile:
    """One kind of day.

    * `refused`: orders, approvals, withdrawals, broadcasts and quotes that get a definite no;
    * `unknown`: the same calls (quotes apart) whose answer is lost, half of them executed;
    * `late`: the same calls, executed 6 to 20 s after they were sent, when the caller has long gone;
    * `lookups_failing`: look-ups of orders and of transactions that get no answer;
    * `of_nodes`: how much less our own nodes suffer from these four: a node answers to nobody but us;
    * `callbacks_doubled`: callbacks sent three times, and as many out of order;
    * `hints_doubled`: per accepted conversion, the chance that a start, an execute and a settle hint are sent for
      conversions that did not ask for one;
    * `goal`: the least share of conversions that must be completed without a person;
    * `under_way`: how many are kept busy at once. On a bad day most of them wait for a proof and not for a worker.
    """

    name: str
    refused: float
    unknown: float
    late: float
    lookups_failing: float
    of_nodes: float
    latency_ms: int
    jitter_ms: int
    callbacks_doubled: float
    hints_doubled: float
    strikes: tuple[Strike, ...]
    goal: Decimal
    under_way: int = 60


USUAL = Profile(
    name="usual",
    refused=0.05,
    unknown=0.05,
    late=0.005,
    lookups_failing=0.02,
    of_nodes=1.0,
    latency_ms=20,
    jitter_ms=60,
    callbacks_doubled=0.1,
    hints_doubled=0.05,
    strikes=(Strike(Blow.KILL, 30), Strike(Blow.KILL_BEAT, 120), Strike(Blow.PRICE, 45)),
    goal=Decimal("0.999"),
)

BAD_DAY = Profile(
    name="bad-day",
    refused=0.2,
    unknown=0.3,
    late=0.02,
    lookups_failing=0.5,
    of_nodes=0.25,
    latency_ms=30,
    jitter_ms=150,
    callbacks_doubled=0.3,
    hints_doubled=0.2,
    strikes=(
        Strike(Blow.KILL, 15),
        Strike(Blow.KILL_BEAT, 60),
        Strike(Blow.PAUSE, 40, (2, 6)),
        Strike(Blow.FLUSH, 60),
        Strike(Blow.REDIS, 90, (5, 10)),
        Strike(Blow.OUTAGE, 90, (60, 60)),
        Strike(Blow.PRICE, 30),
    ),
    goal=Decimal("0.95"),
    under_way=200,
)

SMOKE = replace(USUAL, name="smoke", refused=0.0)
"""For a drill of half a minute: a conversion that all services refuse waits for a minute before it asks again."""

PROFILES = {one.name: one for one in (USUAL, BAD_DAY, SMOKE)}


def profile_of(name: str) -> Profile:
    """A profile by its name. Raises ConfigurationError."""
    if name not in PROFILES:
        raise ConfigurationError(f"profile: unknown {name!r}; accepted: {', '.join(PROFILES)}")
    return PROFILES[name]
