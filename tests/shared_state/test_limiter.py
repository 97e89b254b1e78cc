"""Rate limits: no window over its limit whoever calls, all scopes or none, holds, and a world without Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.domain import limits as rules
from converter.domain.limits import HELD, SECOND, Budget, Limit, Limits, Scope
from converter.local.redis_server import RedisServer
from converter.shared_state.limiter import LONGEST_HOLD, Limiter
from converter.shared_state.redis_access import RedisAccess
from tests.shared_state.crowd import PATIENT, call_as_often_as_admitted, run_at_once
from tests.shared_state.redis_fixture import client, server

__all__ = ["client", "server"]
NOWHERE = "redis://127.0.0.1:1/0"
WIDE = Limit(100_000, burst=100_000)


class HandClock:
    """A monotonic clock that is turned by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def limits(calls: Limit, everything: Limit = WIDE, **operations: Limit) -> Limits:
    return Limits(everything, {"one": Budget(calls, operations), "two": Budget(WIDE)})


def shared(server: RedisServer, of: Limits) -> Limiter:
    return Limiter(RedisAccess(server.url, timeout=PATIENT), of, processes=1)


def alone(of: Limits, clock: HandClock, processes: int = 1) -> Limiter:
    return Limiter(RedisAccess(NOWHERE), of, processes=processes, clock=clock)


def admitted(limiter: Limiter, operation: str, times: int = 1000, service_id: str = "one") -> int:
    return sum(limiter.admit(service_id, operation).admitted for _ in range(times))


def stored(client: redis.Redis) -> dict[str, str | None]:
    return {key: client.get(key) for key in client.keys()}  # noqa: SIM118 - not a mapping


def most_in_a_second(moments: list[int]) -> int:
    moments = sorted(moments)
    first = most = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most


# --- The rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "interval", "burst"),
    [
        (Limit(50), 20_000, 50),
        (Limit(50, burst=10), 20_000, 10),
        (Limit(1), 1_000_000, 1),
        (Limit(3), 333_334, 2),
        (Limit(160, timedelta(minutes=1)), 375_000, 2),
        (Limit(8, timedelta(minutes=1)), 7_500_000, 1),
    ],
)
def test_an_interval_is_rounded_against_us_and_a_burst_is_one_seconds_worth(
    limit: Limit, interval: int, burst: int
) -> None:
    assert (limit.interval, limit.at_once) == (interval, burst)


def test_a_burst_passes_and_then_the_rate(clock: HandClock) -> None:
    limiter = alone(limits(Limit(50, burst=10)), clock)
    assert admitted(limiter, "execute") == 10
    refused = limiter.admit("one", "execute")
    assert (refused.admitted, refused.scope, refused.retry_after) == (False, "service:one", 0.02)
    clock.seconds += 1
    assert admitted(limiter, "execute") == 10
    clock.seconds += 0.0401
    assert admitted(limiter, "execute") == 2


def test_looking_counts_nothing(clock: HandClock) -> None:
    limiter = alone(limits(Limit(1)), clock)
    assert [limiter.look("one", "execute").admitted for _ in range(3)] == [True] * 3
    assert admitted(limiter, "execute") == 1
    assert limiter.look("one", "execute").scope == "service:one"


def test_looking_counts_nothing_in_redis(client: redis.Redis, server: RedisServer) -> None:
    limiter = shared(server, limits(Limit(1, timedelta(minutes=1))))
    assert limiter.look("one", "execute").admitted
    assert stored(client) == {}
    assert limiter.admit("one", "execute").admitted
    assert not limiter.look("one", "execute").admitted


def test_a_tighter_operation_leaves_the_rest_of_the_service_free(clock: HandClock) -> None:
    limiter = alone(limits(Limit(100, burst=100), withdrawal=Limit(2, burst=2)), clock)
    assert admitted(limiter, "withdrawal") == 2
    assert limiter.admit("one", "withdrawal").scope == "service:one:withdrawal"
    assert admitted(limiter, "order") == 98


def test_a_call_of_several_requests_counts_as_several_and_passes_whatever_the_burst(clock: HandClock) -> None:
    of = Limits(WIDE, {"one": Budget(Limit(2), requests={"quote": 4})})
    limiter = alone(of, clock)
    assert admitted(limiter, "quote") == 1
    assert limiter.look("one", "execute").retry_after == 0.5
    clock.seconds += 2
    assert admitted(limiter, "execute") == 4
    assert admitted(limiter, "quote") == 0
    assert admitted(alone(of, clock, processes=8), "quote") == 1


def test_services_do_not_spend_each_others_budget(clock: HandClock) -> None:
    limiter = alone(limits(Limit(1)), clock)
    assert admitted(limiter, "execute") == 1
    assert admitted(limiter, "execute", 20, "two") == 20


def test_an_unknown_service_has_a_cautious_budget(clock: HandClock) -> None:
    assert admitted(alone(limits(WIDE), clock), "execute", 20, "another") == 5


# --- Quotes and executions -------------------------------------------------------------------------------------------


def test_quotes_leave_executions_their_share_at_once(clock: HandClock) -> None:
    limiter = alone(limits(Limit(100, burst=100)), clock)
    assert admitted(limiter, "quote") == 70
    assert limiter.admit("one", "quote").scope == "service:one:quote:share"
    assert admitted(limiter, "execute") == 30


def test_quotes_leave_executions_their_share_of_the_common_budget(clock: HandClock) -> None:
    limiter = alone(limits(WIDE, everything=Limit(50, burst=100)), clock)
    assert admitted(limiter, "quote") == 70
    assert admitted(limiter, "quote", service_id="two") == 0
    assert limiter.admit("two", "quote").scope == "all:quote"
    assert admitted(limiter, "execute", service_id="two") == 30


@pytest.mark.parametrize("limit", [Limit(100), Limit(1)])
def test_quotes_that_never_stop_leave_executions_their_share_of_the_rate(limit: Limit, clock: HandClock) -> None:
    limiter, quotes, executions, next_execution = alone(limits(limit), clock), 0, 0, 0.0
    for _ in range(20_000):  # 200 seconds; an execution comes back when it was told to
        clock.seconds += 0.01
        quotes += limiter.admit("one", "quote").admitted
        if clock.seconds >= next_execution:
            admission = limiter.admit("one", "execute")
            executions += admission.admitted
            next_execution = clock.seconds + admission.retry_after
    assert executions >= 200 * limit.calls * 0.29
    assert quotes <= 200 * limit.calls * 0.7 + limit.at_once


# --- All or nothing --------------------------------------------------------------------------------------------------


def test_a_refusal_by_one_scope_leaves_all_the_others_unmoved(client: redis.Redis, server: RedisServer) -> None:
    limiter = shared(server, limits(WIDE, everything=Limit(1, timedelta(minutes=1))))
    assert limiter.admit("one", "execute").admitted
    before = stored(client)
    assert set(before) == {"converter:limit:all", "converter:limit:service:one"}
    refused = limiter.admit("one", "execute")
    assert (refused.admitted, refused.scope) == (False, "all")
    assert 59 < refused.retry_after <= 60
    assert stored(client) == before


def test_the_scope_that_refuses_longest_is_named(client: redis.Redis, server: RedisServer) -> None:
    minute, hour = Limit(1, timedelta(minutes=1)), Limit(1, timedelta(hours=1))
    limiter = shared(server, limits(hour, everything=minute))
    assert limiter.admit("one", "execute").admitted
    assert limiter.admit("one", "execute").scope == "service:one"
    assert limiter.admit("two", "execute").scope == "all"


# --- Holds -----------------------------------------------------------------------------------------------------------


def test_a_hold_lets_nothing_through_and_then_the_rate_without_a_burst(clock: HandClock) -> None:
    limiter = alone(limits(Limit(50, burst=10)), clock)
    limiter.hold("one", 30)
    refused = limiter.admit("one", "execute")
    assert (refused.admitted, refused.scope, refused.retry_after) == (False, HELD, 30)
    assert limiter.admit("two", "execute").admitted
    clock.seconds += 29.99
    assert admitted(limiter, "execute") == 0
    clock.seconds += 0.01
    assert admitted(limiter, "execute") == 1


def test_a_hold_is_heard_by_every_process_and_ends_on_time(client: redis.Redis, server: RedisServer) -> None:
    of = limits(Limit(50, burst=10))
    shared(server, of).hold("one", 0.3)
    begun, limiter = time.monotonic(), shared(server, of)
    assert limiter.admit("one", "execute").scope == HELD
    while not limiter.admit("one", "execute").admitted:
        assert time.monotonic() < begun + 5
    assert time.monotonic() - begun > 0.25
    assert admitted(limiter, "execute", 5) <= 2


@pytest.mark.parametrize("with_redis", [True, False])
def test_a_hold_is_never_shortened_nor_longer_than_any_ban(
    with_redis: bool, client: redis.Redis, server: RedisServer, clock: HandClock
) -> None:
    of = limits(Limit(50))
    limiter = shared(server, of) if with_redis else alone(of, clock)
    limiter.hold("one", 600)
    limiter.hold("one", 1)
    limiter.hold("one", -1)
    assert 590 < limiter.admit("one", "execute").retry_after <= 600
    limiter.hold("one", 10**9)
    assert LONGEST_HOLD - 10 < limiter.admit("one", "execute").retry_after <= LONGEST_HOLD


# --- Over processes --------------------------------------------------------------------------------------------------


def crowd(server: RedisServer, seconds: float, calls: list[tuple[str, str]]) -> list[int]:
    of = limits(WIDE, everything=Limit(50, burst=10))
    found: list[list[int]] = run_at_once(call_as_often_as_admitted, [(server.url, of, calls, seconds)] * 8)
    return [moment for moments in found for moment in moments]


def test_eight_processes_never_exceed_rate_and_burst_in_any_second(client: redis.Redis, server: RedisServer) -> None:
    moments = crowd(server, 2.5, [("one", "execute")])
    assert 50 <= most_in_a_second(moments) <= 60
    assert len(moments) >= 100


@pytest.mark.chaos
def test_the_limit_holds_for_longer_over_services_and_operations(client: redis.Redis, server: RedisServer) -> None:
    moments = crowd(server, 15, [("one", "execute"), ("two", "quote"), ("two", "execute")])
    assert 50 <= most_in_a_second(moments) <= 60
    assert max(after - before for before, after in pairwise(sorted(moments))) < 0.2 * SECOND


# --- One rule in two languages ---------------------------------------------------------------------------------------

single = st.builds(Limit, st.integers(1, 500), st.integers(1, 3600).map(lambda n: timedelta(seconds=n)))
worlds = st.builds(
    Limits,
    st.builds(Limit, st.integers(1, 500), burst=st.integers(0, 5)),
    st.fixed_dictionaries(
        {
            "one": st.builds(
                Budget,
                single,
                st.dictionaries(st.sampled_from(["quote", "find"]), single),
                st.dictionaries(st.sampled_from(["quote", "execute"]), st.integers(1, 4)),
            )
        }
    ),
    shares=st.dictionaries(st.just("quote"), st.decimals("0.1", 1, places=2)),
)
each_world = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@each_world
@given(
    of=worlds,
    ahead=st.lists(st.integers(-2 * SECOND, 5000 * SECOND), min_size=5, max_size=5),
    hold=st.none() | st.integers(-SECOND, 100 * SECOND),
    calls=st.lists(
        st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["quote", "find", "execute"])), max_size=9
    ),
)
def test_redis_and_python_decide_alike_in_every_world(
    client: redis.Redis,
    server: RedisServer,
    of: Limits,
    ahead: list[int],
    hold: int | None,
    calls: list[tuple[str, str]],
) -> None:
    client.flushall()
    seconds, micros = client.time()
    now = seconds * SECOND + micros
    held_until = 0 if hold is None else now + hold
    if held_until:
        client.set("converter:limit:hold:one", held_until)
    arrivals = {scope.name: now + gap for scope, gap in zip(of.scopes("one", "quote"), ahead, strict=False)}
    for name, arrival in arrivals.items():
        client.set(f"converter:limit:{name}", arrival)
    limiter = shared(server, of)
    for service_id, operation in calls:
        found = limiter.admit(service_id, operation)
        held = held_until if service_id == "one" else 0
        expected, arrivals = rules.admit(arrivals, of.scopes(service_id, operation), held, found.at)
        assert found == expected
        for scope in of.scopes(service_id, operation):
            assert (client.get(f"converter:limit:{scope.name}") or None) == _text(arrivals.get(scope.name))


def _text(arrival: int | None) -> str | None:
    return None if arrival is None else str(arrival)


@given(
    st.builds(Scope, st.just("s"), st.integers(1, 10**7), st.integers(3, 50), st.integers(1, 3)),
    st.lists(st.integers(0, 10**7)),
)
def test_no_window_lets_more_through_than_burst_and_rate(scope: Scope, pauses: list[int]) -> None:
    arrivals: dict[str, int] = {}
    moments, now = [], 10**15
    for pause in pauses:
        now += pause
        admission, arrivals = rules.admit(arrivals, [scope], 0, now)
        moments += [now] if admission.admitted else []
    for first, begun in enumerate(moments):
        for last, ended in enumerate(moments[first:], 1):
            assert last * scope.requests <= scope.burst + (ended - begun) / scope.interval


def test_a_clock_that_was_set_back_shuts_nobody_out_for_long() -> None:
    scope = Scope("s", SECOND, 3)
    hour_ahead = {"s": 10**15 + 3600 * SECOND}
    admission, _ = rules.admit(hour_ahead, [scope], 0, 10**15)
    assert admission.retry_after == 1


# --- Losing Redis ----------------------------------------------------------------------------------------------------


def test_everything_that_is_kept_ends_by_itself(client: redis.Redis, server: RedisServer) -> None:
    limiter = shared(server, limits(Limit(50), quote=Limit(1)))
    admitted(limiter, "quote", 100)
    limiter.hold("one", 20)
    kept = {key: client.pttl(key) for key in stored(client)}
    assert len(kept) == 6
    assert all(0 < left <= 23_000 for left in kept.values())


def test_a_flushed_redis_gives_a_fresh_burst_and_nothing_worse(client: redis.Redis, server: RedisServer) -> None:
    limiter = shared(server, limits(Limit(3, timedelta(hours=1), burst=3)))
    assert admitted(limiter, "execute", 10) == 3
    client.flushall()
    client.script_flush()
    assert admitted(limiter, "execute", 10) == 3


def test_without_redis_each_process_keeps_to_its_part(clock: HandClock) -> None:
    limiter = alone(limits(Limit(80, burst=80)), clock, processes=8)
    assert admitted(limiter, "execute") == 10
    assert limiter.admit("one", "execute").retry_after == 0.1


@pytest.mark.parametrize("trouble", ["hangs", "is stopped"])
def test_without_an_answer_from_redis_nobody_is_held_up_and_holds_are_kept(
    trouble: str, client: redis.Redis, server: RedisServer
) -> None:
    limiter = Limiter(RedisAccess(server.url), limits(Limit(4, timedelta(hours=1), burst=4)), processes=2)
    limiter.hold("two", 60)
    with no_answer(trouble, server):
        waits, passed = [], 0
        for _ in range(10):
            begun = time.monotonic()
            passed += limiter.admit("one", "execute").admitted
            waits.append(time.monotonic() - begun)
        limiter.hold("three", 5)
        heard_before, heard_meanwhile = limiter.admit("two", "quote"), limiter.admit("three", "quote")
    assert max(waits) < 0.25
    assert passed == 2
    assert (heard_before.scope, heard_meanwhile.scope) == (HELD, HELD)


@contextmanager
def no_answer(trouble: str, server: RedisServer) -> Iterator[None]:
    assert server.pid
    if trouble == "is stopped":
        server.stop()
        yield
        server.restart()
        return
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)
