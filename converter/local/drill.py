"""A drill on the real stack: conversions under way while a service fails and the worker is killed."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import requests

from converter.bootstrap import build_operating
from converter.client import ConversionHandle, MultiServiceConverter
from converter.domain.bech32 import segwit_address
from converter.domain.conversions import Conversion, State
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.audit import compare
from converter.local.home import running_settings
from converter.local.relay import Track, run_relay
from converter.local.stack import Stack

Tell = Callable[[str], None]

FROM = {"ETH": Decimal("0.2"), "LTC": Decimal(8), "RVN": Decimal(32000)}
"""Coins that are converted to BTC, with the smallest amount; the largest is ten times that."""

_DARK_SECONDS = 8.0
_ENDED = 90.0


@dataclass(frozen=True)
class Report:
    """What the drill found. Latencies are from acceptance to settlement, in milliseconds."""

    facts: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Nothing paid twice, nothing lost, everything completed."""
        facts = self.facts
        return bool(facts["doubles"] == 0 and facts["lost"] == 0 and facts["completed"] == facts["conversions"])


class Drill:
    """Runs `count` conversions to BTC, each to an address of its own."""

    def __init__(self, stack: Stack, count: int, seed: int, tell: Tell) -> None:
        self._stack = stack
        self._count = count
        self._random = Random(seed)
        self._tell = tell
        self._sandbox = stack.sandbox_url or ""
        self._services: dict[str, Any] = {}
        self._ledger = open_ledger(stack.ledger_url)

    def run(self) -> Report:
        """Convert, fail, kill, recover, wait for the end, compare with the outside world."""
        ledger = self._ledger
        with MultiServiceConverter(home=self._stack.home) as converter:
            self._services = converter.get_stats()["services"]
            handles = self._relay()
            half = (self._count - len(handles)) // 2
            handles += [self._convert(converter) for _ in range(half)]
            self._tell(f"{half} conversions of {', '.join(FROM)} to BTC accepted")
            self._wait(lambda: self._completed(ledger) >= half // 4, 30.0)
            self._refuse_some()
            handles += [self._convert(converter) for _ in range((self._count - half) // 2)]
            self._break_service()
            handles += [self._convert(converter) for _ in range(self._count - len(handles))]
            self._tell(f"{self._count - half} more accepted")
            self._kill_worker(ledger)
            dark_until = time.monotonic() + _DARK_SECONDS
            self._wait(lambda: time.monotonic() > dark_until, _DARK_SECONDS + 1)
            self._mend()
            limit = _ENDED + self._count * 0.5
            self._wait(lambda: self._finished(ledger) == self._count, limit)
            report = self._report(ledger, handles, converter.get_stats())
        ledger.close()
        return report

    @property
    def _primaries(self) -> list[str]:
        return [service_id for service_id, one in self._services.items() if one["priority"] == 1]

    def _relay(self) -> list[ConversionHandle]:
        """All services are asked at once, so that each finds its turn however many are down.

        An operator opens the emergency tier for it, and afterwards closes the breakers instead of waiting for them.
        """
        laps = [self._address() for _ in self._services] if self._count >= 3 * len(self._services) else []
        track = Track(self._put, self._wait, self._tell, laps)
        operating = build_operating(running_settings({"home": self._stack.home}))
        operating.emergency(on=True)
        with MultiServiceConverter(home=self._stack.home, max_parallel_requests=len(self._services)) as converter:
            handles = run_relay(converter, self._services, track)
        operating.emergency(on=False)
        self._slow_executions()
        for service_id in self._services:
            operating.recover(service_id)
        return handles

    def _address(self) -> str:
        return segwit_address("bc", 0, self._random.randbytes(20))

    def _convert(self, converter: MultiServiceConverter) -> ConversionHandle:
        coin, least = self._random.choice(list(FROM.items()))
        amount = least * self._random.randint(100, 1000) / 100
        return converter.convert(from_coin=coin, to_coin="BTC", amount=amount, address=self._address())

    def _slow_executions(self) -> None:
        """Let every call take a moment, as in the real world, so that the kill finds some of them under way."""
        for service_id in self._services:
            self._put(f"faults/{service_id}", {"kind": "latency", "latency_ms": 80, "jitter_ms": 60})

    def _refuse_some(self) -> None:
        for service_id in self._primaries:
            self._put(f"faults/{service_id}", {"kind": "refuse", "operations": ["order"], "count": 2})
        self._tell("the primary services refuse two orders each")

    def _break_service(self) -> None:
        """Once an order was refused, one service goes dark."""
        self._wait(lambda: self._failovers() > 0, 10.0)
        self._put(f"faults/{self._primaries[0]}", {"kind": "down"})
        self._tell(f"{self._primaries[0]} is down")

    def _failovers(self) -> int:
        with self._ledger.begin() as work:
            found: int = work.statistics()["failovers"]
        return found

    def _kill_worker(self, ledger: SqlLedger) -> None:
        """kill -9 while executions are under way, and start again."""
        self._wait(lambda: len(self._in_state(ledger, State.EXECUTING)) > 0, 20.0)
        under_way = len(self._in_state(ledger, State.EXECUTING, State.QUOTING))
        worker = self._stack.workers[0]
        worker.kill()
        self._tell(f"worker killed (kill -9) with {under_way} conversions in its hands; starting it again")
        worker.restart_if_dead()

    def _mend(self) -> None:
        requests.delete(f"{self._sandbox}/_sandbox/faults", timeout=5)
        self._tell(f"{self._primaries[0]} is back")

    def _wait(self, condition: Callable[[], bool], limit: float) -> None:
        """Watch over the stack until a condition holds or the time is over."""
        end = time.monotonic() + limit
        while not condition() and time.monotonic() < end:
            for line in self._stack.watch():
                self._tell(line)
            time.sleep(0.1)

    def _in_state(self, ledger: SqlLedger, *states: State) -> list[Conversion]:
        with ledger.begin() as work:
            return work.conversions.page(states=states, limit=self._count)

    def _completed(self, ledger: SqlLedger) -> int:
        return len(self._in_state(ledger, State.COMPLETED))

    def _finished(self, ledger: SqlLedger) -> int:
        ended = (State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED, State.NEEDS_REVIEW)
        return len(self._in_state(ledger, *ended))

    def _put(self, path: str, content: dict[str, Any]) -> None:
        requests.put(f"{self._sandbox}/_sandbox/{path}", json=content, timeout=5).raise_for_status()

    def _report(self, ledger: SqlLedger, handles: list[ConversionHandle], stats: dict[str, Any]) -> Report:
        truth = requests.get(f"{self._sandbox}/_sandbox/truth", timeout=30).json()
        with ledger.begin() as work:
            conversions = [work.conversions.get(handle.id) for handle in handles]
        verdict = compare(conversions, truth["deliveries"])
        times = sorted(_milliseconds(one) for one in conversions if one.state is State.COMPLETED)
        cuts = statistics.quantiles(times, n=20) if len(times) > 1 else [*times, 0.0] * 20
        count = {state: sum(one.state is state for one in conversions) for state in State}
        return Report(
            {
                "conversions": len(conversions),
                "completed": count[State.COMPLETED],
                "failed": count[State.FAILED] + count[State.CANCELLED] + count[State.EXPIRED],
                "in_review": count[State.NEEDS_REVIEW],
                "failovers": stats["failovers"],
                "doubles": verdict.doubles,
                "lost": verdict.lost,
                "deliveries": len(truth["deliveries"]),
                "worker_kills": 1,
                "pairs": dict(Counter(f"{one.request.from_asset}->{one.request.to_asset}" for one in conversions)),
                "p50_ms": round(cuts[9]),
                "p95_ms": round(cuts[18]),
                "by_service": {service_id: _service_facts(one) for service_id, one in stats["services"].items()},
            }
        )


def _milliseconds(conversion: Conversion) -> float:
    end = conversion.completed_at or conversion.updated_at
    return (end - conversion.created_at).total_seconds() * 1000


def _service_facts(stats: dict[str, Any]) -> dict[str, Any]:
    return {
        "quotes": stats["quotes"],
        "executions": stats["executions"],
        "failures": stats["quoteFailures"] + stats["refused"],
        "failovers": stats["refused"],
        "mean_ms": stats["averageResponseTime"],
    }
