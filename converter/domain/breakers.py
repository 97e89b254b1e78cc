"""The breaker's rules and its state machine: when it opens, for how long, who may probe, when it closes.

::

    closed ──too many failures──► open ──due──► half-open ──a good probe──► closed
                                   ▲                └────a failed probe──► open, for longer
    any ──isolate──► forced-open ──release──► closed

Every change of state starts a new generation. A permit carries the generation that gave it, and the result of another
generation is ignored: a late success does not close a breaker that opened again, a late failure does not open one that
recovered. A half-open permit is a lease: it runs out when its holder is gone.

A neutral outcome proves nothing about the service: it never trips, never closes and does not interrupt a row of
failures. A slow success ends the row, closes a half-open breaker like any success, and counts in the window.

The same machine runs twice, here and as scripts in `converter/shared_state/scripts/`. Times are whole milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from converter.domain.breaker_rules import BreakerRules, milliseconds
from converter.domain.errors import policy_of

MOST_DOUBLINGS = 20
NO_PERMIT = -1
NO_END = -1


class BreakerState(StrEnum):
    """What the breaker does with a call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"


class Verdict(StrEnum):
    """What a call's end says about the service."""

    GOOD = "good"
    SLOW = "slow"
    FAILED = "failed"
    NEUTRAL = "neutral"


def verdict_of(error: BaseException) -> Verdict:
    """What an error says about the service. The end of our own process says nothing."""
    ours = not isinstance(error, Exception)
    return Verdict.NEUTRAL if ours or not policy_of(error).counts_against_breaker else Verdict.FAILED


@dataclass(frozen=True)
class Moment:
    """When something happens, and the chance (0 to 1) that spreads an open time, drawn by the caller."""

    now: int
    chance: float = 0.0


@dataclass(frozen=True)
class Record:
    """All that a breaker remembers."""

    state: BreakerState
    generation: int
    since: int
    until: int = 0
    failures: int = 0
    successes: int = 0
    trips: int = 0
    outage: bool = False
    issued: int = 0
    permits: tuple[tuple[int, int], ...] = ()
    window: tuple[tuple[int, Verdict], ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a step gave: a permit or none, the wait for the next try, the change that it made, the state after."""

    permit: int
    """0 in normal operation, the probe's number when half-open, NO_PERMIT when refused."""
    wait: int
    """NO_END when only an operator can end it."""
    before: BreakerState | None
    event: str
    """`open` once per outage, `closed` once at its end, else empty."""
    state: BreakerState
    generation: int
    since: int
    until: int
    failures: int
    trips: int


def fresh(now: int) -> Record:
    """A breaker of which nothing is known. Its generation is larger than any that was forgotten before."""
    return Record(BreakerState.CLOSED, generation=now * 1000, since=now)


def look(record: Record, rules: BreakerRules, now: int) -> Answer:
    """How it stands; changes nothing."""
    return _answer(record, rules, now)


def admit(record: Record, rules: BreakerRules, now: int, *, may_probe: bool) -> tuple[Record, Answer]:
    """Ask for a permit. An open breaker that is due becomes half-open, but only for one who may probe."""
    if record.state is BreakerState.CLOSED:
        return record, _answer(record, rules, now, permit=0)
    if time_to_next(record, rules, now) != 0 or not may_probe:
        return record, _answer(record, rules, now)
    after = _enter(record, BreakerState.HALF_OPEN, now) if record.state is BreakerState.OPEN else record
    number = after.issued + 1
    permits = (*_live(after, now), (number, now + milliseconds(rules.lease)))
    after = replace(after, issued=number, permits=permits)
    return after, _answer(after, rules, now, permit=number, before=record)


def report(
    record: Record, rules: BreakerRules, permit: tuple[int, int], verdict: Verdict, at: Moment
) -> tuple[Record, Answer]:
    """Tell a call's end, under its permit: the generation and the number that `admit` gave."""
    generation, number = permit
    after = record
    if generation == record.generation and record.state is BreakerState.CLOSED:
        after = _count(record, rules, verdict, at)
    elif generation == record.generation and number in dict(_live(record, at.now)):
        after = _probed(record, rules, number, verdict, at)
    return after, _answer(after, rules, at.now, before=record)


def move(record: Record, rules: BreakerRules, target: BreakerState, at: Moment) -> tuple[Record, Answer]:
    """Put it into a state by hand. A forced-open breaker only leaves by `release`."""
    if BreakerState.FORCED_OPEN is record.state or target is record.state:
        return record, _answer(record, rules, at.now)
    after = _open(record, rules, at) if target is BreakerState.OPEN else _enter(record, target, at.now)
    return after, _answer(after, rules, at.now, before=record)


def release(record: Record, rules: BreakerRules, at: Moment) -> tuple[Record, Answer]:
    """End a forced-open state; any other stays."""
    forced = record.state is BreakerState.FORCED_OPEN
    after = _enter(record, BreakerState.CLOSED, at.now) if forced else record
    return after, _answer(after, rules, at.now, before=record)


def time_to_next(record: Record, rules: BreakerRules, now: int) -> int:
    """Milliseconds until a call may be tried; 0 when it may now, NO_END when only an operator can end the wait."""
    if record.state is BreakerState.FORCED_OPEN:
        return NO_END
    if record.state is BreakerState.OPEN:
        return max(0, record.until - now)
    if record.state is BreakerState.CLOSED:
        return 0
    live = _live(record, now)
    # What is under way may succeed: no more are let in than are needed to close.
    room = len(live) < rules.permitted and len(live) + record.successes < max(rules.permitted, rules.successes)
    return 0 if room or not live else min(end for _, end in live) - now


def _live(record: Record, now: int) -> tuple[tuple[int, int], ...]:
    return tuple(permit for permit in record.permits if permit[1] > now)


def _count(record: Record, rules: BreakerRules, verdict: Verdict, at: Moment) -> Record:
    if verdict is Verdict.NEUTRAL:
        return record
    oldest = at.now - milliseconds(rules.window_age)
    recent = [*(one for one in record.window if one[0] > oldest), (at.now, verdict)]
    failures = record.failures + 1 if verdict is Verdict.FAILED else 0
    after = replace(record, failures=failures, window=tuple(recent[-rules.window_size :]))
    return _open(after, rules, at) if _trips(after, rules, verdict) else after


def _trips(record: Record, rules: BreakerRules, verdict: Verdict) -> bool:
    if verdict is Verdict.GOOD:
        return False
    if record.failures >= rules.max_failures:
        return True
    calls = len(record.window)
    failed = sum(kind is Verdict.FAILED for _, kind in record.window)
    poor = sum(kind is not Verdict.GOOD for _, kind in record.window)
    often = failed * 100 >= rules.failure_percent * calls or poor * 100 >= rules.slow_percent * calls
    return calls >= rules.minimum_calls and often


def _probed(record: Record, rules: BreakerRules, number: int, verdict: Verdict, at: Moment) -> Record:
    after = replace(record, permits=tuple(one for one in record.permits if one[0] != number))
    if verdict is Verdict.NEUTRAL:
        return after
    if verdict is Verdict.FAILED:
        return _open(replace(after, failures=after.failures + 1), rules, at)
    after = replace(after, successes=after.successes + 1)
    return _enter(after, BreakerState.CLOSED, at.now) if after.successes >= rules.successes else after


def _open(record: Record, rules: BreakerRules, at: Moment) -> Record:
    trips = record.trips
    if record.state is BreakerState.CLOSED:
        trips = max(0, trips - (at.now - record.since) // milliseconds(rules.cap))
    length = min(milliseconds(rules.open_for) * 2 ** min(trips, MOST_DOUBLINGS), milliseconds(rules.cap))
    spread = math.floor(length * (1 + rules.jitter_percent * at.chance / 100))
    after = _enter(record, BreakerState.OPEN, at.now)
    return replace(after, until=at.now + spread, trips=trips + 1)


def _enter(record: Record, state: BreakerState, now: int) -> Record:
    closed = state is BreakerState.CLOSED
    return Record(
        state=state,
        generation=record.generation + 1,
        since=now,
        failures=0 if closed else record.failures,
        trips=record.trips,
        outage=not closed and (record.outage or state is BreakerState.OPEN),
        window=() if closed else record.window,
    )


def _answer(
    record: Record, rules: BreakerRules, now: int, *, permit: int = NO_PERMIT, before: Record | None = None
) -> Answer:
    changed = before is not None and before.generation != record.generation
    event = ""
    if before is not None and before.outage != record.outage:
        event = "open" if record.outage else "closed"
    return Answer(
        permit=permit,
        wait=time_to_next(record, rules, now),
        before=before.state if changed and before is not None else None,
        event=event,
        state=record.state,
        generation=record.generation,
        since=record.since,
        until=record.until,
        failures=record.failures,
        trips=record.trips,
    )
