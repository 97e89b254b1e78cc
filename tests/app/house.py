"""The engine under test with everything around it: a ledger, scripted services, a wallet, and workers of any name.

`House.office(owner)` is one worker process. `House.finish` plays beat and the workers until a conversion rests, always
letting the time pass that the ledger asks for, and following hints the way the tasks do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from converter.asking import Asking
from converter.bulletin import Bulletin
from converter.checking import Checking
from converter.desk import Desk, Next, Shared, Timing
from converter.domain.breakers import BreakerState
from converter.domain.conversions import Attempt, AttemptState, Conversion, Operation, State
from converter.domain.events import Event
from converter.domain.limits import Budget, Limit, Limits
from converter.domain.orders import OperationKind
from converter.domain.policy import RoutingPolicy
from converter.domain.postings import SUSPENSE, holder, transit_of
from converter.domain.quotes import QuoteRow
from converter.domain.transfers import Transfer
from converter.execution import Execution
from converter.guard import GuardedService
from converter.planning import Plan, Planning
from converter.ports import Ledger, Wallet
from converter.quoting import Quoting
from converter.reconciliation import Reconciliation
from converter.selecting import Selecting
from converter.sending import Sending
from converter.settlement import Settlement
from converter.shadowing import Shadowing
from converter.shared_state.adaptive import AdaptiveShadow
from converter.shared_state.balancer import Balancer
from converter.shared_state.limiter import Limiter
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess
from converter.sharing import breakers_of
from converter.sweeping import Errand, Sweeping
from tests.builders import a_place, a_request, an_id, seconds
from tests.fakes import Crash, HandClock, Inline, ScriptedService, ScriptedWallet

DEPOSIT, EXCHANGE, APPROVAL = OperationKind.DEPOSIT, OperationKind.ORDER, OperationKind.APPROVAL
KINDS = (DEPOSIT, EXCHANGE, APPROVAL)

_ANY = Limit(1_000_000, burst=1_000_000)

HINTS = 40
"""Hints that may follow each other at once; more means that a conversion spins."""


@dataclass
class Office:
    """One worker process: the wired use-cases of an owner."""

    desk: Desk
    planning: Planning
    quoting: Quoting
    selecting: Selecting
    execution: Execution
    settlement: Settlement
    sweeping: Sweeping
    checking: Checking
    shadowing: Shadowing

    def ask(self, plan: Plan) -> None:
        for group in plan.groups:
            self.quoting.ask(plan.conversion_id, plan.round, group)

    def quote_and_select(self, conversion_id: str) -> Next | None:
        """A whole round of asking."""
        plan = self.planning.start(conversion_id)
        if plan is None:
            return None
        self.ask(plan)
        return self.selecting.select(conversion_id, plan.round)

    def run(self, task: Next, conversion_id: str) -> Next | None:
        """One task, and the hint that it leaves."""
        if task is Next.START:
            return self.quote_and_select(conversion_id)
        if task is Next.EXECUTE:
            return self.execution.execute(conversion_id)
        return self.settlement.settle(conversion_id)

    def follow(self, task: Next | None, conversion_id: str) -> None:
        """A task and every hint after it."""
        for _ in range(HINTS):
            if task is None:
                return
            task = self.run(task, conversion_id)
        raise AssertionError(f"{conversion_id} spins: {HINTS} hints without a pause")

    def do(self, errand: Errand) -> None:
        if errand.task is None:
            self.selecting.select(errand.conversion_id, errand.round)
            self.follow(Next.EXECUTE, errand.conversion_id)
        else:
            self.follow(errand.task, errand.conversion_id)


@dataclass
class House:
    """See the module. Services are asked in the order in which they were added when their nets are equal."""

    ledger: Ledger
    clock: HandClock
    services: dict[str, ScriptedService] = field(default_factory=dict)
    policy: RoutingPolicy = field(default_factory=lambda: RoutingPolicy(services=(), allow_unverified=True))
    timing: Timing = field(default_factory=Timing)
    wallets: dict[str, Wallet] = field(default_factory=dict)
    guards: dict[str, dict[str, GuardedService]] = field(default_factory=dict)
    pool: Executor | None = field(default_factory=Inline)
    redis_url: str = ""
    """Without one each office has breakers of its own, and they share the rest."""

    def __post_init__(self) -> None:
        self.access = RedisAccess(self.redis_url)
        limits = Limits(everything=_ANY, unknown=Budget(_ANY))
        self.limiter = Limiter(self.access, limits, processes=1, clock=self.seconds)
        self.shared = Shared(
            Balancer(self.access), Rates(self.access), AdaptiveShadow(self.access, Random(4)), Bulletin()
        )
        self.asking = Asking(seconds(0), self.pool)
        self.wallet = ScriptedWallet(self.services)
        self.wallets.setdefault("ETH", self.wallet)

    def seconds(self) -> float:
        """The hand's clock, for what runs without Redis."""
        return self.clock.time.timestamp()

    def milliseconds(self) -> int:
        return int(self.seconds() * 1000)

    # Setting the stage

    def add(
        self, service_id: str, kind: OperationKind, net: str = "0.09", tier: int = 1, **capabilities: Any
    ) -> ScriptedService:
        """A service with a place of its own; earlier ones weigh more."""
        service = ScriptedService(service_id, kind, net, **capabilities)
        service.clock = self.clock
        self.services[service_id] = service
        weight = f"0.{90 - len(self.services):02}"
        self.change_policy(services=(*self.policy.services, a_place(service_id, tier, weight)))
        return service

    def change_policy(self, **changes: Any) -> None:
        given = {name: getattr(self.policy, name) for name in RoutingPolicy.__dataclass_fields__}
        self.policy = RoutingPolicy(**{**given, **changes})

    def place(self, service_id: str, **changes: Any) -> None:
        """Change a service's place."""
        kept = {one.service_id: one for one in self.policy.services}
        known = {name: getattr(kept[service_id], name) for name in type(kept[service_id]).__dataclass_fields__}
        kept[service_id] = type(kept[service_id])(**{**known, **changes})
        self.change_policy(services=tuple(kept.values()))

    def office(self, owner: str = "a", ledger: Ledger | None = None) -> Office:
        """The worker of that name; its breakers are its own and stay."""
        guards = self.guards.setdefault(owner, {})
        for place in self.policy.services:
            if place.service_id in self.services and place.service_id not in guards:
                service, breakers = self.services[place.service_id], breakers_of(self.access, place, self.milliseconds)
                guards[place.service_id] = GuardedService(service, breakers, self.limiter, self.shared.bulletin)
        present = {one: guard for one, guard in guards.items() if one in self.services}
        desk = Desk(ledger or self.ledger, present, self.wallets, self.policy, owner, self.shared, self.timing)
        sending = Sending(desk)
        settlement = Settlement(desk, sending, Reconciliation(desk))
        return Office(
            desk,
            Planning(desk),
            Quoting(desk, self.asking),
            Selecting(desk),
            Execution(desk, sending, settlement),
            settlement,
            Sweeping(desk),
            Checking(desk),
            Shadowing(desk, self.asking),
        )

    def receive(self, number: int = 1, **changes: Any) -> str:
        """A new conversion of 1.5 ETH to BTC."""
        with self.ledger.begin() as work:
            return work.conversions.add(an_id(number), a_request(**changes), work.now()).id

    # Letting it run

    def begin(self, conversion_id: str, owner: str = "a") -> Conversion:
        """What the first hint leads to."""
        self.office(owner).follow(Next.START, conversion_id)
        return self.get(conversion_id)

    def executing(self, **changes: Any) -> str:
        """A conversion whose quotes are chosen and that may be executed."""
        conversion_id = self.receive(**changes)
        assert self.office().quote_and_select(conversion_id) is Next.EXECUTE
        return conversion_id

    def wait_until_due(self, conversion_id: str) -> None:
        """Let time pass until the sweep would find it."""
        conversion = self.get(conversion_id)
        for moment in (conversion.due_at, conversion.lease_until):
            if moment is not None:
                self.clock.reach(moment + timedelta(milliseconds=1))

    def sweep(self, owner: str = "a", ledger: Ledger | None = None) -> list[Errand]:
        office = self.office(owner, ledger)
        errands = office.sweeping.due()
        for errand in errands:
            office.do(errand)
        for service_id, guard in office.desk.services.items():
            if guard.breakers["quote"].snapshot().state is not BreakerState.CLOSED:
                office.checking.check(service_id)
        return errands

    def look(self, conversion_id: str, owner: str = "a") -> Conversion:
        """One sweep after the pause that the ledger asks for."""
        self.wait_until_due(conversion_id)
        self.sweep(owner)
        return self.get(conversion_id)

    def finish(self, conversion_id: str, owner: str = "a", *, looks: int = 150, stop: Any = None) -> Conversion:
        """Sweep until the conversion rests: terminal, or before a person."""
        for _ in range(looks):
            conversion = self.get(conversion_id)
            if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
                return conversion
            if stop is not None and conversion.state is stop:
                return conversion
            self.look(conversion_id, owner)
        return self.get(conversion_id)

    def finish_crashing(
        self, conversion_id: str, ledger: Ledger, looks: int = 150, *, at_death: Callable[[], None] = lambda: None
    ) -> Conversion:
        """As `finish` by a worker whose ledger may kill it; another one goes on from there, after `at_death`."""
        owner = "a"
        for _ in range(looks):
            conversion = self.get(conversion_id)
            if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
                return conversion
            self.wait_until_due(conversion_id)
            try:
                self.sweep(owner, ledger)
            except Crash:
                owner = "b"
                at_death()
        return self.get(conversion_id)

    # Looking at it

    def holders(self, conversion_id: str) -> list[str | None]:
        """Who holds the coins of each attempt, by the books."""
        with self.ledger.begin() as work:
            return [holder(work.books.of(one.id)) for one in work.attempts.of(conversion_id)]

    def books_agree(self, conversion_id: str) -> bool:
        """Coins are in transit at the service of an open attempt, in suspense while parked, else nowhere on the way."""
        parked = self.get(conversion_id).state is State.NEEDS_REVIEW
        expected: list[str | None] = []
        for attempt in self.attempts(conversion_id):
            on_the_way = attempt.is_open and attempt.state is not AttemptState.SETTLED
            expected.append((SUSPENSE if parked else transit_of(attempt.service_id)) if on_the_way else None)
        return self.holders(conversion_id) == expected

    def get(self, conversion_id: str) -> Conversion:
        with self.ledger.begin() as work:
            return work.conversions.get(conversion_id)

    def attempts(self, conversion_id: str) -> list[Attempt]:
        with self.ledger.begin() as work:
            return work.attempts.of(conversion_id)

    def operations(self, conversion_id: str, number: int = 0) -> list[Operation]:
        """Of the n-th attempt, or of the last."""
        with self.ledger.begin() as work:
            return work.attempts.operations(work.attempts.of(conversion_id)[number - 1].id)

    def transfer(self, conversion_id: str) -> Transfer | None:
        """Of the last operation."""
        operation = self.operations(conversion_id)[-1]
        with self.ledger.begin() as work:
            return work.transfers.of(operation)

    def quotes(self, conversion_id: str, asked_round: int = 1) -> dict[str, QuoteRow]:
        with self.ledger.begin() as work:
            return {row.service_id: row for row in work.quotes.of_round(conversion_id, asked_round)}

    def events(self, name: str | None = None) -> list[Event]:
        with self.ledger.begin() as work:
            told = work.outbox.after(0, 10_000)
        return [event for event in told if name is None or event.name == name]

    def payouts(self) -> list[str]:
        """Everything that any service ever paid out."""
        return [key for service in self.services.values() for key in service.payouts]

    def pause(self, conversion_id: str) -> float:
        """Seconds until it is looked at again, rounded."""
        conversion = self.get(conversion_id)
        assert conversion.due_at is not None
        return round((conversion.due_at - self.clock.time).total_seconds(), 1)

    def states(self, conversion_id: str) -> list[tuple[str, AttemptState]]:
        return [(one.service_id, one.state) for one in self.attempts(conversion_id)]


NewHouse = Callable[[], House]
