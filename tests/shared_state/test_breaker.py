"""One breaker as its callers see it: permits, verdicts, pybreaker's ways in, operators, and a Redis that is ill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pybreaker
import pytest
from redis import Redis

from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import BreakerState, Verdict, verdict_of
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    OutcomeUnknown,
    RateLimited,
    ServiceError,
    ServiceUnavailable,
)
from converter.domain.permits import Transition
from converter.local.redis_server import RedisServer
from converter.shared_state.breaker import CircuitRefused, SharedBreaker
from converter.shared_state.redis_access import RedisAccess
from tests.shared_state.breaker_processes import MILLISECOND, NO_TIME, breaker_at, until_due
from tests.shared_state.redis_fixture import NOWHERE, client, frozen, own_server, redis_url, server, server_that_says

__all__ = ["client", "own_server", "redis_url", "server"]

KEY = "converter:breaker:1:one:quote"
UNAVAILABLE = ServiceUnavailable("one", "quote")
Made = Callable[..., SharedBreaker]


@pytest.fixture
def breaker(client: Redis, redis_url: str) -> Made:
    """A breaker on an empty Redis; each call is another process' view of the same one."""
    return lambda **rules: breaker_at(redis_url, "one", BreakerRules(**rules))


def end(breaker: SharedBreaker, verdict: Verdict, elapsed: timedelta = NO_TIME) -> Transition | None:
    """One call that is let through and ends so."""
    permit = breaker.admit().permit
    assert permit is not None
    return breaker.report(permit, verdict, elapsed)


def fail(error: BaseException = UNAVAILABLE) -> None:
    raise error


class TestVerdicts:
    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (ServiceUnavailable("one", "quote"), Verdict.FAILED),
            (OutcomeUnknown("one", "execute"), Verdict.FAILED),
            (AuthenticationFailed("one", "quote"), Verdict.FAILED),
            (KeyError("nobody expected it"), Verdict.FAILED),
            (AmountOutOfRange("one", "quote"), Verdict.NEUTRAL),
            (RateLimited("one", "quote"), Verdict.NEUTRAL),
            (KeyboardInterrupt(), Verdict.NEUTRAL),
            (SystemExit(), Verdict.NEUTRAL),
        ],
    )
    def test_an_error_counts_as_its_policy_says(self, error: BaseException, verdict: Verdict) -> None:
        assert verdict_of(error) is verdict

    def test_business_refusals_between_failures_do_not_reset_the_count(self, breaker: Made) -> None:
        one = breaker(max_failures=3)
        for error in (UNAVAILABLE, AmountOutOfRange("one", "quote"), UNAVAILABLE, RateLimited("one", "quote")):
            with pytest.raises(ServiceError):
                one.call(fail, error)
        assert one.snapshot().failures == 2
        with pytest.raises(ServiceUnavailable):
            one.call(fail)
        assert one.snapshot().state is BreakerState.OPEN

    def test_a_success_between_failures_does(self, breaker: Made) -> None:
        one = breaker(max_failures=2)
        for verdict in (Verdict.FAILED, Verdict.GOOD, Verdict.FAILED):
            end(one, verdict)
        assert one.snapshot().state is BreakerState.CLOSED

    def test_a_service_that_answers_slowly_trips_it(self, breaker: Made) -> None:
        one = breaker(slow_after=timedelta(seconds=4))
        for _ in range(9):
            assert end(one, Verdict.GOOD, timedelta(seconds=4.5)) is None
        transition = end(one, Verdict.GOOD, timedelta(seconds=4.5))
        assert transition is not None
        assert (transition.event, transition.after) == ("open", BreakerState.OPEN)

    def test_a_neutral_probe_gives_its_permit_back_and_closes_nothing(self, breaker: Made) -> None:
        one = breaker(open_for=MILLISECOND)
        one.open()
        until_due(one)
        for _ in range(3):
            permit = one.admit().permit
            assert permit is not None
            assert permit.is_probe
            assert one.admit().permit is None
            assert one.report(permit, Verdict.NEUTRAL, NO_TIME) is None
        assert one.snapshot().state is BreakerState.HALF_OPEN


class TestPermits:
    def test_it_trips_at_its_failures_and_tells_how_long_it_is_open(self, breaker: Made) -> None:
        one = breaker(max_failures=3, open_for=timedelta(minutes=5))
        told = [end(one, Verdict.FAILED) for _ in range(3)]
        assert told[:2] == [None, None]
        assert told[2] is not None
        assert (told[2].event, told[2].failures, told[2].shared) == ("open", 3, True)
        assert told[2].until is not None
        assert timedelta(minutes=5) <= told[2].until - told[2].at <= timedelta(minutes=5.5)
        refusal = breaker().admit()
        assert refusal.permit is None
        assert refusal.retry_after is not None
        assert timedelta(minutes=4.9) < refusal.retry_after <= timedelta(minutes=5.5)

    def test_one_who_may_not_probe_is_refused_until_another_has_closed_it(self, breaker: Made) -> None:
        one = breaker(open_for=MILLISECOND)
        one.open()
        until_due(one)
        assert one.admit(may_probe=False).permit is None
        assert one.snapshot().state is BreakerState.OPEN
        end(one, Verdict.GOOD)
        assert one.admit(may_probe=False).permit is not None

    def test_the_result_of_a_call_that_began_before_the_outage_counts_no_more(self, breaker: Made) -> None:
        one = breaker(max_failures=2, open_for=MILLISECOND)
        early = one.admit().permit
        assert early is not None
        end(one, Verdict.FAILED)
        end(one, Verdict.FAILED)
        until_due(one)
        end(one, Verdict.GOOD)
        for _ in range(5):
            one.report(early, Verdict.FAILED, NO_TIME)
        assert one.snapshot().failures == 0

    def test_a_probe_after_its_lease_counts_no_more(self, breaker: Made) -> None:
        one = breaker(open_for=MILLISECOND, lease=MILLISECOND)
        one.open()
        until_due(one)
        permit = one.admit().permit
        assert permit is not None
        until_due(one)
        one.report(permit, Verdict.GOOD, NO_TIME)
        assert one.snapshot().state is BreakerState.HALF_OPEN

    def test_three_good_probes_close_it_when_three_are_wanted(self, breaker: Made) -> None:
        one = breaker(open_for=MILLISECOND, successes=3)
        one.open()
        until_due(one)
        told = [end(one, Verdict.GOOD) for _ in range(3)]
        assert [change.event if change else None for change in told] == [None, None, "closed"]

    def test_each_service_and_each_operation_has_its_own(self, client: Redis, redis_url: str) -> None:
        access = RedisAccess(redis_url)
        for service_id, operation in (("one", "quote"), ("one", "execute"), ("two", "quote")):
            rules = BreakerRules(max_failures=1)
            end(SharedBreaker(access, service_id, operation, rules), Verdict.FAILED)
        assert sorted(client.keys()) == [
            f"converter:breaker:1:{name}" for name in ("one:execute", "one:quote", "two:quote")
        ]


class TestOperators:
    def test_forced_open_stays_until_it_is_released(self, breaker: Made) -> None:
        one = breaker(max_failures=1, open_for=MILLISECOND)
        under_way = one.admit().permit
        assert under_way is not None
        change = one.move(BreakerState.FORCED_OPEN)
        assert change is not None
        assert (change.after, change.event) == (BreakerState.FORCED_OPEN, "")
        assert one.move(BreakerState.FORCED_OPEN) is None
        one.report(under_way, Verdict.GOOD, NO_TIME)
        one.close()
        refusal = one.admit()
        assert (refusal.permit, refusal.retry_after) == (None, None)
        assert one.snapshot().state is BreakerState.FORCED_OPEN
        released = one.release()
        assert released is not None
        assert (released.before, released.after, released.event) == (
            BreakerState.FORCED_OPEN,
            BreakerState.CLOSED,
            "",
        )
        end(one, Verdict.GOOD)

    def test_release_ends_no_other_state(self, breaker: Made) -> None:
        one = breaker()
        assert one.release() is None
        one.open()
        assert one.release() is None
        assert one.snapshot().state is BreakerState.OPEN

    def test_an_outage_during_which_it_was_isolated_ends_with_one_event(self, breaker: Made) -> None:
        one = breaker(max_failures=1)
        changes = [end(one, Verdict.FAILED), one.move(BreakerState.FORCED_OPEN), one.release()]
        assert [change.event for change in changes if change] == ["open", "", "closed"]


class TestPybreaker:
    def test_results_and_errors_of_the_call_pass_unchanged(self, breaker: Made) -> None:
        one = breaker(max_failures=1)
        answer = object()
        assert one.call(lambda: answer) is answer
        error = OutcomeUnknown("one", "quote")
        with pytest.raises(OutcomeUnknown) as raised:  # the call that trips it, too
            one.call(fail, error)
        assert raised.value is error

    def test_refusal_is_an_error_of_its_own_raised_before_the_call(self, breaker: Made) -> None:
        one = breaker()
        one.open()
        calls: list[int] = []
        with pytest.raises(CircuitRefused) as raised:
            one.call(calls.append, 1)
        assert calls == []
        assert isinstance(raised.value, pybreaker.CircuitBreakerError)
        assert raised.value.retry_after is not None

    def test_a_passage_tells_what_its_call_changed(self, breaker: Made) -> None:
        one = breaker(max_failures=1, open_for=MILLISECOND)
        with pytest.raises(ServiceUnavailable), one.calling() as passage:
            fail()
        assert [change.event for change in passage.transitions] == ["open"]
        until_due(one)
        with one.calling() as passage:
            pass
        assert [(change.after.value, change.event) for change in passage.transitions] == [
            ("half-open", ""),
            ("closed", "closed"),
        ]

    def test_it_is_one_of_pybreakers_with_its_states_and_its_decorator(self, breaker: Made) -> None:
        one = breaker(max_failures=2, open_for=timedelta(minutes=5))
        guarded = one(fail)
        assert isinstance(one, pybreaker.CircuitBreaker)
        assert one.current_state == pybreaker.STATE_CLOSED
        for _ in range(2):
            with pytest.raises(ServiceUnavailable):
                guarded()
        assert (one.current_state, one.fail_counter) == (pybreaker.STATE_OPEN, 2)
        assert isinstance(one.state, pybreaker.CircuitOpenState)
        one.half_open()
        assert breaker().current_state == pybreaker.STATE_HALF_OPEN
        one.close()
        assert breaker().current_state == pybreaker.STATE_CLOSED
        one.move(BreakerState.FORCED_OPEN)
        assert one.current_state == pybreaker.STATE_OPEN

    def test_what_it_does_not_offer_is_refused(self, breaker: Made) -> None:
        with pytest.raises(NotImplementedError):
            breaker().add_listener(pybreaker.CircuitBreakerListener())
        with pytest.raises(NotImplementedError):
            breaker().call_async(fail)

    def test_nothing_is_locked_during_a_call(self, breaker: Made) -> None:
        one = breaker()
        with one.calling(), one.calling():
            assert one.snapshot().admits


class TestForgetting:
    @pytest.mark.parametrize("loss", ["flushall", "evicted", "script_flush", "nonsense"])
    def test_whatever_is_lost_it_is_closed_and_counts_again(self, breaker: Made, client: Redis, loss: str) -> None:
        one = breaker(max_failures=2)
        under_way = one.admit().permit
        assert under_way is not None
        one.open()
        losses: dict[str, Callable[[], Any]] = {
            "flushall": client.flushall,
            "evicted": lambda: client.delete(KEY),
            "script_flush": lambda: (client.script_flush(), client.delete(KEY)),
            "nonsense": lambda: client.hset(KEY, "state", "ajar"),
        }
        losses[loss]()
        one.report(under_way, Verdict.FAILED, NO_TIME)  # of a generation that nobody remembers
        assert one.snapshot().failures == 0
        end(one, Verdict.FAILED)
        assert end(one, Verdict.FAILED) is not None
        assert one.snapshot().shared

    def test_its_key_is_one_small_hash_that_ends_by_itself(self, breaker: Made, client: Redis) -> None:
        one = breaker(max_failures=1000, failure_percent=100)
        for _ in range(300):
            end(one, Verdict.FAILED)
            end(one, Verdict.GOOD)
        assert client.keys() == [KEY]
        assert client.memory_usage(KEY) < 2000
        assert 0 < client.pttl(KEY) <= 2 * 24 * 3600 * 1000


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    server.stop()
    yield


@contextmanager
def refusing(server: RedisServer, *setting: str) -> Iterator[None]:
    with Redis.from_url(server.url) as client:
        client.execute_command(*setting)
        yield


AWAY = {
    "stopped": stopped,
    "frozen": frozen,
    "out of memory": lambda server: refusing(server, "CONFIG", "SET", "maxmemory", "1"),
    "read-only": lambda server: refusing(server, "REPLICAOF", "127.0.0.1", "1"),
    "without its replicas": lambda server: refusing(server, "CONFIG", "SET", "min-replicas-to-write", "1"),
}


class TestRedisAway:
    def own(self, url: str, away: float = 60.0, **rules: Any) -> SharedBreaker:
        return SharedBreaker(RedisAccess(url, away=away), "one", "quote", BreakerRules(**rules))

    @pytest.mark.parametrize("how", AWAY)
    def test_the_process_protects_itself_at_once_and_no_error_reaches_the_caller(
        self, own_server: RedisServer, how: str
    ) -> None:
        one = self.own(own_server.url, max_failures=2)
        end(one, Verdict.GOOD)
        assert one.snapshot().shared
        with AWAY[how](own_server):
            began = time.monotonic()
            with pytest.raises(ServiceUnavailable):
                one.call(fail)
            assert time.monotonic() - began < 0.3
            with pytest.raises(ServiceUnavailable):
                one.call(fail)
            with pytest.raises(CircuitRefused):
                one.call(fail)
            assert (one.snapshot().state, one.snapshot().shared) == (BreakerState.OPEN, False)

    @pytest.mark.parametrize(
        "error",
        [
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down",
            "MOVED 3999 127.0.0.1:6381",
            "NOPERM this user has no permissions",
            "BUSY Redis is busy running a script.",
        ],
    )
    def test_a_server_that_answers_with_errors_is_away(self, error: str) -> None:
        with server_that_says(error) as url:
            one = self.own(url, max_failures=1)
            with pytest.raises(ServiceUnavailable):
                one.call(fail)
            with pytest.raises(CircuitRefused):
                one.call(fail)

    def test_a_call_under_way_when_redis_goes_counts_here(self, own_server: RedisServer) -> None:
        one = self.own(own_server.url, max_failures=1)
        permit = one.admit().permit
        assert permit is not None
        with frozen(own_server):
            change = one.report(permit, Verdict.FAILED, NO_TIME)
        assert change is not None
        assert (change.after, change.shared) == (BreakerState.OPEN, False)

    @pytest.mark.parametrize("state", ["open", "forced-open"])
    def test_what_was_open_stays_open_when_redis_goes(self, own_server: RedisServer, state: str) -> None:
        one = self.own(own_server.url)
        if state == "open":
            one.open()
        else:
            one.move(BreakerState.FORCED_OPEN)
        with stopped(own_server):
            assert one.admit().permit is None
            assert one.snapshot().state.value == state

    def test_failures_before_redis_went_count_with_those_after(self, own_server: RedisServer) -> None:
        one = self.own(own_server.url, max_failures=3)
        end(one, Verdict.FAILED)
        end(one, Verdict.FAILED)
        with stopped(own_server):
            assert end(one, Verdict.FAILED) is not None

    def test_redis_that_is_back_is_used_again(self, own_server: RedisServer) -> None:
        one = self.own(own_server.url, away=0.05, max_failures=1, open_for=timedelta(minutes=5))
        end(one, Verdict.GOOD)
        with frozen(own_server):
            local = one.admit().permit
            assert local is not None
            assert not local.shared
            end(one, Verdict.FAILED)
            assert one.admit().permit is None
        ends = time.monotonic() + 10
        while one.admit().permit is None:
            assert time.monotonic() < ends
        assert one.snapshot().shared
        one.report(local, Verdict.FAILED, NO_TIME)  # what was let through without Redis says nothing to it
        assert one.snapshot().failures == 0

    def test_it_starts_and_protects_where_redis_never_was(self) -> None:
        for one in (
            self.own(NOWHERE, max_failures=1),
            SharedBreaker(RedisAccess(""), "one", "quote", BreakerRules(max_failures=1)),
        ):
            assert one.current_state == pybreaker.STATE_CLOSED
            end(one, Verdict.FAILED)
            assert one.admit().permit is None
            assert one.move(BreakerState.FORCED_OPEN) is not None
            assert one.release() is not None
            end(one, Verdict.GOOD)

    def test_one_call_pays_for_a_frozen_redis_and_the_breakers_of_a_process_share_it(
        self, own_server: RedisServer
    ) -> None:
        access = RedisAccess(own_server.url, away=60.0)
        with frozen(own_server):
            began = time.monotonic()
            for number in range(20):
                end(SharedBreaker(access, f"service-{number}", "quote", BreakerRules()), Verdict.FAILED)
            assert time.monotonic() - began < 0.3
