"""Hands events of the ledger's outbox to handlers in this process, from whichever process they come.

A listener with a name keeps in the ledger how far it heard each kind of event. After a restart every handler hears
what was written meanwhile, and what was heard just before the end may come again: at least once, never not at all.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from converter.domain.errors import InvalidRequest
from converter.domain.events import Event, Only
from converter.following import PRUNED, Follower, read_on
from converter.ports import ViewedLedger

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass
class _Hearing:
    """A handler, and up to where it has heard."""

    name: str
    handler: Handler
    position: int


class Listener:
    """Follows the outbox on one thread, started with the first handler. `follower`: the name of who listens."""

    def __init__(self, ledger: ViewedLedger, follower: str | None = None) -> None:
        if follower is not None and not _NAME.fullmatch(follower):
            raise InvalidRequest("follower", f"{follower[:60]!r} is no name", "a-z first, then a-z, 0-9, _ or -, to 40")
        self._ledger = ledger
        self._named = follower
        self._hearings: list[_Hearing] = []
        self._starts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._follower = Follower(ledger, self._take)

    def on(self, name: str, handler: Handler) -> None:
        """Call `handler` for every event of this name that is written from now on, or that its name has not heard."""
        with self._lock:
            if not self._follower.running:
                self._follower.start()
            self._hearings = [*self._hearings, _Hearing(name, handler, self._start(name))]

    def close(self) -> None:
        """Stop following."""
        self._follower.close()

    def _start(self, name: str) -> int:
        """Where a handler begins. All of one name begin at the same place, however late they are set."""
        if self._named is None:
            with self._ledger.begin() as work:
                return work.outbox.last()
        if name not in self._starts:
            with self._ledger.begin() as work:
                kept = work.followers.get(self._named, name)
                if kept is None:
                    kept = work.outbox.last()
                    work.followers.move(self._named, kept, (name,))
                if kept < (work.followers.get(PRUNED) or 0):
                    log.warning("%s was away for too long: older events of %s are not kept", self._named, name)
            self._starts[name] = kept
        return self._starts[name]

    def _take(self, events: Sequence[Event]) -> None:
        hearings, begun = self._hearings, self._follower.position
        late = [one for one in hearings if one.position < begun]
        for hearing in late:
            self._catch_up(hearing, begun)
        for event in events:
            for hearing in hearings:
                if hearing.name == event.name:
                    _tell(hearing, event)
        for hearing in hearings:
            hearing.position = max(hearing.position, events[-1].sequence if events else begun)
        if self._named is not None and hearings and (events or late):
            self._keep(self._named, min(one.position for one in hearings), {one.name for one in hearings})

    def _catch_up(self, hearing: _Hearing, until: int) -> None:
        """What was written before this process listened."""
        while hearing.position < until:
            page = read_on(self._ledger, hearing.position, Only(frozenset({hearing.name})), until=until)
            for event in page.events:
                _tell(hearing, event)
            hearing.position = page.last

    def _keep(self, follower: str, position: int, names: set[str]) -> None:
        with self._ledger.begin() as work:
            work.followers.move(follower, position, sorted(names))


def _tell(hearing: _Hearing, event: Event) -> None:
    if event.sequence <= hearing.position:
        return  # heard before the ledger went away
    try:
        hearing.handler({**event.payload, "conversionId": event.conversion_id})
    except Exception:
        log.exception("a handler of %s failed", event.name)
    hearing.position = event.sequence
