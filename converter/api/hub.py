"""One follower of the outbox for all clients of this process: each event is written as text once and handed to all.

Everything but the follower's own thread happens on the server's loop. A client has a bounded queue; one that does not
read is cut, and comes back with the number of the last event that it got.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate

from anyio import to_thread

from converter.domain.events import Event, Only
from converter.facts import event_facts
from converter.following import Follower
from converter.ports import ViewedLedger

log = logging.getLogger(__name__)

MOST_CLIENTS = 1000
QUEUE = 2000
"""Events that may wait for one client."""

_HANDOVER = 5.0
"""Seconds that the follower waits for the loop, so that it reads no faster than clients can be served."""


class Client:
    """One stream: what it wants, up to where it has it, and what waits for it."""

    def __init__(self, only: Only, position: int = 0) -> None:
        self.position = position
        self._only = only
        self.cut = False
        """It did not read: what waited for it is gone."""
        self._frames: deque[bytes] = deque()
        self._woken = asyncio.Event()

    def wants(self, event: Event) -> bool:
        """Whether it asked for this one and does not have it."""
        return event.sequence > self.position and self._only.takes(event)

    def push(self, frame: bytes) -> None:
        """Queue a frame, or cut the client when too much waits."""
        if len(self._frames) >= QUEUE:
            self.cut = True
            self._frames.clear()
        if not self.cut:
            self._frames.append(frame)
        self._woken.set()

    def wake(self) -> None:
        """Let it look whether it should end."""
        self._woken.set()

    async def take(self, seconds: float) -> bytes:
        """All that waits, together; nothing when nothing came in so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return b""
        self._woken.clear()
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames


class Hub:
    """Hands events to the clients of this process. The follower starts with the first and goes on until `close`."""

    def __init__(self, ledger: ViewedLedger) -> None:
        self.position = 0
        """Up to here every event was handed out."""
        self.closing = False
        self._follower = Follower(ledger, self._take)
        self._clients: set[Client] = set()
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def full(self) -> bool:
        """Whether no further client fits."""
        return len(self._clients) >= MOST_CLIENTS

    async def open(self) -> None:
        """Follow, if nobody did yet. Raises what the ledger raises."""
        async with self._opening:
            if not self._follower.running and not self.closing:
                self._loop = asyncio.get_running_loop()
                started = await to_thread.run_sync(self._follower.start)
                self.position = max(self.position, started)

    def join(self, client: Client) -> int:
        """Hand it everything that it wants behind the returned number, which may be older than the newest event."""
        self._clients.add(client)
        return self.position

    def leave(self, client: Client) -> None:
        """Hand it nothing more."""
        self._clients.discard(client)

    async def close(self) -> None:
        """End every stream and stop following."""
        self.closing = True
        for client in self._clients:
            client.wake()
        await to_thread.run_sync(self._follower.close)

    def _take(self, events: Sequence[Event]) -> None:
        """On the follower's thread: over to the loop, and wait until it has handed them out."""
        if not events or self._loop is None:
            return
        done: Future[None] = Future()
        self._loop.call_soon_threadsafe(self._hand_out, events, done)
        try:
            done.result(timeout=_HANDOVER)
        except TooLate:
            log.warning("the server is busy: events come late")

    def _hand_out(self, events: Sequence[Event], done: Future[None]) -> None:
        for event in events:
            if event.sequence <= self.position:
                continue
            frame = frame_of(event)
            for client in self._clients:
                if client.wants(event):
                    client.push(frame)
            self.position = event.sequence
        done.set_result(None)


def frame_of(event: Event) -> bytes:
    """An event as a stream shows it."""
    data = json.dumps(event_facts(event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.sequence}\nevent: {event.name}\ndata: {data}\n\n".encode()
