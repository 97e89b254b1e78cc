"""Eight processes see a service fail: each outage is told once, also when those who saw it first die with the news."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from converter.checking import Checking
from converter.domain import events
from converter.domain.breakers import BreakerState
from converter.ledger.repository import open_ledger
from tests.app.outage_processes import Worker, outages, told, trip_and_die
from tests.shared_state.breaker_processes import Crowd, crowd_of_processes
from tests.shared_state.redis_fixture import client, redis_url, server

__all__ = ["client", "redis_url", "server"]

ROUNDS = 50


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(url, migrate=True).close()
    return url


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with crowd_of_processes() as running:
        yield running


@pytest.mark.parametrize("deaf", [(), (0, 2, 4, 6), pytest.param(tuple(range(8)), marks=pytest.mark.chaos)])
def test_every_outage_is_told_exactly_once(
    crowd: Crowd, client: Redis, redis_url: str, ledger_url: str, deaf: tuple[int, ...]
) -> None:
    made = crowd(outages, redis_url, ledger_url, ROUNDS, deaf)
    services = [f"service-{turn}" for turn in range(ROUNDS)]
    assert sorted(told(ledger_url, events.SERVICE_UNAVAILABLE)) == sorted(services)
    for turn in zip(*made, strict=True):
        assert 5 <= sum(turn) <= 5 + 7, "it trips at its failures; only calls under way by then come on top"


def test_what_a_killed_process_could_not_tell_is_told_by_the_next_check(
    client: Redis, redis_url: str, ledger_url: str
) -> None:
    context = multiprocessing.get_context("spawn")
    for turn in range(3):
        name = f"killed-{turn}"
        dying = context.Process(target=trip_and_die, args=(redis_url, ledger_url, name), daemon=True)
        dying.start()
        dying.join(60)
        assert dying.exitcode == -9
        worker = Worker(redis_url, ledger_url, name)
        assert worker.guard.breakers["quote"].snapshot().state is BreakerState.OPEN
        assert name not in told(ledger_url, events.SERVICE_UNAVAILABLE)
        for _ in range(2):
            Checking(worker.desk).check(name)
        assert told(ledger_url, events.SERVICE_UNAVAILABLE).count(name) == 1
