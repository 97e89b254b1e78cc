"""Sends hints behind the answers: a broker that is away, or frozen, holds up nobody who asks over HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import Empty, Full, Queue

log = logging.getLogger(__name__)

_WAITING = 1000
_LAST_MOMENT = 3.0
"""Seconds that what waits has at the end."""


class Hints:
    """`send` takes a task and a conversion id and may take seconds; here it runs on one thread, in order."""

    def __init__(self, send: Callable[[str, str], bool]) -> None:
        self._send = send
        self._waiting: Queue[tuple[Context, str, str] | None] = Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._ending = False

    def send(self, task: str, conversion_id: str) -> bool:
        """Send it soon; False when too many wait, and the sweep will see to it."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((copy_context(), task, conversion_id))
        except Full:
            return False
        return True

    def close(self) -> None:
        """Send what waits, for a moment."""
        self._ending = True
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except Full:
            log.info("hints are left to the sweep")
        self._thread.join(_LAST_MOMENT)

    def _run(self) -> None:
        while (hint := self._waiting.get()) is not None:
            context, task, conversion_id = hint
            # In the context of the request: the task belongs to its trace.
            if not context.run(self._send, task, conversion_id) and self._drop():
                return

    def _drop(self) -> bool:
        """The broker is away: what waits behind this one is left to the sweep too, rather than told late."""
        while True:
            try:
                if self._waiting.get_nowait() is None:
                    return True
            except Empty:
                return self._ending
