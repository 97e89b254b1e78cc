"""One simulated system: workers, broker, beat, ledger, services, and a bad day that its seed has drawn.

The use-cases are the product's own and are wired as `converter.bootstrap` does. Each task runs as a process of its own
that may be paused or killed at any step; a step is the begin and the end of a transaction, a reading of the ledger's
clock, and each call of a service or a wallet before it leaves, while it is under way and before its answer is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import greenlet

from converter.asking import Asking
from converter.bulletin import Bulletin
from converter.checking import Checking
from converter.desk import Desk, Shared, Timing
from converter.domain.breaker_rules import BreakerRules
from converter.domain.coins import asset
from converter.domain.conversions import ConversionRequest, State
from converter.domain.intake import conversion_id
from converter.domain.policy import RoutingPolicy
from converter.execution import Execution
from converter.guard import GuardedService
from converter.planning import Planning
from converter.ports import Ledger, Work
from converter.quoting import Quoting
from converter.reconciliation import Reconciliation
from converter.selecting import Selecting
from converter.sending import Sending
from converter.settlement import Settlement
from converter.sweeping import Sweeping
from tests.builders import BTC, BTC_ADDRESS, a_place, seconds
from tests.fakes import Crash
from tests.memory_ledger import MemoryLedger
from tests.simulation.broker import Broker
from tests.simulation.outside import SimWallet
from tests.simulation.profiles import CALM, EVERYTHING_ENDS, KINDS, TROUBLE_LASTS, Mix, Profile
from tests.simulation.schedule import MICRO, Scheduler, in_place_of_time
from tests.simulation.services import SimService
from tests.simulation.shared import NoAdaptive, SimBreaker, SimLimiter, SimRates, SimTurns
from tests.simulation.truth import Truth, Verdict, judged

DOGE = asset("DOGE")
CONVERSIONS = 60
"""In one world."""
_AMOUNTS = (Decimal(1500), Decimal("820.5"), Decimal(31000))
_ARRIVE_WITHIN = 90
_NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
_SHORT = 0.2
"""Of all steps: others get a turn."""


@dataclass(frozen=True)
class Setup:
    """What a world is played with."""

    mix: Mix
    profile: Profile
    conversions: int = CONVERSIONS


@dataclass
class Office:
    """One worker process."""

    owner: str
    bulletin: Bulletin
    planning: Planning
    quoting: Quoting
    selecting: Selecting
    execution: Execution
    settlement: Settlement
    sweeping: Sweeping
    checking: Checking


def wired(desk: Desk, asking: Asking, sending: Sending, reconciliation: Reconciliation) -> Office:
    """The use-cases of one process."""
    settlement = Settlement(desk, sending, reconciliation)
    execution = Execution(desk, sending, settlement)
    use_cases = (Planning(desk), Quoting(desk, asking), Selecting(desk), execution, settlement, Sweeping(desk))
    return Office(desk.owner, desk.shared.bulletin, *use_cases, Checking(desk))


class AtOnce:
    """Runs what is submitted on the caller's own thread."""

    def submit(self, call: Callable[..., Any], /, *given: Any) -> None:
        call(*given)


class SimLedger:
    """The ledger as the workers have it: each transaction begins and ends with a step."""

    def __init__(self, ledger: MemoryLedger, world: World) -> None:
        self._ledger = ledger
        self._transaction = _Transaction(ledger, world)
        self._breathe = world.breathe

    def begin(self) -> _Transaction:
        return self._transaction

    def now(self) -> datetime:
        self._breathe("the clock is read")
        now = self._ledger.now()
        self._breathe("the clock was read")
        return now


class _Transaction:
    """Steps stand before and after it and never inside, so that one object does for all."""

    def __init__(self, ledger: MemoryLedger, world: World) -> None:
        self._begin = ledger.begin
        self._breathe = world.breathe
        self._inner: Any = None

    def __enter__(self) -> Work:
        self._breathe("a transaction begins")
        self._inner = self._begin()
        work: Work = self._inner.__enter__()
        return work

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)
        if error[0] is None:
            self._breathe("a transaction is committed")


class World:
    """See the module."""

    def __init__(self, setup: Setup, chance: Random, *, traced: bool = False) -> None:
        self.setup = setup
        self.chance = chance
        self._random = self.chance.random
        self.scheduler = Scheduler()
        self.trace: list[tuple[int, str, str]] | None = [] if traced else None
        self.at_work: dict[Any, tuple[str, str]] = {}
        self.ledger = self.make_ledger()
        self.truth = Truth()
        self.observed: dict[str, str] = {}
        self.wallet = SimWallet(self)
        self.services = self._services()
        self.faults = setup.profile
        self._share_state()
        self.policy = RoutingPolicy(
            services=tuple(a_place(one, tier, "0.25") for one, (_, tier) in zip(self.services, setup.mix, strict=True)),
            allow_unverified=True,
            max_parallel_requests=2,
        )
        self._hazards = self._steps_of(setup.profile)
        self._seen: dict[str, tuple[int, State]] = {}
        self.unfinished: set[str] = set()
        self._workers = 0
        self.idle: list[Office] = []
        self.steps = 0
        self.broker = Broker(self)

    def make_ledger(self) -> MemoryLedger:
        return MemoryLedger(self.scheduler.clock)

    def _services(self) -> dict[str, SimService]:
        chosen = zip(_NAMES, (kind for kind, _ in self.setup.mix))  # noqa: B905
        return {name: SimService(self, name, KINDS[kind]) for name, kind in chosen}

    def _share_state(self) -> None:
        rules = BreakerRules(max_failures=5, open_for=timedelta(seconds=15), open_cap=timedelta(seconds=60))
        self.breakers = {
            one: {name: SimBreaker(self.scheduler, self.chance, rules) for name in ("quote", "execute")}
            for one in self.services
        }
        self.limiter = SimLimiter(self.scheduler, self.chance)
        self.limiter.refuses = self.faults.limited
        self.turns, self.rates = SimTurns(self.scheduler), SimRates()

    def forget(self) -> None:
        """Redis is emptied."""
        for breakers in self.breakers.values():
            for one in breakers.values():
                one.forget()
        for shared in (self.limiter, self.turns, self.rates):
            shared.forget()

    # Workers

    def take_office(self) -> Office:
        """A worker process that has nothing to do; a new one when all are busy, paused or dead."""
        return self.idle.pop() if self.idle else self._new_office()

    def _new_office(self) -> Office:
        self._workers += 1
        bulletin, asking = Bulletin(), Asking(seconds(0), AtOnce())  # type: ignore[arg-type]
        shared = Shared(self.turns, self.rates, NoAdaptive(), bulletin)
        guards = {
            name: GuardedService(service, self.breakers[name], self.limiter, bulletin)
            for name, service in self.services.items()
        }
        ledger: Ledger = SimLedger(self.ledger, self)  # type: ignore[assignment]
        desk = Desk(ledger, guards, {"DOGE": self.wallet}, self.policy, f"w{self._workers}", shared, Timing())
        return self.wire(desk, asking)

    def wire(self, desk: Desk, asking: Asking) -> Office:
        return wired(desk, asking, Sending(desk), Reconciliation(desk))

    # Steps

    def breathe(self, where: str) -> None:
        """One step of a worker: it goes on, is held up, is paused, or dies."""
        self.steps += 1
        drawn = self._random()
        if drawn >= _SHORT:
            crash, long, short, longest = self._hazards
            if drawn < crash:
                self.note("", f"DIES: {where}")
                raise Crash(where)
            if drawn < long:
                self._pause(where, self._random() * longest)
            elif drawn < short:
                self._pause(where, 1 + 7 * self._random())
            elif self.trace is not None:
                self.note("", where)
            return
        if self.trace is not None:
            self.note("", where)
        self.scheduler.rest(self.scheduler.now + 20 + int(drawn * 60_000))

    def _pause(self, where: str, length: float) -> None:
        self.note("", f"{where}: paused for {length:.1f} s")
        self.scheduler.rest(self.scheduler.now + int(length * MICRO))
        self.note("", f"{where}: wakes up")

    @staticmethod
    def _steps_of(profile: Profile) -> tuple[float, float, float, float]:
        crash = _SHORT + profile.crash
        long = crash + profile.long_pause
        return crash, long, long + profile.short_pause, profile.longest_pause

    def note(self, key: str, text: str) -> None:
        """Trace something of a conversion: by its id or an order's key, or of whoever is at work."""
        if self.trace is not None:
            owner, cid = self.at_work.get(greenlet.getcurrent(), ("", ""))
            if key:
                owner, cid = "", key if key.startswith("cv_") else "cv_" + key.rsplit("-", 1)[0]
            self.trace.append((self.scheduler.now, cid, f"{owner:>4} {text}"))

    def watch(self, cid: str) -> None:
        """After each task: what never may change, and whether the conversion rests."""
        conversion = self.ledger.store.conversions[cid]
        before = self._seen.get(cid)
        if before is not None:
            fence, state = before
            if conversion.fence < fence or (state.is_terminal and conversion.state is not state):
                self.observed[cid] = f"changed_at_end: {state} at fence {fence}, then {conversion.state}"
        self._seen[cid] = (conversion.fence, conversion.state)
        if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
            self.unfinished.discard(cid)
        else:
            self.unfinished.add(cid)
            self.broker.tick()

    # The play

    def play(self) -> Verdict:
        """The bad day; then everything works again, for as long as anything is unfinished."""
        with in_place_of_time(self.scheduler):
            for number in range(self.setup.conversions):
                self.scheduler.at(int(self._random() * _ARRIVE_WITHIN * MICRO), partial(self._accept, number))
            trouble_ends = (_ARRIVE_WITHIN + int(TROUBLE_LASTS.total_seconds())) * MICRO
            self.scheduler.run(trouble_ends)
            self.scheduler.now = max(self.scheduler.now, trouble_ends)
            self.faults = CALM
            self.limiter.refuses = 0.0
            self._hazards = self._steps_of(CALM)
            self.scheduler.run(trouble_ends + int(EVERYTHING_ENDS.total_seconds()) * MICRO)
            self.scheduler.abandon()
        verdict = judged(self.ledger, self.truth, self.observed)
        verdict.figures.clashes += len(self.wallet.clashes)
        return verdict

    def _accept(self, number: int) -> None:
        """A request comes in and is stored; the hint to start it may get lost."""
        request = ConversionRequest(DOGE, BTC, _AMOUNTS[number % 3], BTC_ADDRESS)
        cid = conversion_id(1_770_000_000_000 + number, number.to_bytes(10, "big"))
        with self.ledger.begin() as work:
            work.conversions.add(cid, request, work.now())
        self.unfinished.add(cid)
        self.broker.accepted(cid)

    def fingerprint(self) -> tuple[object, ...]:
        """Equal for two runs that went the same way."""
        states = tuple((one.state, one.fence, one.round) for one in self.ledger.store.conversions.values())
        return self.steps, self.scheduler.now, self._random(), hash(states)
