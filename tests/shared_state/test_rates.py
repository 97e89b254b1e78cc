"""The memory of rates: shared by all, bounded, whole under contention, and there when Redis is not."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
import redis

from converter.domain.anomalies import Code, Hold, HoldCode, Judgement, PairState, RatedQuote, Verdict, judge
from converter.domain.quarantine import Change, Standing, after_verdict, lift
from converter.domain.rate_history import History
from converter.local.redis_server import RedisServer
from converter.shared_state.rate_texts import pair_state, standing, text_of
from converter.shared_state.rates import NAMES_KEPT, POINTS_KEPT, Rates
from converter.shared_state.redis_access import RedisAccess
from tests.shared_state.redis_fixture import client, server

__all__ = ["client", "server"]
NOWHERE = "redis://127.0.0.1:1/0"
NOW = datetime(2026, 5, 4, 12, 0, 0, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PAIR = "ETH>BTC"
STRIKE = Verdict("alpha", Code.TOO_GOOD, "", strike=True)


@pytest.fixture
def rates(server: RedisServer, client: redis.Redis) -> Rates:
    return a_memory(server.url)


def a_memory(url: str) -> Rates:
    """The memory as a process of its own would have it."""
    return Rates(RedisAccess(url, timeout=10, away=0.0))


def round_of(*texts: str, at: datetime) -> partial[Judgement]:
    quotes = [RatedQuote(str(index), Decimal(text), at) for index, text in enumerate(texts)]
    return partial(_judge, quotes, at)


def _judge(quotes: list[RatedQuote], at: datetime, state: PairState) -> Judgement:
    return judge(quotes, state, (), at)


def learn(rates: Rates, *texts: str, at: datetime = NOW, pair: str = PAIR) -> Judgement:
    return rates.learn(pair, round_of(*texts, at=at), at)


def strike(rates: Rates, at: datetime = NOW, service_id: str = "alpha") -> Change:
    return rates.note(service_id, lambda before: after_verdict(before, STRIKE, at), at)


def sentence(rates: Rates, at: datetime = NOW) -> None:
    for minutes in range(3):
        strike(rates, at + minutes * MINUTE)


def standing_of(rates: Rates, service_id: str = "alpha") -> Standing:
    return rates.standings([service_id])[service_id]


# --- What is kept ----------------------------------------------------------------------------------------------------


def test_what_one_process_learns_the_others_know(server: RedisServer, rates: Rates) -> None:
    learned = learn(rates, "1", "1.001", "1.002").state
    strike(rates)
    other = a_memory(server.url)
    assert other.pair(PAIR) == learned
    assert other.standings(["alpha", "beta"]) == {"alpha": Standing(strikes=(NOW,)), "beta": Standing()}
    assert other.pair("BTC>ETH") == PairState()
    assert other.standings([]) == {}


def test_rounds_build_on_each_other(server: RedisServer, rates: Rates) -> None:
    learn(rates, "1", "1", "1")
    learn(a_memory(server.url), "1.02", "1.02", "1.02", at=NOW + 10 * MINUTE)
    history = rates.pair(PAIR).history
    assert history is not None
    assert history.average.quantize(Decimal("1e-9")) == Decimal("1.01")


def test_every_state_survives_as_text() -> None:
    exact = Decimal("0.06521478534675051447567716887")
    full = PairState(
        History(exact, exact, NOW, Decimal("1.8E-9"), exact, NOW - MINUTE),
        Hold(HoldCode.JUMP, NOW, exact),
    )
    for pair in (PairState(), full, replace(full, hold=Hold(HoldCode.UNVERIFIED, NOW, None))):
        assert pair_state(text_of(pair, NOW)) == pair
    out = Standing((NOW,), (NOW, NOW), (NOW,), 3, NOW + MINUTE, 2, needs_operator=True, lifted_at=NOW)
    for one in (Standing(), out):
        assert standing(text_of(one, NOW)) == one


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", "{}", '{"history": 1, "hold": 2}', '{"history": {"average": "x"}}']
)
def test_a_text_that_cannot_be_read_is_begun_anew(client: redis.Redis, rates: Rates, text: str) -> None:
    client.set(f"converter:rates:pair:{PAIR}", text)
    client.set("converter:rates:service:alpha", text)
    assert rates.pair(PAIR) == PairState()
    assert standing_of(rates) == Standing()
    assert learn(rates, "1", "1", "1").accepted == {"0", "1", "2"}
    assert strike(rates).standing.strikes == (NOW,)


def test_a_held_pair_is_held_for_all_until_an_operator_speaks(server: RedisServer, rates: Rates) -> None:
    learn(rates, "1", "1", "1")
    learn(rates, "1.2", "1.2", at=NOW + MINUTE)
    other = a_memory(server.url)
    assert learn(other, "1.2", "1.2", at=NOW + 2 * MINUTE).accepted == frozenset()
    assert other.confirm(PAIR, None, NOW + 2 * MINUTE).hold is None
    assert learn(rates, "1.2", "1.2", at=NOW + 3 * MINUTE).accepted == {"0", "1"}


def test_the_pairs_of_which_something_is_remembered_are_known_by_name(server: RedisServer, rates: Rates) -> None:
    strike(rates)
    assert rates.names() == []
    learn(rates, "1", "1", "1")
    learn(rates, "1", "1", "1", pair="BTC-ETH")
    assert a_memory(server.url).names() == ["BTC-ETH", PAIR]


def test_while_redis_is_away_the_names_are_those_that_were_seen() -> None:
    alone = a_memory(NOWHERE)
    assert alone.names() == []
    learn(alone, "1", "1", "1")
    strike(alone)
    assert alone.names() == [PAIR]


def test_recent_rates_are_one_for_half_a_minute_and_bounded(rates: Rates) -> None:
    for index in range(POINTS_KEPT + 20):
        at = NOW + index * timedelta(seconds=30)
        learn(rates, f"1.{index:04}", f"1.{index:04}", at=at)
        learn(rates, "1.5", "1.5", "1.5", at=at + timedelta(seconds=1))
    points = rates.recent(PAIR)
    assert len(points) == POINTS_KEPT
    assert points == sorted(points)
    assert all(later[0] - earlier[0] >= timedelta(seconds=30) for earlier, later in pairwise(points))
    assert rates.recent("BTC>ETH") == []


def test_everything_ends_by_itself_but_a_quarantine(client: redis.Redis, rates: Rates) -> None:
    learn(rates, "1", "1", "1")
    strike(rates, service_id="beta")
    sentence(rates)
    lives = {key: client.ttl(key) for key in client.scan_iter("converter:rates:*")}
    assert 0 < lives[f"converter:rates:pair:{PAIR}"] <= 86_400
    assert 0 < lives[f"converter:rates:recent:pair:{PAIR}"] <= 86_400
    assert 0 < lives["converter:rates:service:beta"] <= 2 * 86_400
    assert lives["converter:rates:service:alpha"] == -1
    rates.note("alpha", lambda before: lift(before, NOW), NOW + MINUTE)
    assert client.ttl("converter:rates:service:alpha") > 0


def test_no_more_names_are_kept_than_allowed(client: redis.Redis, rates: Rates) -> None:
    for index in range(NAMES_KEPT + 5):
        strike(rates, NOW + index * MINUTE, service_id=str(index))
    assert client.zcard("converter:rates:names") == NAMES_KEPT
    assert len(rates.snapshot()) == NAMES_KEPT


def test_an_operator_may_name_the_rate(rates: Rates) -> None:
    assert rates.confirm(PAIR, None, NOW) == PairState()
    rates.confirm(PAIR, Decimal("1.1"), NOW)
    assert learn(rates, "1.101", at=NOW + MINUTE).accepted == {"0"}
    assert rates.recent(PAIR)[0] == (NOW, Decimal("1.1"))


def test_nothing_is_written_when_nothing_changes(client: redis.Redis, rates: Rates) -> None:
    rates.note("alpha", Change, NOW)
    assert list(client.scan_iter("*")) == []


# --- Several at once -------------------------------------------------------------------------------------------------


def test_no_strike_is_lost_when_processes_strike_at_once(server: RedisServer, client: redis.Redis) -> None:
    memories = [a_memory(server.url) for _ in range(4)]
    together = threading.Barrier(len(memories))

    def count(rates: Rates) -> None:
        together.wait(30)
        for _ in range(25):
            rates.note("alpha", lambda before: Change(replace(before, repeats=before.repeats + 1)), NOW)

    with ThreadPoolExecutor(len(memories)) as pool:
        list(pool.map(count, memories))
    assert standing_of(a_memory(server.url)).repeats == 100


def test_a_step_is_taken_again_on_what_another_wrote_meanwhile(server: RedisServer, rates: Rates) -> None:
    other, seen = a_memory(server.url), []

    def slow(before: Standing) -> Change:
        seen.append(before)
        if len(seen) == 1:
            strike(other)
        return after_verdict(before, STRIKE, NOW + MINUTE)

    rates.note("alpha", slow, NOW + MINUTE)
    assert [len(before.strikes) for before in seen] == [0, 1]
    assert standing_of(other).strikes == (NOW, NOW + MINUTE)


# --- Without Redis ---------------------------------------------------------------------------------------------------


def test_without_redis_a_process_remembers_for_itself() -> None:
    rates = Rates(RedisAccess(NOWHERE))
    learned = learn(rates, "1", "1", "1").state
    assert rates.pair(PAIR) == learned
    assert learn(rates, "1.001", at=NOW + MINUTE).accepted == {"0"}, "history of its own confirms it"
    sentence(rates)
    assert standing_of(rates).is_quarantined
    assert (rates.recent(PAIR), rates.snapshot()) == ([], [])


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    """A server that takes connections and answers nothing."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def impatient(server: RedisServer) -> Rates:
    return Rates(RedisAccess(server.url, timeout=0.3, away=60))


def again(server: RedisServer, rates: Rates) -> None:
    """Let it try Redis anew, instead of waiting until it does so by itself."""
    rates._access = RedisAccess(server.url, timeout=10)


def test_what_was_seen_serves_while_redis_is_away_and_what_changed_goes_back(server: RedisServer, rates: Rates) -> None:
    cut_off = impatient(server)
    strike(rates)
    learned = learn(rates, "1", "1", "1").state
    assert (standing_of(cut_off).strikes, cut_off.pair(PAIR)) == ((NOW,), learned)
    with frozen(server):
        strike(cut_off, NOW + MINUTE)
        strike(cut_off, NOW + 2 * MINUTE)
        assert standing_of(cut_off).is_quarantined
        assert learn(cut_off, "1.001", at=NOW + MINUTE).accepted == {"0"}
    assert not standing_of(rates).is_quarantined
    again(server, cut_off)
    assert standing_of(cut_off).is_quarantined
    assert {name for name, _, _ in cut_off.snapshot()} == {"service:alpha", f"pair:{PAIR}"}
    assert standing_of(a_memory(server.url)).is_quarantined


def test_what_others_changed_later_goes_before_what_is_owed(server: RedisServer, rates: Rates) -> None:
    cut_off = impatient(server)
    strike(rates)
    standing_of(cut_off)
    with frozen(server):
        strike(cut_off, NOW + MINUTE)
    strike(rates, NOW + 2 * MINUTE)
    again(server, cut_off)
    cut_off.snapshot()
    assert standing_of(a_memory(server.url)).strikes == (NOW, NOW + 2 * MINUTE)


# --- After a loss ----------------------------------------------------------------------------------------------------


def test_after_a_loss_a_process_goes_on_with_what_it_saw(
    server: RedisServer, client: redis.Redis, rates: Rates
) -> None:
    sentence(rates)
    learned = learn(rates, "1", "1", "1").state
    client.flushall()
    assert standing_of(rates).is_quarantined
    assert rates.pair(PAIR) == learned
    learn(rates, "1.001", at=NOW + MINUTE)
    rates.note("alpha", Change, NOW + MINUTE)
    fresh = a_memory(server.url)
    assert standing_of(fresh).is_quarantined
    assert fresh.pair(PAIR).history is not None


def test_the_ledgers_rows_restore_what_was_lost(server: RedisServer, client: redis.Redis, rates: Rates) -> None:
    sentence(rates)
    learned = learn(rates, "1", "1", "1").state
    rows = rates.snapshot()
    assert {name: changed_at for name, _, changed_at in rows} == {
        "service:alpha": NOW + 2 * MINUTE,
        f"pair:{PAIR}": NOW,
    }
    client.flushall()
    fresh = a_memory(server.url)
    assert fresh.reload(rows, NOW + 3 * MINUTE) == 2
    assert fresh.reload(rows, NOW + 3 * MINUTE) == 0
    other = a_memory(server.url)
    assert standing_of(other).is_quarantined
    assert other.pair(PAIR) == learned
    assert sorted(other.snapshot()) == sorted(rows)


def test_rows_also_restore_a_process_without_redis(rates: Rates) -> None:
    sentence(rates)
    alone = Rates(RedisAccess(NOWHERE))
    assert alone.reload(rates.snapshot(), NOW) == 1
    assert standing_of(alone).is_quarantined


def test_older_rows_do_not_go_over_newer_states(client: redis.Redis, rates: Rates) -> None:
    strike(rates)
    rows = rates.snapshot()
    strike(rates, NOW + MINUTE)
    assert rates.reload(rows, NOW + MINUTE) == 0
    assert standing_of(rates).strikes == (NOW, NOW + MINUTE)


def test_rows_that_would_have_ended_or_cannot_be_read_are_not_taken(client: redis.Redis, rates: Rates) -> None:
    learn(rates, "1", "1", "1")
    strike(rates, service_id="beta")
    sentence(rates)
    rows = [*rates.snapshot(), ("service:gamma", "{", NOW + timedelta(days=10))]
    client.flushall()
    fresh = a_memory(NOWHERE)
    assert fresh.reload(rows, NOW + timedelta(days=10)) == 1
    assert standing_of(fresh).is_quarantined, "a quarantine does not end by being forgotten"
