"""One breaker for eight processes: who probes, when it trips, who is told, and what comes too late."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis

from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import BreakerState, Verdict
from tests.shared_state.breaker_processes import (
    MILLISECOND,
    NO_TIME,
    PROCESSES,
    Crowd,
    breaker_at,
    crowd_of_processes,
    hold_a_probe,
    late_results,
    outages,
    probes,
    until_due,
)
from tests.shared_state.redis_fixture import client, redis_url, server

__all__ = ["client", "redis_url", "server"]

pytestmark = pytest.mark.xdist_group("breaker processes")
ROUNDS = 50


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with crowd_of_processes() as running:
        yield running


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.GOOD, Verdict.NEUTRAL])
def test_one_of_eight_processes_probes_in_every_round(
    crowd: Crowd, client: Redis, redis_url: str, verdict: Verdict
) -> None:
    told = crowd(probes, redis_url, BreakerRules(open_for=MILLISECOND), verdict, ROUNDS)
    assert [sum(turn) for turn in zip(*told, strict=True)] == [1] * ROUNDS


@pytest.mark.parametrize("needed", [1, 3])
def test_three_of_eight_processes_probe_when_three_are_permitted(
    crowd: Crowd, client: Redis, redis_url: str, needed: int
) -> None:
    rules = BreakerRules(open_for=MILLISECOND, permitted=3, successes=needed)
    told = crowd(probes, redis_url, rules, Verdict.GOOD, ROUNDS)
    assert [sum(turn) for turn in zip(*told, strict=True)] == [3] * ROUNDS


def test_eight_failing_processes_trip_it_at_exactly_its_failures_and_one_is_told_of_each_outage(
    crowd: Crowd, client: Redis, redis_url: str
) -> None:
    told = crowd(outages, redis_url, BreakerRules(max_failures=5, open_for=MILLISECOND), ROUNDS)
    for turn in zip(*told, strict=True):
        events = [event for process in turn for event in process]
        assert sorted(events) == [("closed", 0), ("open", 5)]


@pytest.mark.parametrize(("late", "state"), [(Verdict.GOOD, "open"), (Verdict.FAILED, "closed")])
def test_a_late_result_changes_nothing_that_was_decided_meanwhile(
    crowd: Crowd, client: Redis, redis_url: str, late: Verdict, state: str
) -> None:
    told = crowd(late_results, redis_url, late, ROUNDS)
    assert told == [[state] * ROUNDS] * PROCESSES


@pytest.mark.parametrize("rounds", [4, pytest.param(ROUNDS, marks=pytest.mark.chaos)])
def test_the_permit_of_a_killed_prober_is_free_when_its_lease_ends(client: Redis, redis_url: str, rounds: int) -> None:
    rules = BreakerRules(open_for=MILLISECOND, lease=timedelta(milliseconds=400))
    context = multiprocessing.get_context("fork")
    for turn in range(rounds):
        breaker = breaker_at(redis_url, f"killed-{turn}", rules)
        breaker.open()
        until_due(breaker)
        told, tell = context.Pipe(duplex=False)
        prober = context.Process(target=hold_a_probe, args=(redis_url, f"killed-{turn}", rules, tell), daemon=True)
        began = time.monotonic()
        prober.start()
        assert told.recv()
        prober.kill()
        prober.join()
        refusal = breaker.admit()
        if time.monotonic() - began < 0.4:
            assert refusal.permit is None
            assert refusal.retry_after is not None
            assert refusal.retry_after <= rules.lease
        until_due(breaker)
        assert time.monotonic() - began >= 0.4
        permit = breaker.admit().permit
        assert permit is not None
        assert breaker.admit().permit is None
        breaker.report(permit, Verdict.GOOD, NO_TIME)
        assert breaker.snapshot().state is BreakerState.CLOSED
