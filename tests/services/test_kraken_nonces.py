"""Kraken's nonces: one key shared by processes and threads, against the twin, which checks every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from converter.domain.errors import Outcome, ServiceUnavailable, policy_of
from converter.ledger.counters import SqlCounter
from converter.ledger.engines import create_engine
from converter.ports import Counter, Deadline
from converter.sandbox import credentials
from converter.sandbox.server import Sandbox
from converter.services.base import ServiceSettings
from converter.services.kraken import Kraken
from tests.ledger.processes import open_and_migrate, run_at_once

WINDOW = 10_000_000
"""Ten seconds, in the microseconds that the nonces count."""
KEYS = {"api_key": credentials.KRAKEN_API_KEY, "private_key": credentials.KRAKEN_PRIVATE_KEY}


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Given:
    """A counter that gives what it is told to."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = iter(numbers)

    def next(self, name: str, at_least: int) -> int:
        return next(self._numbers)


def service(url: str, counter: Counter | None = None) -> Kraken:
    return Kraken(ServiceSettings(f"{url}/kraken", KEYS, counter=counter), SystemClock())


def call_often(url: str, ledger: str, times: int) -> int:
    """Signed calls of one process, from two threads."""
    engine = create_engine(ledger)
    kraken = service(url, SqlCounter(engine))
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: kraken.check_credentials(Deadline.after(30)), range(times)))
    engine.dispose()
    return len(done)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Calls are counted off ten thousand times faster than there, so that only nonces can be in the way."""
    with Sandbox(speed=10_000, services=["kraken"]) as running:
        running.twins["kraken"].configure({"nonce_window": WINDOW})
        yield running
        assert running.problems == []


def run(sandbox: Sandbox, folder: Path, processes: int, times: int) -> None:
    ledger = f"sqlite:///{folder / 'ledger.db'}"
    open_and_migrate(ledger)
    done = run_at_once(call_often, [(sandbox.url, ledger, times)] * processes)
    assert done == [times] * processes, "a refused call raises"


def test_processes_and_threads_share_a_key(sandbox: Sandbox, tmp_path: Path) -> None:
    run(sandbox, tmp_path, 4, 50)


@pytest.mark.chaos
def test_eight_processes_share_a_key_for_long(sandbox: Sandbox, tmp_path: Path) -> None:
    run(sandbox, tmp_path, 8, 500)


def test_without_a_ledger_the_threads_of_a_process_share_a_key(sandbox: Sandbox) -> None:
    services = [service(sandbox.url) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        done = threads.map(lambda number: services[number % 2].check_credentials(Deadline.after(30)), range(100))
        assert len(list(done)) == 100


def test_calls_that_overtook_each_other_pass_within_the_window_of_the_key(sandbox: Sandbox) -> None:
    now = int(datetime.now(UTC).timestamp()) * 1_000_000
    kraken = service(sandbox.url, Given(now, now - WINDOW + 1, now - WINDOW))
    kraken.check_credentials(Deadline.after(5))
    kraken.check_credentials(Deadline.after(5))
    with pytest.raises(ServiceUnavailable, match="Invalid nonce"):
        kraken.check_credentials(Deadline.after(5))


def test_without_a_window_a_call_that_was_overtaken_is_refused_and_not_executed(sandbox: Sandbox) -> None:
    sandbox.twins["kraken"].configure({"nonce_window": 0})
    kraken = service(sandbox.url, Given(200, 100, 201))
    kraken.check_credentials(Deadline.after(5))
    with pytest.raises(ServiceUnavailable) as caught:
        kraken.check_credentials(Deadline.after(5))
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    kraken.check_credentials(Deadline.after(5))
