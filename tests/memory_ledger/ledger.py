"""The ledger in memory and its transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any

from converter.domain.conversions import State
from tests.memory_ledger.answers import MemoryQuotes
from tests.memory_ledger.attempts import MemoryAttempts, MemoryTransfers
from tests.memory_ledger.books import MemoryBooks, NoInspection
from tests.memory_ledger.conversions import MemoryConversions
from tests.memory_ledger.counting import MemoryExposure, read_statistics
from tests.memory_ledger.lasting import MemoryConditions, MemoryMemory, MemoryOutbox, MemoryRounds
from tests.memory_ledger.store import ALL_GUARDS, Store


class MemoryWork:
    """One transaction after the other: a ledger has one `Work`, which cannot be written to between transactions."""

    def __init__(self, store: Store) -> None:
        self.conversions = MemoryConversions(store)
        self.quotes = MemoryQuotes(store)
        self.attempts = MemoryAttempts(store)
        self.transfers = MemoryTransfers(store)
        self.books = MemoryBooks(store)
        self.inspection = NoInspection()
        self.outbox = MemoryOutbox(store)
        self.conditions = MemoryConditions(store)
        self.rounds = MemoryRounds(store)
        self.exposure = MemoryExposure(store)
        self.memory = MemoryMemory(store)
        self.now = store.now
        self._store = store

    def clock(self) -> datetime:
        """The ledger's clock, read now."""
        return self._store.clock()

    def statistics(self) -> dict[str, Any]:
        """Counts by service and in all."""
        return read_statistics(self._store)

    def count(self, state: State, at_most: int) -> int:
        """How many conversions are in this state; no more are counted than `at_most`."""
        return min(at_most, sum(one.state is state for one in self._store.conversions.values()))

    def __enter__(self) -> MemoryWork:
        self._store.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._store.end(committed=kind is None)


class MemoryLedger:
    """The `Ledger` port in memory, by the same rules as on SQL (tests/ledger/ holds all of them to the same tests).

    For one thread. Nothing else may run inside a transaction: a second `begin` there raises RuntimeError, so a
    scheduler of greenlets switches between transactions and at outside calls only. `guards` names what is enforced;
    one that is left out is missing as if its line of SQL had been deleted.
    """

    def __init__(self, clock: Callable[[], datetime], guards: Collection[str] = ALL_GUARDS) -> None:
        self.store = Store(clock, guards)
        """Every row, to be looked at."""
        self._work = MemoryWork(self.store)

    def begin(self) -> AbstractContextManager[MemoryWork]:
        """A transaction: committed at the end, rolled back by an exception."""
        return self._work

    def now(self) -> datetime:
        """The ledger's clock, read by itself."""
        return self.store.clock()

    def close(self) -> None:
        """Nothing is to be given back."""
