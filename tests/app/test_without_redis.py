"""A Redis that is gone, ill or forgetful costs a conversion neither its end nor its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from converter.domain.breakers import BreakerState
from converter.domain.conversions import State
from converter.domain.errors import BreakerRefused, ServiceUnavailable
from converter.local.redis_server import RedisServer
from converter.ports import Deadline
from tests.app.conftest import Kept, emptied
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.builders import a_quote_request
from tests.fakes import refuse
from tests.shared_state.redis_fixture import NOWHERE, frozen, own_server, server_that_says

__all__ = ["own_server"]

Housed = Callable[[str], House]

ILLS = {
    "refuses writes": "OOM command not allowed when used memory > 'maxmemory'.",
    "is a replica": "READONLY You can't write against a read only replica.",
    "is loading": "LOADING Redis is loading the dataset in memory",
    "wants a password": "NOAUTH Authentication required.",
}


@pytest.fixture
def housed(ledger_in_a_file: Kept) -> Housed:
    """Houses on a Redis."""

    def made(redis_url: str) -> House:
        ledger, clock = ledger_in_a_file
        emptied(ledger_in_a_file)
        house = House(ledger, clock, redis_url=redis_url)
        for name in ("alpha", "beta", "gamma"):
            house.add(name, APPROVAL)
        return house

    return made


def completes(house: House, number: int = 1) -> bool:
    cid = house.receive(number)
    house.begin(cid)
    return house.finish(cid).state is State.COMPLETED


def failing_call_seconds(house: House) -> float:
    """What a failing call costs with its breaker and limits around it, the slowest of five."""
    house.services["alpha"].always("quote", refuse(ServiceUnavailable))
    house.place("alpha", max_failures=3)
    guard = house.office("z").desk.services["alpha"]
    slowest, refused = 0.0, 0
    for _ in range(5):
        started = time.monotonic()
        try:
            guard.quote(a_quote_request(), Deadline.after(5))
        except BreakerRefused:
            refused += 1
        except ServiceUnavailable:
            pass
        slowest = max(slowest, time.monotonic() - started)
    assert refused == 2, "the process' own breaker opened after three failures"
    return slowest


@pytest.mark.parametrize("ill", ILLS)
def test_whatever_redis_answers_a_conversion_completes(housed: Housed, ill: str) -> None:
    with server_that_says(ILLS[ill]) as url:
        assert completes(housed(url))


def test_without_a_server_a_conversion_completes_and_a_failing_call_is_quick(housed: Housed) -> None:
    house = housed(NOWHERE)
    assert completes(house)
    assert failing_call_seconds(house) < 0.3


def test_a_server_that_hangs_holds_nobody_up(housed: Housed, own_server: RedisServer) -> None:
    house = housed(own_server.url)
    assert completes(house)
    with frozen(own_server):
        started = time.monotonic()
        assert completes(house, 2)
        assert time.monotonic() - started < 3
        assert failing_call_seconds(house) < 0.3


@pytest.fixture
def spoils(own_server: RedisServer) -> Iterator[list[Callable[[], None]]]:
    with Redis.from_url(own_server.url, decode_responses=True) as client:

        def evict() -> None:
            for key in list(client.scan_iter("converter:*"))[::2]:
                client.delete(key)

        def scribble() -> None:
            for key in list(client.scan_iter("converter:*")):
                client.delete(key)
                client.lpush(key, "something else")

        def rubbish() -> None:
            for key in list(client.scan_iter("converter:*")):
                client.set(key, "{]")

        yield [evict, lambda: client.flushall() and None, scribble, rubbish]


def test_keys_that_are_evicted_flushed_or_spoilt_reach_no_conversion(
    housed: Housed, own_server: RedisServer, spoils: list[Callable[[], None]]
) -> None:
    house = housed(own_server.url)
    assert completes(house)
    for number, spoil in enumerate(spoils, start=2):
        cid = house.receive(number)
        office = house.office()
        spoil()
        plan = office.planning.start(cid)
        assert plan is not None
        spoil()
        office.ask(plan)
        spoil()
        office.follow(office.selecting.select(cid, plan.round), cid)
        spoil()
        assert house.finish(cid).state is State.COMPLETED


def test_a_service_that_was_open_stays_open_when_redis_goes(housed: Housed, own_server: RedisServer) -> None:
    house = housed(own_server.url)
    house.add("delta", EXCHANGE)
    breaker = house.office().desk.services["delta"].breakers["quote"]
    breaker.move(BreakerState.OPEN)
    with frozen(own_server):
        assert breaker.snapshot().state is BreakerState.OPEN
        assert completes(house)
    assert house.services["delta"].count("quote") == 0
