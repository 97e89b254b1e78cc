"""Choosing by expected value, in the shadow: what it would choose, and that nobody waits for it."""

from __future__ import annotations

import logging
import random
from collections import Counter
from decimal import Decimal

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.adaptive import Counts, Ending, choose, score
from converter.local.redis_server import RedisServer
from converter.shared_state.adaptive import AdaptiveShadow
from converter.shared_state.redis_access import RedisAccess
from tests.shared_state.crowd import PATIENT
from tests.shared_state.redis_fixture import client, server

__all__ = ["client", "server"]
NOWHERE = "redis://127.0.0.1:1/0"
PAR = {"a": Decimal("0.1"), "b": Decimal("0.1")}


@pytest.fixture
def shadow(client: redis.Redis, server: RedisServer) -> AdaptiveShadow:
    return AdaptiveShadow(RedisAccess(server.url, timeout=PATIENT), random.Random(7))


def mean(yes: float, no: float) -> float:
    """Draws what is expected."""
    return yes / (yes + no)


def counts(endings: dict[Ending, int]) -> Counts:
    found = Counts()
    for ending in random.Random(1).sample(list(endings), counts=list(endings.values()), k=sum(endings.values())):
        found = found.after(ending)
    return found


def chosen(nets: dict[str, Decimal], known: dict[str, Counts], times: int = 500) -> Counter[str]:
    chance = random.Random(3)
    return Counter(choose(nets, known, chance.betavariate, chance.random()) for _ in range(times))


# --- The rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endings", "cost"),
    [
        ({Ending.ACCEPTED: 1000}, 0.00001),
        ({Ending.ACCEPTED: 950, Ending.REFUSED: 50}, 0.00005),
        ({Ending.ACCEPTED: 990, Ending.UNKNOWN: 10}, 0.0002),
        ({Ending.ACCEPTED: 950, Ending.UNKNOWN: 50}, 0.00105),
    ],
)
def test_a_doubt_costs_far_more_than_a_refusal(endings: dict[Ending, int], cost: float) -> None:
    found = score(Decimal(1), Decimal(1), counts(endings), mean)
    assert 1 - found == pytest.approx(cost, abs=cost / 2 + 0.00001)


def test_half_of_what_was_counted_is_forgotten_in_two_hundred_attempts() -> None:
    found = Counts(refused=100.0)
    for _ in range(200):
        found = found.after(Ending.ACCEPTED)
    assert found.refused == pytest.approx(50)
    assert found.accepted == pytest.approx(144, abs=1)


def test_at_equal_nets_the_service_with_fewer_doubts_is_preferred() -> None:
    known = {"a": counts({Ending.ACCEPTED: 180, Ending.UNKNOWN: 20}), "b": counts({Ending.ACCEPTED: 200})}
    assert chosen(PAR, known)["b"] > 480


def test_a_better_net_outweighs_a_few_refusals() -> None:
    known = {"a": counts({Ending.ACCEPTED: 180, Ending.REFUSED: 20}), "b": counts({Ending.ACCEPTED: 200})}
    assert chosen({"a": Decimal("0.1"), "b": Decimal("0.0995")}, known)["a"] > 470


def test_nobody_is_given_up_for_good() -> None:
    known = {"a": counts({Ending.UNKNOWN: 300}), "b": counts({Ending.ACCEPTED: 300})}
    assert 0 < chosen(PAR, known, 2000)["a"] < 80


@given(
    nets=st.dictionaries(st.sampled_from("abcd"), st.decimals("0.001", 10, places=6), min_size=1),
    known=st.dictionaries(st.sampled_from("abcd"), st.builds(Counts, *[st.floats(0, 300)] * 3)),
    seed=st.integers(0, 1000),
)
def test_it_chooses_only_among_the_candidates(nets: dict[str, Decimal], known: dict[str, Counts], seed: int) -> None:
    chance = random.Random(seed)
    for pick in (0.0, 0.0199999, 0.02, 0.999):
        assert choose(nets, known, chance.betavariate, pick) in nets


# --- The shadow ------------------------------------------------------------------------------------------------------


def test_redis_counts_like_the_rule_and_forgets_in_the_end(client: redis.Redis, shadow: AdaptiveShadow) -> None:
    expected = Counts()
    for ending in random.Random(5).choices(list(Ending), k=60):
        shadow.note("a", ending)
        expected = expected.after(ending)
    assert shadow.counts(["a", "b"]) == {"a": expected, "b": Counts()}
    assert [0 < client.ttl(key) <= 30 * 86_400 for key in client.keys()] == [True]  # noqa: SIM118


def test_its_choice_is_logged_beside_what_was_taken(shadow: AdaptiveShadow, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(40):
        shadow.note("a", Ending.UNKNOWN)
        shadow.note("b", Ending.ACCEPTED)
    with caplog.at_level(logging.INFO):
        assert shadow.compare({"a": Decimal("0.1000"), "b": Decimal("0.0999")}, "a") == "b"
    assert caplog.messages == ["adaptive (shadow): b net 0.0999, taken: a net 0.1000"]
    assert shadow.compare({}, "a") is None


def test_without_redis_it_is_silent() -> None:
    shadow = AdaptiveShadow(RedisAccess(NOWHERE))
    shadow.note("a", Ending.UNKNOWN)
    assert shadow.compare(PAR, "a") is None
