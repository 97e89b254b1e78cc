"""A stage on which every decision about time and fate is made from outside: by hypothesis, or by a person's script.

Workers run the real use-cases in greenlets. One that sends an operation or looks it up stands still, and so does one
that is told to nap between two transactions; whoever directs the play says what comes of the call, who goes on, who
dies, and how much time passes meanwhile. Services keep what their rules declare (`converter.domain.orders`), have their
own truth, and are otherwise as unkind as they may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any

import greenlet

from converter.bulletin import Bulletin
from converter.desk import Shared
from converter.domain.conversions import OperationState
from converter.domain.errors import ConverterError, OutcomeUnknown, ServiceRejected, ServiceUnavailable
from converter.guard import GuardedService
from converter.ports import Work
from tests.app.house import House
from tests.builders import START
from tests.fakes import Crash, HandClock
from tests.memory_ledger import MemoryLedger
from tests.simulation.cast import DEPOSIT, AlwaysClosed, Call, FirstComes, NoLimit, PlayedService, PlayedWallet
from tests.simulation.shared import NoAdaptive, SimRates


class Fate(StrEnum):
    """What comes of a call. Of a look-up: SEEN, HIDDEN, LOST; of a send, all but HIDDEN (SEEN: done and answered)."""

    SEEN = "seen"
    HIDDEN = "hidden"
    """The service does not show yet what it took, as far as its rules allow."""
    REFUSED = "refused"
    """Its answer is on the whitelist."""
    NOTHING_LEFT = "nothing left"
    LOST = "lost"
    UNANSWERED = "unanswered"
    LATE = "late"
    """Its sender hears nothing; it arrives whenever the director says, or never."""


Answer = Callable[[], Any]


class Worker:
    """One process: at rest, at a call, or with an answer that it has not read yet (a nap is one of nothing)."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.task: Any = None
        self.call: Call | None = None
        self.answer: Answer | None = None
        self.fate: tuple[int, str] = (0, "")
        """After how many transactions it ends or naps, and how; 0: at the next one that prepares an operation."""

    @property
    def is_idle(self) -> bool:
        return self.task is None


class Nap(StrEnum):
    """What happens to a worker at a transaction."""

    NAPS_BEFORE = "naps before"
    NAPS_AFTER = "naps after"
    DIES_WITHIN = "dies before the commit"
    DIES_AFTER = "dies after the commit"


class StageClock(HandClock):
    """The ledger's clock, and every process' own."""

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()


class StageLedger:
    """The ledger as a worker on the stage knows it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @contextmanager
    def begin(self) -> Iterator[Work]:
        end, prepared = self._stage.before_transaction(), len(self._stage.ledger.store.operations)
        with self._stage.ledger.begin() as work:
            yield work
            if len(self._stage.ledger.store.operations) > prepared:
                end = end or self._stage.prepared()
            if end == Nap.DIES_WITHIN:
                raise Crash(end)
        if end == Nap.DIES_AFTER:
            raise Crash(end)
        if end == Nap.NAPS_AFTER:
            self._stage.nap()

    def now(self) -> datetime:
        return self._stage.ledger.now()


class Stage:
    """The play: a ledger, services, a wallet, workers, and what is on its way between them."""

    def __init__(self, kinds: list[str], ledger: MemoryLedger, clock: StageClock) -> None:
        self.clock, self.ledger = clock, ledger
        self.house = House(ledger, clock)
        self.house.shared = Shared(FirstComes(), SimRates(), NoAdaptive(), Bulletin())
        self.services = [PlayedService(self, f"service{number}", kind) for number, kind in enumerate(kinds)]
        for service in self.services:
            self.house.add(service.service_id, service.capabilities.commits_on)
        self.house.services.update({one.service_id: one for one in self.services})
        self.wallet = self.house.wallets["ETH"] = PlayedWallet(self)
        self.workers = {owner: Worker(owner) for owner in "abc"}
        self.on_its_way: list[Call] = []
        self.sends: Counter[str] = Counter()
        self.running: Worker | None = None
        self.is_calm = False
        """Calls are answered honestly and at once."""

    # Directing

    def office(self, owner: str) -> Any:
        guards = self.house.guards.setdefault(owner, {})
        for service in self.services:
            closed = {one: AlwaysClosed() for one in ("quote", "execute")}
            guards[service.service_id] = GuardedService(service, closed, NoLimit(), Bulletin())
        return self.house.office(owner, StageLedger(self))

    def play(self, worker: Worker, task: Callable[[], object]) -> None:
        """A worker that is idle takes a task, as far as its first call."""
        worker.task = greenlet.greenlet(task)
        self._switch(worker)

    def go_on(self, worker: Worker, answer: Answer) -> None:
        """It reads the answer of its call, or wakes, and goes on to its next call."""
        worker.call = worker.answer = None
        self._switch(worker, answer)

    def kill(self, worker: Worker) -> None:
        """It dies where it stands."""
        worker.call = worker.answer = None
        try:
            worker.task.throw(Crash)
        except Crash:
            worker.task = None

    def _switch(self, worker: Worker, *given: Any) -> None:
        self.running = worker
        try:
            worker.task.switch(*given)
        except Crash:
            worker.task = None
        finally:
            self.running = None
        if worker.task is not None and worker.task.dead:
            worker.task = None

    def answer_to(self, call: Call, fate: Fate) -> Answer:
        """What comes of a call now; reading the answer raises or returns it."""
        if fate is Fate.LATE and call.kind is not None:
            self.on_its_way.append(call)
        if fate in (Fate.LOST, Fate.LATE):
            return _raising(OutcomeUnknown(call.party.name, str(call.kind), detail="no answer"))
        if fate is Fate.HIDDEN:
            return _ended(call.hidden)
        if fate is Fate.SEEN or call.kind is None:
            return _ended(call.do)
        if fate is Fate.UNANSWERED:
            _ended(call.do)
            return _raising(OutcomeUnknown(call.party.name, str(call.kind), detail="the answer was lost"))
        if fate is Fate.REFUSED and not call.party.took(call.key):
            return _raising(ServiceRejected(call.party.name, str(call.kind)))
        if fate is Fate.NOTHING_LEFT:
            return _raising(ServiceUnavailable(call.party.name, str(call.kind)))
        return _ended(call.do)  # what is executed is not refused: it is recognised, or a duplicate

    def arrive(self, number: int) -> None:
        """A late request arrives."""
        _ended(self.on_its_way.pop(number % len(self.on_its_way)).do)

    # What workers meet

    def before_transaction(self) -> str:
        """A worker's n-th transaction, if it is to end or to nap there."""
        worker = self.running
        if worker is None or self.is_calm or worker.fate[0] == 0:
            return ""
        (steps, end), worker.fate = worker.fate, (worker.fate[0] - 1, worker.fate[1])
        if steps > 1:
            return ""
        worker.fate = (0, "")
        if end == Nap.NAPS_BEFORE:
            self.nap()
        return end

    def prepared(self) -> str:
        """An operation of the worker that runs was prepared, and is about to be committed."""
        if self.running is None or self.is_calm:
            return ""
        (_, end), self.running.fate = self.running.fate, (0, "")
        return end

    def nap(self) -> None:
        """The worker that runs stands still until it is woken."""
        assert self.running is not None
        self.running.answer = lambda: None
        self._wait()

    def called(self, call: Call) -> Any:
        """A worker is about to call: it stands still until it is told what came of it."""
        if call.kind is not None:
            self._check_prepared(call)
        worker = self.running
        if worker is None or self.is_calm:
            return call.do()
        worker.call = call
        return self._wait()()

    def _wait(self) -> Any:
        hub = greenlet.getcurrent().parent
        assert hub is not None
        return hub.switch()

    def _check_prepared(self, call: Call) -> None:
        """I5: nothing is sent without a row that is older than the send and counts it."""
        self.sends[call.key] += 1
        store = self.ledger.store
        if call.kind is DEPOSIT:
            assert ("chain", call.key) in store.txids, f"a transfer was broadcast that is not stored: {call.key}"
            return
        assert call.key in store.operation_keys, f"sent without a prepared row: {call.key}"
        operation = store.operations[store.operation_keys[call.key]]
        assert operation.state is OperationState.PREPARED, f"sent although it is {operation.state}: {call.key}"
        assert operation.created_at <= self.clock.time <= operation.send_before, f"sent too late: {call.key}"
        assert operation.sends >= self.sends[call.key], f"sent more often than counted: {call.key}"


def _ended(work: Callable[[], Any]) -> Answer:
    """Do it now; how it ended is read later."""
    try:
        answer = work()
    except ConverterError as error:
        return _raising(error)
    return lambda: answer


def _raising(error: ConverterError) -> Answer:
    def read() -> Any:
        raise error

    return read
