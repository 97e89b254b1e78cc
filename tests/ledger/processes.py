"""What other processes do in the tests of this folder, and how they are started."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from typing import Any

from converter.domain.events import Event
from converter.ledger.engines import create_engine
from converter.ledger.repository import open_ledger


def run_at_once(work: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Results of fresh processes that all begin at the same moment; what one raised is raised here."""
    given = list(arguments)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(given))
    with context.Pool(len(given), initializer=_remember, initargs=(barrier,)) as pool:
        running = [pool.apply_async(_together, (work, arguments)) for arguments in given]
        return [one.get(100) for one in running]


_barrier: Any = None


def _remember(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603
    _barrier = barrier


def _together(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    _barrier.wait(60)
    return work(*arguments)


def open_and_migrate(url: str) -> None:
    open_ledger(url, migrate=True).close()


def read_then_write(url: str, times: int) -> int:
    """Transactions that read first and write what follows from it: each must see all before it."""
    ledger = open_ledger(url)
    for _ in range(times):
        with ledger.begin() as work:
            number = work.outbox.last()
            time.sleep(0.001)  # long enough for the others to get in between, if they could
            work.outbox.add(Event("counted", {"after": number}))
    ledger.close()
    return times


def connect_first(url: str) -> str:
    """Open a database file that may not exist yet."""
    engine = create_engine(url)
    with engine.connect() as connection:
        mode: str = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    engine.dispose()
    return mode
