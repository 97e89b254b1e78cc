"""Hands events of the ledger's outbox to handlers in this process, from whichever process they come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from converter.domain.events import Event
from converter.ports import Ledger

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]

_PAUSE, _AWAY = 0.2, 1.0


class Listener:
    """Follows the outbox on one thread, started with the first handler."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._handlers: dict[str, list[Handler]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sequence = 0

    def on(self, name: str, handler: Handler) -> None:
        """Call `handler` for every event of this name that is written from now on."""
        self._handlers.setdefault(name, []).append(handler)
        if self._thread is None:
            with self._ledger.begin() as work:
                self._sequence = work.outbox.last()
            self._thread = threading.Thread(target=self._follow, name="converter-events", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _follow(self) -> None:
        while not self._stopping.wait(_PAUSE):
            try:
                with self._ledger.begin() as work:
                    events = work.outbox.after(self._sequence)
            except Exception:
                # Nothing is lost: it is all in the outbox, and is told when the ledger answers again.
                log.warning("the ledger cannot be read, events come later", exc_info=True)
                self._stopping.wait(_AWAY)
                continue
            for event in events:
                self._sequence = event.sequence
                self._tell(event)

    def _tell(self, event: Event) -> None:
        for handler in self._handlers.get(event.name, []):
            try:
                handler({**event.payload, "conversionId": event.conversion_id})
            except Exception:
                log.exception("a handler of %s failed", event.name)
