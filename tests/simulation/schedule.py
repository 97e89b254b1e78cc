"""Simulated time, and tasks that take turns in it.

A task runs in a greenlet until it rests; then whatever is due next runs. Nothing else switches, so what stands between
two rests is atomic, and a run is fixed by the order of the moments alone. Moments are whole microseconds since START.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from types import ModuleType
from typing import Any

import greenlet

import converter.asking
import converter.checking
import converter.guard
import converter.ports.outside
from tests.builders import START

MICRO = 1_000_000
"""Microseconds in a second."""

_CLOCKED: tuple[ModuleType, ...] = (
    converter.ports.outside,
    converter.guard,
    converter.asking,
    converter.checking,
)
"""Modules of the product that read the process' own clock."""


class Scheduler:
    """The clock, and what is to happen when. `now` never goes back."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Any]] = []
        self._number = count()
        self._hub = greenlet.getcurrent()

    def at(self, moment: int, act: Callable[[], object]) -> None:
        """Something happens by itself; it may not rest."""
        heappush(self._events, (moment, next(self._number), act))

    def spawn(self, moment: int, task: Callable[[], object]) -> None:
        """A task begins; it may rest."""
        heappush(self._events, (moment, next(self._number), greenlet.greenlet(task, self._hub)))

    def rest(self, until: int) -> None:
        """The task that calls this goes on at that moment."""
        events = self._events
        if events and events[0][0] <= until:
            heappush(events, (until, next(self._number), greenlet.getcurrent()))
            self._hub.switch()
        elif until > self.now:  # nobody has anything to do before: the same, without going there and back
            self.now = until

    @property
    def next_event(self) -> int | None:
        """When the next thing happens, as far as is known now."""
        return self._events[0][0] if self._events else None

    def run(self, until: int) -> None:
        """Let everything happen, the earliest first, until nothing is left or that moment has come."""
        events = self._events
        while events and events[0][0] <= until:
            moment, _, what = heappop(events)
            self.now = max(self.now, moment)
            if isinstance(what, greenlet.greenlet):
                what.switch()
            else:
                what()

    def abandon(self) -> None:
        """Drop whatever was still to happen; tasks that were resting end where they are."""
        events, self._events = self._events, []
        for _, _, what in events:
            if isinstance(what, greenlet.greenlet) and what:
                what.throw(greenlet.GreenletExit)

    # Clocks

    def clock(self) -> datetime:
        """The ledger's clock; every reading takes a moment, so that no two are equal."""
        self.now += 10
        return START + timedelta(microseconds=self.now)

    def monotonic(self) -> float:
        """Every process' own clock, in seconds."""
        return self.now / MICRO

    def milliseconds(self) -> int:
        """The shared state's clock."""
        return self.now // 1000 + 1


@contextmanager
def in_place_of_time(scheduler: Scheduler) -> Iterator[None]:
    """The product reads the simulated clock, all of it in this process: for one thread, and nothing beside it."""
    kept = [module.time for module in _CLOCKED]  # type: ignore[attr-defined]
    for module in _CLOCKED:
        module.time = scheduler  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, time in zip(_CLOCKED, kept, strict=True):
            module.time = time  # type: ignore[attr-defined]
