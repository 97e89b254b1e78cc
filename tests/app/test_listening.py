"""A follower of the outbox in this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from converter import MultiServiceConverter
from converter.domain.errors import InvalidRequest
from converter.domain.events import CONVERSION_COMPLETED, SERVICE_FAILURE, Event
from converter.ledger.repository import SqlLedger, open_ledger
from converter.listening import Listener
from converter.ports import Ledger, Work
from tests.scenarios.world import until


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

    view = begin

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


# --- A listener with a name ------------------------------------------------------------------------------------------


class Backend:
    """A process of a pool backend that listens under a name, and what it hears."""

    def __init__(self, ledger: Ledger, follower: str | None = "backend-1") -> None:
        self.listener = Listener(ledger, follower)
        self.heard: list[tuple[str, Any]] = []

    def on(self, name: str, mark: str = "") -> None:
        self.listener.on(name, lambda payload: self.heard.append((name + mark, payload["n"])))

    def hears(self, *expected: tuple[str, int]) -> None:
        until(lambda: len(self.heard) >= len(expected), 5, lambda: f"heard {self.heard}", pause=0.02)
        assert sorted(self.heard) == sorted(expected)

    def stop(self) -> None:
        self.listener.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with closing(open_ledger(f"sqlite:///{tmp_path}/ledger.db", migrate=True)) as opened:
        yield opened


def tell(ledger: Ledger, name: str, *numbers: int) -> None:
    with ledger.begin() as work:
        for number in numbers:
            work.outbox.add(Event(name, {"n": number}))


def kept(ledger: Ledger, name: str) -> int | None:
    with ledger.begin() as work:
        return work.followers.get("backend-1", name)


def test_after_a_restart_a_named_listener_hears_what_it_missed(ledger: SqlLedger) -> None:
    tell(ledger, CONVERSION_COMPLETED, 0)
    first = Backend(ledger)
    for name in (CONVERSION_COMPLETED, SERVICE_FAILURE):
        first.on(name)
    tell(ledger, CONVERSION_COMPLETED, 1)
    first.hears((CONVERSION_COMPLETED, 1))
    until(lambda: kept(ledger, SERVICE_FAILURE) == 2, 5, "its place is kept", pause=0.02)
    first.stop()
    tell(ledger, CONVERSION_COMPLETED, 2, 3)
    tell(ledger, SERVICE_FAILURE, 4)
    second = Backend(ledger)
    second.on(CONVERSION_COMPLETED)
    second.hears((CONVERSION_COMPLETED, 2), (CONVERSION_COMPLETED, 3))
    second.on(SERVICE_FAILURE)  # however late it says that it listens to these, too
    second.on(CONVERSION_COMPLETED, " again")
    tell(ledger, CONVERSION_COMPLETED, 5)
    second.hears(
        (CONVERSION_COMPLETED, 2),
        (CONVERSION_COMPLETED, 3),
        (CONVERSION_COMPLETED, 5),
        (SERVICE_FAILURE, 4),
        *((CONVERSION_COMPLETED + " again", number) for number in (2, 3, 5)),
    )
    second.stop()


def test_what_a_run_did_not_listen_to_is_not_passed_over(ledger: SqlLedger) -> None:
    first = Backend(ledger)
    first.on(CONVERSION_COMPLETED)
    first.on(SERVICE_FAILURE)
    first.stop()
    tell(ledger, SERVICE_FAILURE, 1)
    second = Backend(ledger)
    second.on(CONVERSION_COMPLETED)
    tell(ledger, CONVERSION_COMPLETED, 2)
    second.hears((CONVERSION_COMPLETED, 2))
    until(lambda: kept(ledger, CONVERSION_COMPLETED) == 2, 5, "its place is kept", pause=0.02)
    second.stop()
    third = Backend(ledger)
    third.on(SERVICE_FAILURE)
    third.hears((SERVICE_FAILURE, 1))
    third.stop()


def test_a_place_that_could_not_be_kept_lets_the_same_come_again_in_the_next_run_only(ledger: SqlLedger) -> None:
    class Unkept:
        """A ledger that loses every transaction which keeps a place after the first."""

        failed = 0

        @contextmanager
        def begin(self) -> Iterator[Work]:
            with ledger.begin() as work:
                before = work.followers.get("backend-1", CONVERSION_COMPLETED)
                yield work
                if before is not None and work.followers.get("backend-1", CONVERSION_COMPLETED) != before:
                    self.failed += 1
                    raise OperationalError("COMMIT", {}, Exception("the disk is full"))

        view = ledger.view

        def now(self) -> datetime:
            return ledger.now()

    unkept = Unkept()
    first = Backend(unkept)
    first.on(CONVERSION_COMPLETED)
    tell(ledger, CONVERSION_COMPLETED, 1)
    until(lambda: unkept.failed >= 2, 5, "it tried again", pause=0.02)
    first.hears((CONVERSION_COMPLETED, 1))
    first.stop()
    second = Backend(ledger)
    second.on(CONVERSION_COMPLETED)
    second.hears((CONVERSION_COMPLETED, 1))
    second.stop()


def test_without_a_name_nothing_is_kept_and_everybody_hears(ledger: SqlLedger) -> None:
    backends = [Backend(ledger, None) for _ in range(3)]
    for backend in backends:
        backend.on(CONVERSION_COMPLETED)
    tell(ledger, CONVERSION_COMPLETED, 1)
    for backend in backends:
        backend.hears((CONVERSION_COMPLETED, 1))
        backend.stop()
    assert kept(ledger, CONVERSION_COMPLETED) is None


@pytest.mark.parametrize("name", ["", "Backend", ":alerts", "a b", "a" * 41])
def test_a_name_has_a_form(ledger: SqlLedger, name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"follower: .* accepted: a-z first"):
        Listener(ledger, name)


def test_the_facade_listens_under_a_name(tmp_path: Path, ledger: SqlLedger) -> None:
    heard: list[int] = []

    def listening() -> MultiServiceConverter:
        converter = MultiServiceConverter(home=tmp_path, follower="backend-1")
        converter.on(CONVERSION_COMPLETED, lambda payload: heard.append(payload["n"]))
        return converter

    listening().close()
    tell(ledger, CONVERSION_COMPLETED, 7)
    with listening():
        until(lambda: heard == [7], 5, "it hears what it missed", pause=0.02)
