"""Turns inside a tier: exact shares over many processes, one rule in Python and in Redis, and a world without Redis."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.domain import balancing
from converter.domain.balancing import Strategy, Tier
from converter.local.redis_server import RedisServer
from converter.shared_state.balancer import Balancer
from converter.shared_state.redis_access import RedisAccess
from tests.shared_state.crowd import PATIENT, read_then_charge, run_at_once, take_turns
from tests.shared_state.redis_fixture import client, server

__all__ = ["client", "server"]
NOWHERE = "redis://127.0.0.1:1/0"
SHARES = {"a": Decimal("0.4"), "b": Decimal("0.3"), "c": Decimal("0.3")}

each_strategy = pytest.mark.parametrize("strategy", Strategy)


@pytest.fixture(params=["with Redis", "without Redis"])
def balancer(request: pytest.FixtureRequest, client: redis.Redis, server: RedisServer) -> Balancer:
    """The same rules by both ways."""
    return Balancer(RedisAccess(server.url if request.param == "with Redis" else NOWHERE, timeout=PATIENT))


def shared(server: RedisServer) -> Balancer:
    return Balancer(RedisAccess(server.url, timeout=PATIENT))


def tier(strategy: Strategy = Strategy.WEIGHTED, weights: dict[str, Decimal] | None = None, number: int = 1) -> Tier:
    return Tier(number, weights or SHARES, strategy)


def taken(balancer: Balancer, of: Tier, times: int, services: str = "abc") -> str:
    return "".join(balancer.take(of, services) for _ in range(times))


# --- The rules -------------------------------------------------------------------------------------------------------


def test_weighted_turns_are_spread_and_not_in_blocks(balancer: Balancer) -> None:
    assert taken(balancer, tier(), 10) == "abcabcabca"
    assert Counter(taken(balancer, tier(), 990)) == {"a": 396, "b": 297, "c": 297}


def test_a_service_that_was_away_comes_back_without_a_burst(balancer: Balancer) -> None:
    taken(balancer, tier(), 100, "ab")
    back = taken(balancer, tier(), 10)
    assert Counter(back) == {"a": 4, "b": 3, "c": 3}
    assert "cc" not in back


def test_round_robin_takes_the_least_recently_executed(balancer: Balancer) -> None:
    of = tier(Strategy.ROUND_ROBIN)
    assert taken(balancer, of, 4) == "abca"
    balancer.charge(of, "abc", "b")
    assert balancer.turns(of, "abc") == ["c", "a", "b"]
    assert taken(balancer, of, 5, "ab") == "ababa"
    assert balancer.turns(of, "abc") == ["c", "b", "a"]


def test_least_used_takes_the_fewest_of_the_last_minute(balancer: Balancer) -> None:
    of = tier(Strategy.LEAST_USED)
    for service_id in "aabbbc":
        balancer.charge(of, "abc", service_id)
    assert balancer.turns(of, "abc") == ["c", "a", "b"]
    assert Counter(taken(balancer, of, 24)) == {"a": 8, "b": 7, "c": 9}


def test_executions_of_more_than_a_minute_ago_do_not_count() -> None:
    now = 1000.0
    balancer = Balancer(RedisAccess(NOWHERE), clock=lambda: now)
    of = tier(Strategy.LEAST_USED)
    taken(balancer, of, 2)
    now = 1059.9
    assert balancer.turns(of, "abc") == ["c", "a", "b"]
    now = 1060.0
    assert balancer.turns(of, "abc") == ["a", "b", "c"]


@each_strategy
def test_equals_come_by_weight_and_then_by_id(strategy: Strategy, balancer: Balancer) -> None:
    weights = {"z": Decimal("0.3"), "a": Decimal("0.3"), "m": Decimal("0.4")}
    assert balancer.turns(tier(strategy, weights), ["z", "m", "a"]) == ["m", "a", "z"]


def test_equal_credits_come_by_weight_and_then_by_id(balancer: Balancer) -> None:
    weights = {"a": Decimal("0.1"), "b": Decimal("0.2"), "c": Decimal("0.3")}
    balancer.charge(tier(weights=weights), "ac", "c")  # each now stands at 0.2
    assert balancer.turns(tier(weights=weights), "abc") == ["c", "b", "a"]


@each_strategy
def test_reading_the_order_charges_nobody(strategy: Strategy, balancer: Balancer) -> None:
    orders = {tuple(balancer.turns(tier(strategy), "abc")) for _ in range(5)}
    assert orders == {("a", "b", "c")}


@each_strategy
def test_a_charge_moves_the_order_like_a_turn_taken(strategy: Strategy, balancer: Balancer) -> None:
    balancer.charge(tier(strategy), "abc", "a")
    assert balancer.turns(tier(strategy), "abc")[0] == "b"
    assert balancer.take(tier(strategy), "abc") == "b"
    assert balancer.turns(tier(strategy), "abc")[0] == "c"


def test_one_that_was_chosen_for_its_rate_alone_pays_nothing(balancer: Balancer) -> None:
    for _ in range(50):
        balancer.charge(tier(), "a", "a")
    assert taken(balancer, tier(), 10) == "abcabcabca"


@each_strategy
def test_a_service_that_takes_no_part_is_neither_charged_nor_an_error(strategy: Strategy, balancer: Balancer) -> None:
    balancer.charge(tier(strategy), "abc", "gone")
    balancer.charge(tier(strategy), "", "a")
    assert balancer.turns(tier(strategy), ["a", "b", "c", "gone"]) == ["a", "b", "c", "gone"]
    assert balancer.turns(tier(strategy), "") == []


@each_strategy
def test_a_changed_configuration_starts_clean(strategy: Strategy, balancer: Balancer) -> None:
    taken(balancer, tier(strategy), 1)
    assert balancer.turns(tier(strategy), "abc")[0] == "b"
    for changed in (
        {**SHARES, "a": Decimal("0.5")},
        {**SHARES, "d": Decimal(0)},
        {"a": Decimal("0.5"), "b": Decimal("0.5")},
    ):
        assert balancer.turns(tier(strategy, changed), "ab")[0] == "a"
    assert balancer.turns(tier(strategy, number=2), "abc")[0] == "a"
    same = {"c": Decimal("0.30"), "b": Decimal("0.3"), "a": Decimal("0.40")}
    assert balancer.turns(tier(strategy, same), "abc")[0] == "b"


# --- Over processes --------------------------------------------------------------------------------------------------


def test_ten_thousand_turns_of_eight_processes_have_exactly_their_shares(
    client: redis.Redis, server: RedisServer
) -> None:
    found = run_at_once(take_turns, [(server.url, tier(), 1250)] * 8)
    assert sum(found, Counter()) == {"a": 4000, "b": 3000, "c": 3000}


@pytest.mark.chaos
@pytest.mark.parametrize("strategy", [Strategy.ROUND_ROBIN, Strategy.LEAST_USED])
def test_equal_strategies_share_equally_over_processes(
    strategy: Strategy, client: redis.Redis, server: RedisServer
) -> None:
    found = sum(run_at_once(take_turns, [(server.url, tier(strategy), 1250)] * 8), Counter())
    assert sorted(found.values()) == [3333, 3333, 3334]


@pytest.mark.chaos
def test_two_steps_that_race_keep_the_shares_within_a_few(client: redis.Redis, server: RedisServer) -> None:
    found = sum(run_at_once(read_then_charge, [(server.url, tier(), 1250)] * 8), Counter())
    assert all(abs(found[service_id] - 10_000 * share) <= 16 for service_id, share in SHARES.items())


# --- One rule in two languages ---------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b b", "c:1", "*c", "d"])
weights = st.dictionaries(names, st.integers(0, 3).map(Decimal) | st.decimals(0, 1, places=3), min_size=1)
ages_of_buckets = st.sampled_from([0, 1, 30, 58, 59, 60, 61, 120])
steps = st.lists(st.tuples(st.sets(names), names, st.booleans()), max_size=12)
each_world = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@each_strategy
@each_world
@given(configured=weights, walk=steps, ages=st.lists(st.tuples(ages_of_buckets, names, st.integers(1, 5))))
def test_redis_and_python_decide_alike_in_every_world(
    strategy: Strategy,
    client: redis.Redis,
    server: RedisServer,
    configured: dict[str, Decimal],
    walk: list[tuple[set[str], str, bool]],
    ages: list[tuple[int, str, int]],
) -> None:
    client.flushall()
    of, balancer = Tier(1, configured, strategy), shared(server)
    key = f"converter:balancer:{of.mark()}"
    state: dict[str, int] = {}
    if strategy is Strategy.LEAST_USED:
        state = {f"{client.time()[0] - age} {service_id}": count for age, service_id, count in ages}
        if state:
            client.hset(key, mapping=state)
    for services, chosen, first in walk:
        members = of.members(services)
        while True:  # what was decided across two seconds tells nothing
            kept, second = client.dump(key), client.time()[0]
            order = balancer.turns(of, services)
            if first and order:
                assert balancer.take(of, services) == order[0]
            else:
                balancer.charge(of, services, chosen)
            if client.time()[0] == second:
                break
            client.delete(key)
            if kept:
                client.restore(key, 0, kept)
        assert order == balancing.turns(strategy, state, members, second)
        state = balancing.charged(strategy, state, members, order[0] if first and order else chosen, second)
        assert {name: int(number) for name, number in client.hgetall(key).items()} == state


# --- Losing Redis ----------------------------------------------------------------------------------------------------


@each_strategy
def test_what_is_kept_is_small_and_ends_by_itself(strategy: Strategy, client: redis.Redis, server: RedisServer) -> None:
    balancer = shared(server)
    taken(balancer, tier(strategy), 300)
    (key,) = client.keys()
    assert 0 < client.ttl(key) <= 2 * 86_400
    assert client.hlen(key) <= 3 * 60


def test_a_flushed_redis_is_only_a_fresh_start(client: redis.Redis, server: RedisServer) -> None:
    balancer = shared(server)
    taken(balancer, tier(), 1)
    client.flushall()
    client.script_flush()
    assert taken(balancer, tier(), 10) == "abcabcabca"
    assert client.exists(f"converter:balancer:{tier().mark()}")


def test_a_redis_that_hangs_holds_nobody_up_and_is_used_again_when_it_answers(
    server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    balancer = Balancer(RedisAccess(server.url, away=0.5))
    assert taken(balancer, tier(), 1) == "a"
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        waits, found = [], ""
        for _ in range(10):
            begun = time.monotonic()
            found += balancer.take(tier(), "abc")
            waits.append(time.monotonic() - begun)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert found == "abcabcabca"
    assert max(waits) < 0.25
    assert sorted(waits)[-2] < 0.05
    assert [record.message for record in caplog.records] == [
        "Redis is away (TimeoutError): every process goes on by itself"
    ]
    ends = time.monotonic() + 10
    while "Redis answers again" not in caplog.text and time.monotonic() < ends:
        balancer.turns(tier(), "abc")
        threading.Event().wait(0.02)
    assert "Redis answers again" in caplog.text


def test_a_server_that_restarts_finds_its_scripts_again(server: RedisServer, client: redis.Redis) -> None:
    balancer = shared(server)
    assert taken(balancer, tier(), 2) == "ab"
    server.restart()
    assert taken(balancer, tier(), 2) == "ca"


def test_without_redis_threads_share_one_order() -> None:
    balancer = Balancer(RedisAccess(NOWHERE))
    with ThreadPoolExecutor(4) as threads:
        found = "".join(threads.map(lambda _: taken(balancer, tier(), 250), range(4)))
    assert Counter(found) == {"a": 400, "b": 300, "c": 300}


def test_without_redis_only_so_many_configurations_are_kept() -> None:
    balancer = Balancer(RedisAccess(NOWHERE))
    taken(balancer, tier(), 1)
    for number in range(100):
        taken(balancer, tier(number=number + 2), 1)
    assert taken(balancer, tier(), 1) == "a"
