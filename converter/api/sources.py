"""Reads the ledger and the broker for `/metrics`: at most every two seconds, and never for longer than it may take.

A read that is not there in time goes on by itself. Until it ends no other is begun, and what it was to tell is left
out.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")

KEPT = 2.0
"""Seconds for which what was read is good."""

WITHIN = 0.4
"""Seconds that one scrape waits for it."""

_ANSWER = 0.3


class Source(Generic[T]):
    """Something that is read now and then. Shared by threads. `expected`: errors that mean that it is away.

    What was read is good for `kept` seconds, and up to `stale` seconds while it is read anew.
    """

    def __init__(
        self,
        read: Callable[[], T],
        expected: tuple[type[Exception], ...],
        *,
        kept: float = KEPT,
        within: float = WITHIN,
        stale: float = 0.0,
    ) -> None:
        self.errors = 0
        """Reads that failed."""
        self._read = read
        self._expected = expected
        self._kept = kept
        self._within = within
        self._stale = stale
        self._lock = threading.Lock()
        self._flight: threading.Event | None = None
        self._known: tuple[float, T] | None = None

    def get(self) -> T | None:
        """What was read last, a moment ago or now; None while it is away."""
        known = self._younger(self._kept)
        if known is not None:
            return known
        with self._lock:
            flight = self._flight
            if flight is None or flight.is_set():
                flight = self._flight = threading.Event()
                threading.Thread(target=self._run, args=(flight,), name="figures", daemon=True).start()
        flight.wait(self._within)
        return self._younger(max(self._kept, self._stale))

    def _younger(self, seconds: float) -> T | None:
        known = self._known
        return known[1] if known is not None and time.monotonic() - known[0] <= seconds else None

    def _run(self, flight: threading.Event) -> None:
        try:
            self._known = (time.monotonic(), self._read())
        except self._expected:
            self.errors += 1
        finally:
            flight.set()


@dataclass(frozen=True)
class Queued:
    """`depth`: messages that wait; `age`: seconds since the oldest of them was sent, None when that is not known."""

    depth: int
    age: float | None


@dataclass(frozen=True)
class Traffic:
    """What waits at the broker. `sweep_age`: seconds since the last sweep, None when there was none for long."""

    queues: dict[str, Queued]
    in_hand: int
    sweep_age: float | None


class Broker:
    """Looks at the queues. Shared by threads. Raises RedisError, OSError."""

    def __init__(self, redis_url: str, queues: Sequence[str], pulse: str) -> None:
        self._redis_url = redis_url
        self._queues = tuple(queues)
        self._pulse = pulse

    @cached_property
    def _client(self) -> Redis:
        return Redis.from_url(
            self._redis_url, socket_timeout=_ANSWER, socket_connect_timeout=_ANSWER, retry=Retry(NoBackoff(), 0)
        )

    def look(self) -> Traffic:
        """One look, in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for queue in self._queues:
            pipe.llen(queue)
            pipe.lindex(queue, -1)
        pipe.hlen("unacked")
        pipe.get(self._pulse)
        *told, in_hand, pulse = pipe.execute()
        now = time.time()
        queues = {
            queue: Queued(int(depth), _age(oldest, now))
            for queue, depth, oldest in zip(self._queues, told[::2], told[1::2], strict=True)
        }
        return Traffic(queues, int(in_hand), None if pulse is None else max(0.0, now - int(pulse) / 1000))


def _age(message: bytes | None, now: float) -> float | None:
    """How long ago a message was sent; 0 where none waits."""
    if message is None:
        return 0.0
    try:
        return max(0.0, now - float(json.loads(message)["headers"]["sent_at"]))
    except (ValueError, KeyError, TypeError):
        return None
