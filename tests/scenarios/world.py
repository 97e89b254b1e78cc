"""A real system to put under fire: Redis, sandbox, worker and beat as processes, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import requests

from converter import MultiServiceConverter
from converter.bootstrap import build_operating
from converter.client import ConversionHandle
from converter.domain.bech32 import segwit_address
from converter.domain.conversions import Attempt, Conversion, Operation, State
from converter.domain.events import Event
from converter.domain.evm import eip55
from converter.domain.transfers import Transfer
from converter.ledger.repository import open_ledger
from converter.local.audit import Verdict, compare
from converter.local.home import running_settings
from converter.local.stack import Stack, StackOptions
from converter.services import REGISTRY

ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED, State.NEEDS_REVIEW)
SERVICES = ("btcpay_lightning", "changenow", "binance")
ALL_SERVICES = tuple(sorted(REGISTRY))


def until(condition: Callable[[], Any], limit: float, what: str | Callable[[], str], pause: float = 0.1) -> Any:
    """Wait for a condition; fail with `what` (or what it tells by then) when it does not come true."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"{what if isinstance(what, str) else what()}: not within {limit} s")
        time.sleep(pause)


class World:
    """The running system, and what a test does to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.converter = MultiServiceConverter(home=stack.home)
        self.handles: list[ConversionHandle] = []
        self._chance = Random(int.from_bytes(os.urandom(8), "big"))
        self._ledger = open_ledger(stack.ledger_url)

    def close(self) -> None:
        """Give connections back."""
        self.converter.close()
        self._ledger.close()

    def address(self, coin: str = "BTC") -> str:
        """An address that no other conversion uses."""
        drawn = self._chance.randbytes(20)
        return eip55(f"0x{drawn.hex()}") if coin == "ETH" else segwit_address("bc", 0, drawn)

    def preferring(self, service_id: str, among: Sequence[str] = SERVICES) -> MultiServiceConverter:
        """A converter that attempts one service first, with the others ready behind it."""
        others = [one for one in among if one != service_id]
        weights = {one: Decimal("0.1") for one in others}
        weights[others[0]] += 1 - sum(weights.values())
        services: list[dict[str, Any]] = [{"id": service_id, "priority": 1, "weight": 1}]
        services += [{"id": one, "priority": 2, "weight": weight} for one, weight in weights.items()]
        return MultiServiceConverter(
            services=services, home=self.stack.home, max_rate_difference="0.1", max_parallel_requests=len(among)
        )

    def convert(self, count: int = 1, amount: str = "0.5", **settings: Any) -> list[ConversionHandle]:
        """Accept conversions ETH -> BTC, each to an address of its own."""
        made = [
            self.converter.convert(
                from_coin="ETH", to_coin="BTC", amount=Decimal(amount), address=self.address(), **settings
            )
            for _ in range(count)
        ]
        self.handles += made
        return made

    def conversions(self) -> list[Conversion]:
        """All conversions of this test as the ledger has them."""
        return [handle.details() for handle in self.handles]

    def wait_until_ended(self, limit: float = 90.0) -> list[Conversion]:
        """Wait for the end of all, watching over the stack as `converter up` does."""

        def ended() -> bool:
            self.stack.watch()
            return all(one.state in ENDED for one in self.conversions())

        until(
            ended,
            limit,
            f"all ended {[(one.state, one.reason) for one in self.conversions() if one.state not in ENDED]}",
        )
        return self.conversions()

    def fault(self, service_id: str, kind: str, **more: Any) -> None:
        """Set one fault on a service of the outside world."""
        url = f"{self.stack.sandbox_url}/_sandbox/faults/{service_id}"
        requests.put(url, json={"kind": kind, **more}, timeout=5).raise_for_status()

    def strike(self, service_id: str, faults: Sequence[Mapping[str, Any]]) -> None:
        """Set several faults on a service, the first that still strikes wins."""
        url = f"{self.stack.sandbox_url}/_sandbox/faults/{service_id}"
        requests.put(url, json={"faults": list(faults)}, timeout=5).raise_for_status()

    def faults(self, service_id: str) -> list[dict[str, Any]]:
        """The faults of a service; `struck` says how often each acted."""
        url = f"{self.stack.sandbox_url}/_sandbox/faults/{service_id}"
        found: list[dict[str, Any]] = requests.get(url, timeout=5).json()["faults"]
        return found

    def configure(self, service_id: str, **settings: Any) -> None:
        """Set how a service or a chain of the outside world behaves."""
        url = f"{self.stack.sandbox_url}/_sandbox/services/{service_id}"
        requests.put(url, json=settings, timeout=5).raise_for_status()

    def attempts(self, conversion_id: str) -> list[Attempt]:
        """The attempts of a conversion, first to last."""
        with self._ledger.begin() as work:
            return work.attempts.of(conversion_id)

    def operations(self, attempt: Attempt) -> list[Operation]:
        """The operations of an attempt, first to last."""
        with self._ledger.begin() as work:
            return work.attempts.operations(attempt.id)

    def transfer(self, operation: Operation) -> Transfer | None:
        """The stored payment of an operation."""
        with self._ledger.begin() as work:
            return work.transfers.of(operation)

    def converting_to(self, address: str) -> list[Conversion]:
        """Every conversion in the ledger that delivers there, whoever asked for it."""
        with self._ledger.begin() as work:
            return [one for one in work.conversions.page(limit=1000) if one.request.address == address]

    def market(self) -> dict[str, Any]:
        """The prices of the outside world."""
        found: dict[str, Any] = requests.get(f"{self.stack.sandbox_url}/_sandbox/market", timeout=5).json()
        return found

    def set_market(self, **settings: Any) -> None:
        """Move the prices of the outside world."""
        requests.put(f"{self.stack.sandbox_url}/_sandbox/market", json=settings, timeout=5).raise_for_status()

    def told(self) -> list[Event]:
        """All events, oldest first."""
        with self._ledger.begin() as work:
            return work.outbox.after(0, limit=100_000)

    def checked(self) -> set[str]:
        """Services whose health was checked."""
        with self._ledger.begin() as work:
            return set(work.memory.checks())

    def now(self) -> datetime:
        """The ledger's clock."""
        return self._ledger.now()

    def events(self, conversion_id: str) -> list[Event]:
        """What was told of a conversion, oldest first."""
        with self._ledger.begin() as work:
            return [one for one in work.outbox.after(0, limit=100_000) if one.conversion_id == conversion_id]

    def recover(self) -> None:
        """An operator closes all breakers, instead of waiting for them."""
        operating = build_operating(running_settings({"home": self.stack.home}))
        for service_id in self.converter.get_stats()["services"]:
            operating.recover(service_id)

    def mend(self) -> None:
        """Clear all faults."""
        requests.delete(f"{self.stack.sandbox_url}/_sandbox/faults", timeout=5).raise_for_status()

    def truth(self) -> dict[str, list[dict[str, Any]]]:
        """What the outside world did, by its own record."""
        found: dict[str, list[dict[str, Any]]] = requests.get(
            f"{self.stack.sandbox_url}/_sandbox/truth", timeout=10
        ).json()
        return found

    def deliveries_to(self, address: str) -> list[dict[str, Any]]:
        """Payments that reached an address."""
        return [one for one in self.truth()["deliveries"] if one["address"] == address]

    def asked_to_execute(self, conversion_id: str) -> set[str]:
        """Services that executed anything under a reference of this conversion."""
        mark = conversion_id.removeprefix("cv_")
        return {
            one["service_id"] for one in self.truth()["executions"] if str(one.get("reference") or "").startswith(mark)
        }

    def verdict(self) -> Verdict:
        """Ledger against truth."""
        ours = {one.request.address for one in self.conversions()}
        deliveries = [one for one in self.truth()["deliveries"] if one["address"] in ours]
        return compare(self.conversions(), deliveries)

    def assert_all_completed_once(self) -> None:
        """Everything completed, nothing paid twice, nothing lost."""
        states = [(one.id, one.state, one.reason) for one in self.conversions() if one.state is not State.COMPLETED]
        assert states == []
        assert self.verdict() == Verdict(doubles=0, unpaid=0, phantom=0, unfinished=0)


@contextmanager
def running_world(
    home: Path,
    *,
    only: Sequence[str] = SERVICES,
    celery: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **multi_service: Any,
) -> Iterator[World]:
    """Start a system with some of the services enabled; `celery` is the module that runs as the worker, and what else
    is named are settings of `multiService`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    stack = Stack(
        home,
        {**kept, **(environ or {})},
        sandbox=True,
        options=StackOptions(sandbox_speed=5.0, services=only, celery=tuple(celery), multi_service=multi_service),
    )
    stack.start()
    world = World(stack)
    try:
        yield world
    finally:
        world.close()
        stack.stop()


def command(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `converter …` as a user would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    return subprocess.run(
        [sys.executable, "-m", "converter.cli.main", *words],
        env={**kept, "CONVERTER_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def last_json(output: str) -> dict[str, Any]:
    """The JSON object on the last line."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found
