"""Events and alerts out of the system: one task for each receiver, so that one that is slow delays no other."""

from __future__ import annotations

import logging
from threading import BoundedSemaphore

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from workers.app import app
from workers.runtime import runtime

log = logging.getLogger(__name__)

_WORTHLESS_AFTER = 5.0
_BATCHES = 10
"""Of events that are read at a time: what is left is read by the next tick."""
_sending = BoundedSemaphore(4)
"""Receivers that hang hold a thread each: most threads of a worker are kept for conversions and the sweep."""


@app.task(name="events.deliver")
def deliver() -> None:
    """Read on in the outbox: raise alerts, plan messages, and send a task for each receiver that has some due."""
    engine = runtime().engine
    for _ in range(_BATCHES):
        # Both, each time: `or` would leave the second unread while the first has more.
        more = [engine.alerting.follow(), engine.delivering.plan()]
        if not any(more):
            break
    for receiver in engine.delivering.waiting():
        try:
            send.apply_async(args=(receiver,), expires=_WORTHLESS_AFTER)
        except (OperationalError, RedisError, OSError):
            log.warning("broker away, the next tick will send to the receivers")
            return


@app.task(name="events.send")
def send(receiver: str) -> None:
    """Send what is due to one receiver, for some seconds at most; where enough are sent to, the next tick asks."""
    if not _sending.acquire(blocking=False):
        return
    try:
        runtime().engine.delivering.send(receiver)
    finally:
        _sending.release()


@app.task(name="events.prune")
def prune() -> None:
    """Delete what went out long ago."""
    runtime().engine.pruning.run()


@app.task(name="alerts.look")
def look() -> None:
    """Raise and end the alerts that no event tells."""
    runtime().engine.alerting.look()
