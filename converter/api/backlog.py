"""How many conversions nobody has begun with: with too many of them, new ones are refused for the moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from converter.domain.conversions import State
from converter.ports import Ledger

_COUNTED_EVERY = 1.0
"""Seconds. In between, what this process took in is added, so that a rush does not run far over the limit."""


class Backlog:
    """Shared by threads. `limit`: as many may wait."""

    def __init__(self, ledger: Ledger, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._counted_at: float | None = None
        self._depth = 0

    def is_full(self) -> bool:
        """Whether no more is taken in. Asks the ledger at most once a second, one thread for all."""
        if self._is_old() and self._lock.acquire(blocking=False):
            try:
                with self._ledger.begin() as work:
                    self._depth = work.count(State.RECEIVED, at_most=self._limit)
                self._counted_at = self._clock()
            finally:
                self._lock.release()
        return self._depth >= self._limit

    def note_accepted(self) -> None:
        """One more waits."""
        self._depth += 1

    def _is_old(self) -> bool:
        return self._counted_at is None or self._clock() - self._counted_at >= _COUNTED_EVERY
