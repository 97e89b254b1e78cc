"""A follower of the outbox in this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from converter.domain.events import CONVERSION_COMPLETED, Event
from converter.ledger.repository import open_ledger
from converter.listening import Listener
from converter.ports import Ledger, Work


class OnceAway:
    """A ledger that is away for one transaction of the follower, as while a PostgreSQL starts again."""

    def __init__(self, ledger: Ledger, fails_at: int) -> None:
        self._ledger = ledger
        self._left = fails_at
        self.failed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    @contextmanager
    def begin(self) -> Iterator[Work]:
        self._left -= 1
        if self._left == 0:
            self.failed.put(True)
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        with self._ledger.begin() as work:
            yield work

    def now(self) -> datetime:
        return self._ledger.now()


def test_a_follower_hears_on_after_the_ledger_was_away_for_a_moment(tmp_path: Path) -> None:
    heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    with closing(open_ledger(f"sqlite:///{tmp_path}/ledger.db", migrate=True)) as ledger:
        fragile = OnceAway(ledger, fails_at=3)
        with closing(Listener(fragile)) as listener:
            listener.on(CONVERSION_COMPLETED, heard.put)
            assert fragile.failed.get(timeout=5)
            with ledger.begin() as work:
                work.outbox.add(Event(CONVERSION_COMPLETED, {"serviceId": "alpha"}, None))
            assert heard.get(timeout=2)["serviceId"] == "alpha"
