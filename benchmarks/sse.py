"""How late events arrive at many streams of one API process, and what that costs Redis: nothing.

python benchmarks/sse.py                 # 500 clients, 100 events
python benchmarks/sse.py 50 40 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from converter.domain.events import SERVICE_FAILURE, Event
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.redis_server import start_redis

PATIENCE = 60.0


@dataclass
class Stream:
    """One client: the events that it got, and when."""

    arrivals: dict[int, float] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    async def follow(self, port: int, ready: asyncio.Semaphore, wanted: int) -> None:
        """Read until so many events came. HTTP/1.0, so that the body comes without chunks."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/v1/events HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        began = False
        while len(self.order) < wanted:
            line = await reader.readline()
            if not line:
                raise ConnectionError(f"cut after {len(self.order)} events")
            if line.startswith(b"id: ") and not began:
                began = True
                ready.release()
            if line.startswith(b"data: "):
                number = json.loads(line[6:])["payload"]["failures"]
                self.arrivals[number] = time.monotonic()
                self.order.append(number)
        writer.close()


@dataclass(frozen=True)
class Measured:
    """Delays in ms from commit to arrival, over all clients and events."""

    clients: int
    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    in_order: bool


def tell(ledger: SqlLedger, count: int, pause: float) -> dict[int, float]:
    """Commit so many events; returns when each was."""
    committed = {}
    for number in range(count):
        with ledger.begin() as work:
            work.outbox.add(Event(SERVICE_FAILURE, {"serviceId": "alpha", "failures": number}))
        committed[number] = time.monotonic()
        threading.Event().wait(pause)
    return committed


async def measure(port: int, ledger: SqlLedger, clients: int, events: int, pause: float = 0.05) -> Measured:
    """Open the streams, wait until all have begun, commit events, and wait for the last arrival."""
    ready = asyncio.Semaphore(0)
    streams = [Stream() for _ in range(clients)]
    async with asyncio.timeout(PATIENCE):
        tasks = [asyncio.create_task(one.follow(port, ready, events)) for one in streams]
        for _ in range(clients):
            await ready.acquire()
        committed = await asyncio.to_thread(tell, ledger, events, pause)
        await asyncio.gather(*tasks)
    delays = sorted(1000 * (one.arrivals[number] - moment) for one in streams for number, moment in committed.items())
    return Measured(
        clients=clients,
        events=events,
        p50_ms=round(statistics.median(delays), 1),
        p99_ms=round(delays[int(len(delays) * 0.99)], 1),
        max_ms=round(delays[-1], 1),
        in_order=all(one.order == sorted(one.order) for one in streams),
    )


def serve(home: Path, redis_url: str) -> tuple[subprocess.Popen[bytes], int]:
    """`converter serve` on a free port."""
    words = [sys.executable, "-m", "converter.cli.main", "serve", "--port", "0", "--json"]
    environ = {**os.environ, "CONVERTER_HOME": str(home), "CONVERTER_REDIS_URL": redis_url}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE)  # noqa: S603  our own program
    line = process.stdout.readline() if process.stdout is not None else b""
    return process, int(json.loads(line)["api"].rpartition(":")[2])


def run(clients: int, events: int) -> dict[str, object]:
    """Measure on a server, a Redis and a ledger of our own."""
    with tempfile.TemporaryDirectory(prefix="converter-bench-") as folder:
        home = Path(folder)
        redis = start_redis(home, os.environ)
        ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}", migrate=True)
        process, port = serve(home, redis.url)
        try:
            with Redis.from_url(redis.url) as client:
                connections: list[int] = []
                watching = threading.Event()

                def watch() -> None:
                    while not watching.wait(0.2):
                        connections.append(len(client.client_list()) - 1)

                watcher = threading.Thread(target=watch)
                watcher.start()
                found = asyncio.run(measure(port, ledger, clients, events))
                watching.set()
                watcher.join()
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            ended = time.monotonic() - began
        finally:
            process.kill()
            process.wait()
            ledger.close()
            redis.stop()
    return {**vars(found), "redis_connections": max(connections, default=0), "end_s": round(ended, 2)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="?", type=int, default=500)
    parser.add_argument("events", nargs="?", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    facts = run(given.clients, given.events)
    if given.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
