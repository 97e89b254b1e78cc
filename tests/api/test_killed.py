"""The HTTP server dies in the middle of many requests; whoever repeats them all has each conversion once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import requests

from converter.domain.bech32 import segwit_address
from converter.ledger.repository import open_ledger
from tests.api.front import CONVERSIONS
from tests.scenarios.world import until

REQUESTS, CLIENTS, KILLED_AFTER = 200, 6, 80
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}


class Server:
    """`converter api` on one ledger, and always on the same port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "converter.cli.main", "api", "--port", str(self._port), "--json"]
        environ = {**ENVIRON, "CONVERTER_HOME": str(self._home)}
        self._process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self.url = str(json.loads(self._process.stdout.readline())["api"])
        self._port = int(self.url.rsplit(":", 1)[1])
        until(self._answers, 30, "it answers")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


class Client:
    """A pool backend: a payout of its own for each key."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = Lock()
        self.answers: Counter[int] = Counter()

    def ask(self, number: int) -> tuple[int, str] | None:
        """Status and id, or None when nothing came back."""
        address = segwit_address("bc", 0, number.to_bytes(20, "big"))
        body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": f"1.{number:03}1", "address": address}
        headers = {"Idempotency-Key": f'"payout-{number}"'}
        try:
            answer = requests.post(self._server.url + CONVERSIONS, json=body, headers=headers, timeout=20)
            found: dict[str, Any] = answer.json()
        except requests.RequestException:
            return None
        with self._lock:
            self.answers[answer.status_code] += 1
        return answer.status_code, found["id"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    running.start()
    yield running
    running.kill()


def test_two_hundred_requests_over_a_death_are_two_hundred_conversions(server: Server, tmp_path: Path) -> None:
    first = Client(server)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(first.ask, number) for number in range(1, REQUESTS + 1)]
        until(lambda: first.answers[201] >= KILLED_AFTER, 60, "in the middle of it", pause=0.005)
        server.kill()
        before = [one.result() for one in asked]
    told = [one for one in before if one is not None]
    assert KILLED_AFTER <= len(told) < REQUESTS, "it died while requests were under way"
    assert {status for status, _ in told} == {201}
    server.start()
    again = Client(server)
    with ThreadPoolExecutor(CLIENTS) as pool:
        after = list(pool.map(again.ask, range(1, REQUESTS + 1)))
    assert all(one is not None and one[0] in (200, 201) for one in after)
    ids = [one[1] for one in after if one is not None]
    assert len(set(ids)) == REQUESTS
    for told_before, told_after in zip(before, after, strict=True):
        if told_before is not None:
            assert told_after == (200, told_before[1]), "the same key answers the same conversion"
    assert again.answers[200] >= len(told)
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger, ledger.begin() as work:
        kept = work.conversions.page(limit=10 * REQUESTS)
        events = work.outbox.after(0, limit=10 * REQUESTS)
    assert {one.id for one in kept} == set(ids)
    assert len(kept) == REQUESTS
    accepted = [one.conversion_id for one in events if one.name == "conversion:accepted"]
    assert sorted(map(str, accepted)) == sorted(ids), "each was told once"
