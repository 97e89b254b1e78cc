"""Eight processes at one breaker, and what they do there in rounds."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import Verdict
from converter.domain.permits import Permit
from converter.shared_state.breaker import SharedBreaker
from converter.shared_state.redis_access import RedisAccess

PROCESSES = 8
PATIENT = 10.0
"""Time limit of Redis for a crowd on few cores: what is shown is the sharing, not the speed."""
MILLISECOND = timedelta(milliseconds=1)
NO_TIME = timedelta(0)

Crowd = Callable[..., list[Any]]
_barrier: Any = None


@contextmanager
def crowd_of_processes() -> Iterator[Crowd]:
    """Runs `work(number, *arguments)` in each of the processes at the same moment; returns what they returned."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with context.Pool(PROCESSES, initializer=_remember, initargs=(barrier,)) as pool:

        def run(work: Callable[..., Any], *arguments: Any) -> list[Any]:
            running = [pool.apply_async(_together, (work, number, arguments)) for number in range(PROCESSES)]
            return [one.get(100) for one in running]

        yield run


def _remember(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603
    _barrier = barrier


def _together(work: Callable[..., Any], number: int, arguments: tuple[Any, ...]) -> Any:
    _barrier.wait(60)  # nobody gets a second task before everybody has one
    return work(number, *arguments)


@cache
def access(url: str) -> RedisAccess:
    return RedisAccess(url, timeout=PATIENT)


def breaker_at(url: str, service_id: str, rules: BreakerRules) -> SharedBreaker:
    return SharedBreaker(access(url), service_id, "quote", rules)


def until_due(breaker: SharedBreaker) -> None:
    ends = time.monotonic() + 10
    while not breaker.snapshot().admits:
        assert time.monotonic() < ends, breaker.snapshot()


def probes(number: int, url: str, rules: BreakerRules, verdict: Verdict, rounds: int) -> list[bool]:
    """Whether this process got a permit of a breaker that was due, round by round. All ask before any reports."""
    admitted = []
    for turn in range(rounds):
        breaker = breaker_at(url, f"probed-{verdict}-{rules.permitted}-{turn}", rules)
        if number == 0:
            breaker.open()
            until_due(breaker)
        _barrier.wait(60)
        permit = breaker.admit().permit
        _barrier.wait(60)
        admitted.append(permit is not None)
        if permit is not None:
            breaker.report(permit, verdict, NO_TIME)
    return admitted


def outages(number: int, url: str, rules: BreakerRules, rounds: int) -> list[list[tuple[str, int]]]:
    """The events, with the failures, that this process was told of: an outage with a failed and a good probe."""
    told = []
    for turn in range(rounds):
        breaker = breaker_at(url, f"outage-{turn}", rules)
        events: list[tuple[str, int]] = []
        for verdict in (Verdict.FAILED, Verdict.FAILED, Verdict.GOOD):
            _barrier.wait(60)
            until_due(breaker)
            _barrier.wait(60)
            admission = breaker.admit()
            _barrier.wait(60)
            changes = [admission.transition]
            if admission.permit is not None:
                changes.append(breaker.report(admission.permit, verdict, NO_TIME))
            events += [(change.event, change.failures) for change in changes if change is not None and change.event]
        told.append(events)
    return told


def late_results(number: int, url: str, late: Verdict, rounds: int) -> list[str]:
    """The state, round by round, after a probe's result came when the other probe had decided the matter."""
    states = []
    rules = BreakerRules(open_for=timedelta(minutes=1), permitted=2)
    early = Verdict.FAILED if late is Verdict.GOOD else Verdict.GOOD
    for turn in range(rounds):
        breaker = breaker_at(url, f"late-{late}-{turn}", rules)
        permit: Permit | None = None
        if number == 0:
            breaker.half_open()
        _barrier.wait(60)
        if number < 2:
            permit = breaker.admit().permit
            assert permit is not None
        _barrier.wait(60)
        if permit is not None and number == 1:
            breaker.report(permit, early, NO_TIME)
        _barrier.wait(60)
        if permit is not None and number == 0:
            breaker.report(permit, late, NO_TIME)
        _barrier.wait(60)
        states.append(breaker.snapshot().state.value)
    return states


def hold_a_probe(url: str, service_id: str, rules: BreakerRules, held: Any) -> None:
    """Take a permit, say so, and never report."""
    breaker = SharedBreaker(RedisAccess(url, timeout=PATIENT), service_id, "quote", rules)
    permit = breaker.admit().permit
    held.send(permit is not None)
    time.sleep(60)
