"""Callbacks of the services: posted in the background, only to this machine, with the faults that callbacks have.

One thread posts; a callback that fails is tried again later, up to `TRIES` times, without holding up the others. Any
2xx answer counts as received. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from converter.sandbox.faults import CALLBACK, FaultBook

MAX_WAITING = 1000
TIMEOUT = 2.0
TRIES = 4
PAUSE = 0.1  # seconds before the second try; doubled each time
HELD = 2.0  # seconds after which a callback that was held back goes without a follower
DUPLICATES = 3
MAX_LOG = 200


@dataclass(frozen=True)
class _Post:
    service_id: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    due: float = 0.0
    tries: int = 0


class Callbacks:
    """The postman. `log` tells what became of the last posts: `200`, another status, or the error's name."""

    def __init__(self, faults: FaultBook) -> None:
        self._faults = faults
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._open = False
        self._waiting: deque[_Post] = deque()
        self._held: dict[str, _Post] = {}
        self.log: deque[tuple[str, str, str]] = deque(maxlen=MAX_LOG)

    def post(self, service_id: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take a callback on its way; one to another machine is only noted in the log."""
        if not is_loopback(url):
            self.log.append((service_id, url, "dropped: not on this machine"))
            return
        post = _Post(service_id, url, dict(headers), body)
        kind = self._faults.strike(service_id, CALLBACK, executes=False).kind
        with self._condition:
            if len(self._waiting) >= MAX_WAITING:
                self.log.append((service_id, url, "dropped: too many wait"))
                return
            if kind == "out_of_order_callback" and service_id not in self._held:
                self._held[service_id] = replace(post, due=time.monotonic() + HELD)
            else:
                self._waiting.extend([post] * (DUPLICATES if kind == "duplicate_callback" else 1))
                if held := self._held.pop(service_id, None):
                    self._waiting.append(replace(held, due=0.0))
            self._work()

    def start(self) -> None:
        """Begin to post; the thread comes with the first callback."""
        with self._condition:
            self._open = True
            self._work()

    def stop(self) -> None:
        """Wait until the thread has ended; what waits then is kept for the next start."""
        with self._condition:
            self._open = False
            self._condition.notify_all()
            thread, self._thread = self._thread, None
        if thread:
            thread.join()

    def _work(self) -> None:
        self._condition.notify()
        if self._open and not self._thread and (self._waiting or self._held):
            self._thread = threading.Thread(target=self._run, name="sandbox-callbacks", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._open:
            if post := self._next():
                self._deliver(post)

    def _next(self) -> _Post | None:
        with self._condition:
            now = time.monotonic()
            for service_id, held in list(self._held.items()):
                if held.due <= now:
                    self._waiting.append(self._held.pop(service_id))
            ready = next((post for post in self._waiting if post.due <= now), None)
            if ready:
                self._waiting.remove(ready)
                return ready
            soon = min((post.due for post in (*self._waiting, *self._held.values())), default=now + 1)
            if self._open:
                self._condition.wait(min(1.0, soon - now))
            return None

    def _deliver(self, post: _Post) -> None:
        outcome = _send(post)
        self.log.append((post.service_id, post.url, outcome))
        tries = post.tries + 1
        if not outcome.startswith("2") and tries < TRIES:
            with self._condition:
                self._waiting.append(replace(post, tries=tries, due=time.monotonic() + PAUSE * 2**post.tries))


def is_loopback(url: str) -> bool:
    """Whether an address is plain HTTP on this machine."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.port == 0:
            return False
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _send(post: _Post) -> str:
    """Status of the answer, or the name of the error."""
    parts = urlsplit(post.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, post.body, dict(post.headers))
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    finally:
        connection.close()
