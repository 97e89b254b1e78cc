"""Reading the outbox: one follower for a whole process, and the events that somebody asks for.

Numbers are committed in their order, so who reads on from a number passes over no event. Nothing here is told by Redis:
a follower costs one short read of the ledger every fifth of a second, however many listen behind it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from converter.domain.events import EVERYTHING, Event, Only
from converter.ports import ViewedLedger

log = logging.getLogger(__name__)

BATCH = 300
PRUNED = ":pruned"
"""The follower whose position says up to where events were deleted."""

_PAUSE, _AWAY = 0.2, 1.0
_WINDOW = 20_000
"""Numbers that one transaction looks at for rare events."""


class Follower:
    """Reads the outbox on one thread and hands every event to `take`, in batches; an empty one says that all is read.

    An error in `take` lets the same events come again.
    """

    def __init__(self, ledger: ViewedLedger, take: Callable[[Sequence[Event]], None], pause: float = _PAUSE) -> None:
        self.position = 0
        """Up to here every event was handed over."""
        self._ledger = ledger
        self._take = take
        self._pause = pause
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and not closed."""
        return self._thread is not None and not self._stopping.is_set()

    def start(self) -> int:
        """Begin with what is written from now on; returns the position."""
        with self._ledger.view() as work:
            self.position = work.outbox.last()
        self._thread = threading.Thread(target=self._run, name="converter-events", daemon=True)
        self._thread.start()
        return self.position

    def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = self._pause
        while not self._stopping.wait(pause):
            try:
                with self._ledger.view() as work:
                    events = work.outbox.after(self.position, BATCH)
                self._take(events)
            except Exception:
                # Nothing is lost: it is all in the outbox, and is told when the ledger answers again.
                log.warning("the ledger cannot be read, events come later", exc_info=True)
                pause = _AWAY
                continue
            if events:
                self.position = events[-1].sequence
            pause = 0 if len(events) == BATCH else self._pause


@dataclass(frozen=True)
class Page:
    """Some events, oldest first. `last`: up to here everything was looked at."""

    events: tuple[Event, ...]
    last: int


def read_on(
    ledger: ViewedLedger, after: int, only: Only = EVERYTHING, limit: int = BATCH, until: int | None = None
) -> Page:
    """The next events behind a number, up to the newest one or `until`."""
    found: list[Event] = []
    while True:
        with ledger.view() as work:
            newest = work.outbox.last() if until is None else until
            end = min(newest, after + _WINDOW) if _is_sparse(only) else newest
            found += work.outbox.between(after, end, only, limit - len(found))
        if len(found) >= limit:
            return Page(tuple(found), found[-1].sequence)
        if end >= newest:
            return Page(tuple(found), max(after, end))
        after = end


def read_back(ledger: ViewedLedger, before: int | None, only: Only = EVERYTHING, limit: int = BATCH) -> Page:
    """The newest events, or the newest below a number. `last`: what follows is behind it."""
    found: list[Event] = []
    with ledger.view() as work:
        newest = work.outbox.last() if before is None else before - 1
    end = newest
    while end > 0 and len(found) < limit:
        start = max(0, end - _WINDOW) if _is_sparse(only) else 0
        with ledger.view() as work:
            found = work.outbox.between(start, end, only, limit - len(found), newest=True) + found
        end = start
    return Page(tuple(found), max(0, newest))


@dataclass(frozen=True)
class Extent:
    """What the outbox holds: everything behind `pruned` up to `last`."""

    pruned: int
    last: int


def extent(ledger: ViewedLedger) -> Extent:
    """From where to where events are kept."""
    with ledger.view() as work:
        return Extent(work.followers.get(PRUNED) or 0, work.outbox.last())


def _is_sparse(only: Only) -> bool:
    """Whether many events may lie between two that are wanted; those of a conversion have an index."""
    return bool(only.names) and only.conversion_id is None
