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
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import greenlet

from converter.bulletin import Bulletin
from converter.desk import Shared
from converter.domain.balancing import Tier
from converter.domain.breakers import BreakerState
from converter.domain.conversions import OperationState
from converter.domain.errors import ConverterError, OutcomeUnknown, ServiceRejected, ServiceUnavailable
from converter.domain.limits import Admission as RateAdmission
from converter.domain.orders import OperationKind, OperationRule, Order, OrderRef, OrderRequest, OrderStatus
from converter.domain.permits import Admission, Permit, Snapshot
from converter.domain.transfers import Sighting, Transfer
from converter.guard import GuardedService
from converter.ports import Deadline, Work
from tests.app.house import House
from tests.builders import START, seconds
from tests.fakes import FIRST_STATUS, Crash, HandClock, ScriptedService, ScriptedWallet
from tests.memory_ledger import MemoryLedger
from tests.simulation.shared import NoAdaptive, SimRates

ORDER, APPROVAL, DEPOSIT = OperationKind.ORDER, OperationKind.APPROVAL, OperationKind.DEPOSIT
WITHDRAWAL = OperationKind.WITHDRAWAL

_BOOKED = OperationRule(moves_money=False, quiet=seconds(5))

KINDS: dict[str, tuple[OperationKind, dict[OperationKind, OperationRule]]] = {
    "recognises": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, repeat_recognised=True)}),
    "swap": (DEPOSIT, {ORDER: _BOOKED, DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True)}),
    "exchange": (
        ORDER,
        {
            ORDER: OperationRule(moves_money=True, quiet=seconds(20), absences=2),
            WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(40), absences=2),
        },
    ),
    "looked up": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, quiet=seconds(20))}),
    "blind": (APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True)}),
    "blind exchange": (ORDER, {one: OperationRule(moves_money=True) for one in (ORDER, WITHDRAWAL)}),
}
"""What the services of a play commit on, and what they declare of each operation."""


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


@dataclass
class Call:
    """A worker's call at the moment when it would leave. `do` is the honest work and answer."""

    party: PlayedService | PlayedWallet
    kind: OperationKind | None
    """None for a look-up."""
    key: str
    do: Callable[[], Any]
    hidden: Callable[[], Any] = lambda: None


Answer = Callable[[], Any]


class Worker:
    """One process: at rest, at a call, or with an answer that it has not read yet (a nap is one of nothing)."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.task: Any = None
        self.call: Call | None = None
        self.answer: Answer | None = None
        self.steps = 0
        """Transactions until its end, or its nap; 0 for neither."""
        self.end = ""

    @property
    def is_idle(self) -> bool:
        return self.task is None


class Nap(StrEnum):
    """What happens to a worker at its n-th transaction from here."""

    NAPS = "naps before"
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
        end = self._stage.before_transaction()
        with self._stage.ledger.begin() as work:
            yield work
            if end == Nap.DIES_WITHIN:
                raise Crash(end)
        if end == Nap.DIES_AFTER:
            raise Crash(end)

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
        if worker is None or self.is_calm:
            return ""
        worker.steps -= 1
        if worker.steps != 0:
            return ""
        if worker.end == Nap.NAPS:
            worker.answer = lambda: None
            self._wait()
            return ""
        return worker.end

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


# --- The outside -----------------------------------------------------------------------------------------------------


class PlayedService(ScriptedService):
    """A service with its own truth. What it declares it keeps; `took` and `executed` are its own record."""

    def __init__(self, stage: Stage, service_id: str, kind: str) -> None:
        commits_on, rules = KINDS[kind]
        super().__init__(service_id, commits_on, rules=rules)
        self.rules = rules
        """What it keeps; tests of the tests let it declare something else."""
        self.name = service_id
        self.clock = stage.clock
        self._stage = stage
        self._bounds: dict[str, float] = {}
        """Until when each step that it took may stay out of its look-ups, on the process' clock."""
        self._denied: Counter[str] = Counter()

    def took(self, key: str) -> bool:
        """Whether a step of this key was executed here."""
        return key in self.orders or any(key in booked.payouts for booked in self.orders.values())

    def play(self, operation: str, do: Callable[[], Any]) -> Any:
        return do()

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        def work() -> Order:
            self._come(ORDER, order.key, deadline.at)
            return ScriptedService.place_order(self, order, deadline)

        return self._stage.called(Call(self, ORDER, order.key, work))

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        key = order.ref.step_key
        kind = WITHDRAWAL if self.capabilities.commits_on is ORDER else APPROVAL
        assert key, "a step without our key"

        def work() -> Order:
            booked = self.orders[order.ref.request.key]
            if self.rules[kind].repeat_recognised and booked.payouts:
                return self._shown(booked, order.ref)
            self._come(kind, key, deadline.at)
            if self.rules[kind].quiet is not None and key in booked.payouts:
                raise OutcomeUnknown(self.name, kind, detail="duplicate id")
            booked.payouts.append(key)
            booked.status = OrderStatus.PAYING_OUT
            return self._shown(booked, order.ref)

        return self._stage.called(Call(self, kind, key, work))

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        def seen() -> Order | None:
            self._denied.pop(ref.request.key, None)
            return ScriptedService.find_order(self, ref, deadline)

        return self._stage.called(Call(self, None, ref.request.key, seen, lambda: self._hidden(ref, seen)))

    def _come(self, kind: OperationKind, key: str, latest: float) -> None:
        """A request arrives. One that has to come in time is refused when it does not."""
        rule = self.rules[kind]
        if rule.moves_money and rule.quiet is not None and self._stage.clock.monotonic() > latest:
            raise ServiceRejected(self.name, kind, detail="the request came too late")
        self._bounds[key] = latest + rule.quiet.total_seconds() if rule.quiet is not None else float("inf")

    def _hidden(self, ref: OrderRef, seen: Callable[[], Order | None]) -> Order | None:
        """What it shows while its latest step there does not show yet: for its quiet time, and one absence less than
        it declares after that."""
        booked = self.orders.get(ref.request.key)
        if booked is None or booked.deposited:
            return seen()
        kind, key = ORDER, ref.request.key
        if booked.payouts:
            kind, key = (WITHDRAWAL if self.capabilities.commits_on is ORDER else APPROVAL), booked.payouts[-1]
        rule = self.rules[kind]
        if self._stage.clock.monotonic() > self._bounds[key] and not rule.repeat_recognised:
            if self._denied[ref.request.key] >= rule.absences - 1:
                return seen()
            self._denied[ref.request.key] += 1
        if kind is ORDER:
            return None
        status = FIRST_STATUS[self.capabilities.commits_on]
        return replace(self._shown(booked, ref), status=status, delivered=None, txid="")


class PlayedWallet(ScriptedWallet):
    """The pool's account. A transaction that arrives is mined."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.house.services)
        self.name = "wallet"
        self._stage = stage

    def took(self, key: str) -> bool:
        return any(one.txid == key for one in self.mined.values())

    def play(self, operation: str, do: Callable[[], Any]) -> Any:
        return do()

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        def work() -> None:
            ScriptedWallet.broadcast(self, transfer, deadline)

        self._stage.called(Call(self, DEPOSIT, transfer.txid, work))

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        def seen() -> Sighting:
            return ScriptedWallet.observe(self, transfer, deadline)

        return self._stage.called(Call(self, None, transfer.txid, seen, lambda: Sighting.UNKNOWN))


# --- What is not at stake here ---------------------------------------------------------------------------------------


class AlwaysClosed:
    """A breaker that lets everything through: nothing is proven by one that is open."""

    _SNAPSHOT = Snapshot(BreakerState.CLOSED, START, None, 0, 1, 0, timedelta(0), shared=True)

    def admit(self, *, may_probe: bool = True) -> Admission:
        return Admission(Permit(1, 0, shared=True), None, None)

    def report(self, permit: Permit, verdict: Any, elapsed: timedelta) -> None:
        return None

    def move(self, target: BreakerState) -> None:
        return None

    def release(self) -> None:
        return None

    def snapshot(self) -> Snapshot:
        return self._SNAPSHOT


class NoLimit:
    def admit(self, service_id: str, operation: str) -> RateAdmission:
        return RateAdmission(True)

    look = admit

    def hold(self, service_id: str, seconds: float) -> None:
        pass


class FirstComes:
    """Services take part in the order of their names."""

    def turns(self, tier: Tier, services: Any) -> list[str]:
        return sorted(services)

    def take(self, tier: Tier, services: Any, waiting: Any = ()) -> str:
        return min(services)
