"""Two regions on one ledger, the ledger's host and the outside world, each in a network namespace of its own.

In each region run Redis, a worker and beat, as `converter up` starts them, and a pool backend that asks for
conversions. The harness itself looks at the ledger and at the outside world from where they are, over no cable.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import requests
import sqlalchemy as sa

from converter import MultiServiceConverter
from converter.domain.bech32 import segwit_address
from converter.domain.conversions import Conversion, State
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.processes import Child
from converter.local.sandbox_config import sandbox_environment, write_sandbox_config
from converter.local.stack import Stack, StackOptions
from tests.own_postgres import OwnPostgres, postgres_folder
from tests.partitions.network import Network, Place, network

REGIONS = ("a", "b")
CABLES = [(region, far) for far in ("ledger", "outside") for region in REGIONS]
SERVICES = ("btcpay_lightning", "changenow", "binance")
"""One of each kind: approval, deposit, exchange."""

SLOW = {"btcpay_lightning": ["approve"], "evm": ["send"], "binance": ["order", "withdraw"]}
"""Calls that move money take seconds, so that cuts find some of them under way: executed, and the answer lost."""

LEASE = 6.0
_PORT = 8099
_ENDED = {State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED, State.NEEDS_REVIEW}


class Region:
    """A place with everything that converts."""

    def __init__(self, place: Place, home: Path) -> None:
        self.place, self.home = place, home
        self.asked = 0
        self.repeats = 0
        """How often an acceptance was uncertain or refused, and asked for again under the same key."""
        self.stopped: list[tuple[float, float]] = []
        """When its worker stood still."""
        self.said: list[str] = []
        self._stack: Stack | None = None

    @property
    def stack(self) -> Stack:
        assert self._stack is not None
        return self._stack

    def start(self, ledger_port: int) -> None:
        """Start Redis, worker and beat there."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
        self.home.mkdir(parents=True)
        with self.place.inside():
            outside = f"http://{self.place.addresses['outside']}:{_PORT}"
            config = write_sandbox_config(self.home, outside, SERVICES)
            environ = {
                **kept,
                **sandbox_environment(),
                "CONVERTER_CONFIG": str(config),
                "CONVERTER_LEDGER_URL": f"postgresql://postgres@{self.place.addresses['ledger']}:{ledger_port}/postgres",
                "CONVERTER_ENGINE__LEASE": str(round(LEASE * 1000)),
            }
            options = StackOptions(celery=("tests.partitions.timed", "-A", "workers.app"))
            self._stack = Stack(self.home, environ, options=options)
            self._stack.start()

    def watch(self) -> None:
        """Start again what died, as `converter up` does."""
        with self.place.inside():
            self.said += self.stack.watch()

    def signal_worker(self, sign: signal.Signals) -> None:
        pid = self.stack.workers[0].pid
        if pid is not None and self.stack.workers[0].is_alive:
            os.kill(pid, sign)

    def stop(self) -> None:
        if self._stack is not None:
            self.signal_worker(signal.SIGCONT)
            self._stack.stop()

    def ask(self, count: int, pause: float, seed: int) -> None:
        """The pool backend: asks for conversions at a steady pace, and again under the same key while it is not told
        that one was accepted."""
        chance = Random(f"{seed} {self.place.name}")
        with self.place.inside(), ExitStack() as closing:
            backends = [closing.enter_context(self._backend(first)) for first in SERVICES]
            for number in range(count):
                self._ask_until_accepted(chance.choice(backends), f"{self.place.name}-{number}", chance)
                self.asked += 1
                threading.Event().wait(pause)

    def _backend(self, first: str) -> MultiServiceConverter:
        """One whose conversions are attempted at this service first, with the others ready behind it."""
        others = [one for one in SERVICES if one != first]
        services: list[dict[str, Any]] = [{"id": first, "priority": 1, "weight": 1}]
        services += [{"id": one, "priority": 2, "weight": Decimal("0.5")} for one in others]
        return MultiServiceConverter(
            services=services, home=self.home, max_rate_difference="0.1", max_parallel_requests=len(SERVICES)
        )

    def _ask_until_accepted(self, backend: MultiServiceConverter, key: str, chance: Random) -> None:
        address = segwit_address("bc", 0, chance.randbytes(20))
        while True:
            try:
                backend.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=address, idempotency_key=key)
            except sa.exc.DBAPIError:
                self.repeats += 1
                threading.Event().wait(0.2)
            else:
                return

    def longest_wait(self) -> float:
        """The longest transaction of its worker, without the time in which the worker was stopped."""
        file = self.home / "waits"
        waits = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return max((self._net(began, over) for began, over, _ in waits), default=0.0)

    def _net(self, began: float, over: float) -> float:
        asleep, until = 0.0, began
        for start, end in sorted(self.stopped):  # which may overlap
            asleep += max(0.0, min(over, end) - max(until, start))
            until = max(until, min(over, end))
        return over - began - asleep


class Regions:
    """All of it, running."""

    def __init__(self, net: Network, folder: Path, server: OwnPostgres, sandbox: Child) -> None:
        self.net = net
        self.server = server
        self.regions = {name: Region(net.places[name], folder / name) for name in REGIONS}
        self._sandbox = sandbox
        self._ledger: SqlLedger | None = None

    def start(self) -> None:
        """Outside world and ledger first."""
        with self.net.places["outside"].inside():
            process = self._sandbox.start(stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline(), self._sandbox.log_tail()
            for party, operations in SLOW.items():
                url = f"http://127.0.0.1:{_PORT}/_sandbox/faults/{party}"
                slow = {"kind": "latency", "latency_ms": 2000, "jitter_ms": 1500, "operations": operations}
                requests.put(url, json=slow, timeout=5).raise_for_status()
        with self.net.places["ledger"].inside():
            self.server.start()
            self._ledger = open_ledger(self.server.url(), migrate=True)
        for region in self.regions.values():
            region.start(self.server.port)

    def stop(self) -> None:
        """Senders first."""
        self.net.heal()
        for region in self.regions.values():
            region.stop()
        if self._ledger is not None:
            self._ledger.close()
        self._sandbox.stop()
        self.server.stop()

    def conversions(self, *states: State) -> list[Conversion]:
        """From the ledger itself; all when no state is named."""
        assert self._ledger is not None
        with self.net.places["ledger"].inside(), self._ledger.begin() as work:
            return work.conversions.page(states=states, limit=100_000)

    def open(self) -> list[Conversion]:
        """Neither ended nor parked for a person."""
        return self.conversions(*(state for state in State if state not in _ENDED))

    def now(self) -> float:
        """The ledger's clock."""
        assert self._ledger is not None
        with self.net.places["ledger"].inside():
            return self._ledger.now().timestamp()

    def deliveries(self) -> Sequence[dict[str, Any]]:
        """What the outside world paid, by its own record."""
        with self.net.places["outside"].inside():
            found: dict[str, Any] = requests.get(f"http://127.0.0.1:{_PORT}/_sandbox/truth", timeout=60).json()
        return list(found["deliveries"])

    def watch(self) -> None:
        for region in self.regions.values():
            region.watch()


@contextmanager
def running_regions(folder: Path) -> Iterator[Regions]:
    """Start everything; whatever happens, nothing of it stays."""
    words = ["sandbox", "--host", "0.0.0.0", "--port", str(_PORT), "--speed", "5", "--json"]
    argv = [sys.executable, "-m", "converter.cli.main", *words]
    sandbox = Child("sandbox", argv, os.environ, folder / "sandbox.log")
    with network([*REGIONS, "ledger", "outside"], CABLES) as net, postgres_folder() as data:
        regions = Regions(net, folder, OwnPostgres(data, "0.0.0.0", 5432), sandbox)
        try:
            regions.start()
            yield regions
        finally:
            regions.stop()


def stamp() -> float:
    """The clock that workers note their waits by."""
    return time.time()
