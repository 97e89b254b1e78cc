"""Callbacks end to end: the sandbox's own, signed as the service signs, over a real socket into our real server."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from converter.api.app import create_app
from converter.api.callbacks import Listener
from converter.api.wiring import make_parts
from converter.bootstrap import Engine, build_engine
from converter.desk import Next
from converter.domain.conversions import Conversion, State
from converter.domain.intake import read_request
from converter.ledger.repository import open_ledger
from converter.ledger.tables import metadata
from converter.local.sandbox_config import sandbox_environment, write_sandbox_config
from converter.sandbox import credentials
from converter.sandbox.server import Sandbox
from converter.security.keys import EnvironmentKeys
from converter.services.callbacks import CallbackHint
from converter.settings import load_settings
from tests.builders import BTC_ADDRESS, an_id

SERVICES = ("coinpayments", "simpleswap")
DEPOSITED = ("simpleswap",)
POLL = 60_000
"""Milliseconds until an order is looked at again without a callback: longer than any of these tests."""


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class Served:
    """Our HTTP server on a free port, in a thread."""

    def __init__(self) -> None:
        self._config = uvicorn.Config(lambda: None, port=0, log_level="warning", lifespan="off")
        self._socket = self._config.bind_socket()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self, app: Any) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the server starts")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()


class Pool:
    """One service in the sandbox, an engine that converts there, and the server that hears of it."""

    def __init__(self, service_id: str, sandbox: Sandbox, home: Path, served: Served) -> None:
        self.service_id, self.sandbox, self.served = service_id, sandbox, served
        self.hints: deque[tuple[str, str]] = deque()
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.url = f"{served.url}/callbacks/{service_id}"
        file = write_sandbox_config(home, sandbox.url, [service_id])
        content = json.loads(file.read_text())
        content["engine"].update(poll=POLL, pollLimit=POLL)
        if service_id not in DEPOSITED:
            content["wallets"] = {}
        for entry in content["services"]:
            entry["enabled"] = entry["id"] == service_id
            if entry["enabled"]:
                entry["options"] = {**entry["options"], "callbackUrl": self.url}
        file.write_text(json.dumps(content))
        settings = load_settings(config=file, home=home)
        environ = sandbox_environment()
        environ["CONVERTER_KEY_SIMPLESWAP_CALLBACK_SECRET"] = credentials.SIMPLESWAP_WEBHOOK_SECRET
        keys = EnvironmentKeys(environ)
        open_ledger(settings.ledger, migrate=True).close()
        self.engine: Engine = build_engine(settings, keys)
        parts = make_parts(settings, keys, self.engine.ledger, self._send)
        listeners = {service_id: self._recorded(parts.listeners[service_id])}
        served.start(create_app(replace(parts, listeners=listeners)))
        sandbox.twins[service_id].configure({"callback_url": self.url})

    def _recorded(self, listen: Listener) -> Listener:
        def recording(headers: Mapping[str, str], body: bytes, token: str) -> CallbackHint:
            hint = listen(headers, body, token)
            signature = {name: text for name, text in headers.items() if name.startswith("x-")}
            self.heard.append((signature, body))
            return hint

        return recording

    def _send(self, task: str, conversion_id: str) -> bool:
        self.hints.append((task, conversion_id))
        return True

    def convert(self) -> str:
        """Accept a conversion and take it to where only the service has something to do."""
        fields = {"from_coin": "ETH", "to_coin": "BTC", "amount": "1.5", "address": BTC_ADDRESS}
        with self.engine.ledger.begin() as work:
            conversion_id = work.conversions.add(an_id(), read_request(fields), work.now()).id
        plan = self.engine.planning.start(conversion_id)
        assert plan is not None
        for group in plan.groups:
            self.engine.quoting.ask(plan.conversion_id, plan.round, group)
        assert self.engine.selecting.select(conversion_id, plan.round) is Next.EXECUTE
        following = self.engine.execution.execute(conversion_id)
        while following is not None:
            assert following is Next.SETTLE
            following = self.engine.settlement.settle(conversion_id)
        conversion = self.get(conversion_id)
        assert conversion.state is State.SETTLING, (conversion.state, conversion.reason)
        return conversion_id

    def work(self, conversion_id: str) -> bool:
        """What the workers and beat do, once; whether the conversion is completed."""
        with self.engine.ledger.begin() as work:
            now = work.now()
        conversion = self.get(conversion_id)
        if self.hints or (conversion.due_at is not None and conversion.due_at <= now):
            self.hints.clear()
            self.engine.settlement.settle(conversion_id)
        return self.get(conversion_id).state is State.COMPLETED

    def get(self, conversion_id: str) -> Conversion:
        with self.engine.ledger.begin() as work:
            return work.conversions.get(conversion_id)

    def contents(self) -> Any:
        """Everything in the ledger except due times."""
        with self.engine.ledger.engine.begin() as connection:
            tables = {table.name: connection.execute(table.select()).mappings() for table in metadata.sorted_tables}
            return {
                name: [{key: value for key, value in row.items() if key != "due_at"} for row in rows]
                for name, rows in tables.items()
            }

    def fault(self, kind: str, **more: Any) -> None:
        url = f"{self.sandbox.url}/_sandbox/faults/{self.service_id}"
        requests.put(url, json={"kind": kind, **more}, timeout=5).raise_for_status()

    @property
    def outcomes(self) -> list[str]:
        """What our server answered to the callbacks so far."""
        return [outcome for _, _, outcome in self.sandbox.callbacks.log]

    @property
    def deliveries(self) -> list[Any]:
        return [one for one in self.sandbox.truth.deliveries if one["address"] == BTC_ADDRESS]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        yield running
        assert running.problems == []


@pytest.fixture(params=SERVICES)
def pool(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> Iterator[Pool]:
    served = Served()
    pool = Pool(request.param, sandbox, tmp_path, served)
    yield pool
    served.stop()
    pool.engine.ledger.close()


def test_callbacks_bring_a_conversion_to_its_end_long_before_it_would_be_looked_at(pool: Pool) -> None:
    conversion_id = pool.convert()
    until(lambda: pool.work(conversion_id), "completed through callbacks")
    assert set(pool.outcomes) == {"200"}
    assert len(pool.deliveries) == 1


@pytest.mark.parametrize("kind", ["duplicate_callback", "out_of_order_callback"])
def test_doubled_and_disordered_callbacks_change_nothing_but_a_due_time(pool: Pool, kind: str) -> None:
    pool.fault(kind)
    conversion_id = pool.convert()
    before = pool.contents()
    until(lambda: pool.deliveries, "paid out")
    until(lambda: len(pool.outcomes) >= 3, "callbacks came")
    assert set(pool.outcomes) == {"200"}
    assert pool.contents() == before, "no worker has looked yet"
    until(lambda: pool.work(conversion_id), "completed by settlement")
    assert len(pool.deliveries) == 1
    after = pool.contents()
    for headers, body in list(pool.heard):
        assert requests.post(pool.url, body, headers=headers, timeout=5).status_code == 200
    assert pool.contents() == after, "replayed, and the conversion is over"


def test_a_callback_that_somebody_else_signed_is_refused(pool: Pool) -> None:
    conversion_id = pool.convert()
    with pool.engine.ledger.begin() as work:
        order_id = str(work.attempts.of(conversion_id)[0].service_order_id)
    before, heard = pool.contents(), len(pool.heard)
    wallet, _, request = order_id.partition("/")
    forged = {"publicId": order_id, "messageId": "1", "status": "finished", "signature": "0" * 40}
    body = json.dumps({**forged, "walletId": wallet, "spendRequestId": request}).encode()
    headers = {
        "X-CoinPayments-Client": credentials.COINPAYMENTS_CLIENT_ID,
        "X-CoinPayments-Timestamp": "2026-01-15T10:30:00",
        "X-CoinPayments-Signature": "GJuE3/aO+P4/tXXPWB/sLY+wkSRdTwU0TinFDM7RnPg=",
    }
    assert requests.post(pool.url, body, headers=headers, timeout=5).status_code == 401
    assert pool.contents() == before
    assert all(other != body for _, other in pool.heard[heard:]), "only the service's own callbacks are heard"


def test_a_body_over_the_limit_is_cut_off_at_the_socket(pool: Pool) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 65_536

    try:
        status = requests.post(pool.url, endless(), timeout=10).status_code
    except requests.ConnectionError:
        status = 413  # it hung up while we were still sending
    assert status == 413
    assert requests.get(f"{pool.served.url}/healthz", timeout=5).json() == {"status": "ok"}
