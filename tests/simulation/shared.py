"""What the workers of a simulated system share beside the ledger: all that a loss of Redis would empty.

The rules are the product's own (`converter.domain`); only the way to Redis is left out, since nothing of it can move
money and the simulation would spend half of its time there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from converter.domain import balancing, breakers
from converter.domain.adaptive import Ending
from converter.domain.anomalies import Judgement, PairState
from converter.domain.balancing import Tier
from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import NO_END, NO_PERMIT, Answer, BreakerState, Moment, Verdict
from converter.domain.limits import Admission as RateAdmission
from converter.domain.permits import Admission, Permit, Snapshot, Transition
from converter.domain.quarantine import Change, Standing
from tests.simulation.schedule import MICRO, Scheduler

_ADMITTED = RateAdmission(True)
_PLAIN = Standing()


class SimBreaker:
    """A breaker that all workers share. `forget` is what a loss of Redis does to it."""

    def __init__(self, scheduler: Scheduler, chance: Random, rules: BreakerRules) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._rules = rules
        self.forget()

    def forget(self) -> None:
        self._keep(breakers.fresh(self._scheduler.milliseconds()))

    def _keep(self, record: breakers.Record) -> None:
        self._record = record
        self.is_closed = record.state is BreakerState.CLOSED
        if self.is_closed:  # asked all the time, and always the same
            self._free = Admission(Permit(record.generation, 0, shared=True), None, None)
            self._snapshot = _snapshot(breakers.look(record, self._rules, self._scheduler.milliseconds()))

    def admit(self, *, may_probe: bool = True) -> Admission:
        if self.is_closed:
            return self._free
        record, answer = breakers.admit(self._record, self._rules, self._scheduler.milliseconds(), may_probe=may_probe)
        self._keep(record)
        if answer.permit == NO_PERMIT:
            return Admission(None, _length(answer.wait), _transition(answer))
        return Admission(Permit(answer.generation, answer.permit, shared=True), None, _transition(answer))

    def report(self, permit: Permit, verdict: Verdict, elapsed: timedelta) -> Transition | None:
        if verdict is Verdict.NEUTRAL and not permit.is_probe:
            return None
        slow = verdict is Verdict.GOOD and elapsed > self._rules.slow_after
        held, verdict = (permit.generation, permit.number), Verdict.SLOW if slow else verdict
        return self._step(breakers.report(self._record, self._rules, held, verdict, self._moment()))

    def move(self, target: BreakerState) -> Transition | None:
        return self._step(breakers.move(self._record, self._rules, target, self._moment()))

    def release(self) -> Transition | None:
        return self._step(breakers.release(self._record, self._rules, self._moment()))

    def snapshot(self) -> Snapshot:
        if self.is_closed:
            return self._snapshot
        return _snapshot(breakers.look(self._record, self._rules, self._scheduler.milliseconds()))

    def _step(self, told: tuple[breakers.Record, Answer]) -> Transition | None:
        self._keep(told[0])
        return _transition(told[1])

    def _moment(self) -> Moment:
        return Moment(self._scheduler.milliseconds(), self._chance.random())


def _snapshot(answer: Answer) -> Snapshot:
    return Snapshot(
        state=answer.state,
        since=_when(answer.since),
        until=_when(answer.until) if answer.until else None,
        failures=answer.failures,
        generation=answer.generation,
        trips=answer.trips,
        retry_after=_length(answer.wait),
        shared=True,
    )


def _transition(answer: Answer) -> Transition | None:
    if answer.before is None:
        return None
    until = _when(answer.until) if answer.until else None
    facts = (answer.before, answer.state, answer.generation, _when(answer.since), until, answer.failures)
    return Transition(*facts, event=answer.event, shared=True)


def _when(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _length(wait: int) -> timedelta | None:
    return None if wait == NO_END else timedelta(milliseconds=wait)


class SimLimiter:
    """Holds a service that says "too often", and refuses some calls of its own accord."""

    def __init__(self, scheduler: Scheduler, chance: Random) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self.refuses = 0.0
        """The share of calls that it refuses."""
        self._held: dict[str, int] = {}

    def forget(self) -> None:
        self._held.clear()

    def admit(self, service_id: str, operation: str) -> RateAdmission:
        if self.refuses and self._chance.random() < self.refuses:
            return RateAdmission(False, "all", 0.3)
        return self.look(service_id, operation)

    def look(self, service_id: str, operation: str) -> RateAdmission:
        if not self._held:
            return _ADMITTED
        wait = self._held.get(service_id, 0) - self._scheduler.now
        return RateAdmission(False, "held", wait / MICRO) if wait > 0 else _ADMITTED

    def hold(self, service_id: str, seconds: float) -> None:
        self._held[service_id] = self._scheduler.now + int(min(seconds, 30.0) * MICRO)


class SimTurns:
    """The balancer's turns, by the rule of `converter.domain.balancing`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._states: dict[str, dict[str, int]] = {}
        self._marks: dict[int, str] = {}

    def forget(self) -> None:
        self._states.clear()

    def turns(self, tier: Tier, services: Collection[str]) -> list[str]:
        if len(services) == 1:
            return list(services)
        state = self._states.get(self._mark(tier), {})
        return balancing.turns(tier.strategy, state, tier.members(services), self._second)

    def take(self, tier: Tier, services: Collection[str], waiting: Collection[str] = ()) -> str:
        if len(services) == 1 and not waiting:
            return next(iter(services))
        mark, members = self._mark(tier), tier.members(services, waiting)
        state = self._states.get(mark, {})
        taken = balancing.turns(tier.strategy, state, members, self._second)[0]
        self._states[mark] = balancing.charged(tier.strategy, state, members, taken, self._second)
        return taken

    def _mark(self, tier: Tier) -> str:
        """The configuration never changes in a world: a tier's number names it."""
        return self._marks.setdefault(tier.number, tier.mark())

    @property
    def _second(self) -> int:
        return self._scheduler.now // MICRO


class SimRates:
    """The memory of rates and strikes, without turning it into text and back."""

    def __init__(self) -> None:
        self._pairs: dict[str, PairState] = {}
        self._standings: dict[str, Standing] = {}

    def forget(self) -> None:
        self._pairs.clear()
        self._standings.clear()

    def pair(self, pair: str) -> PairState:
        return self._pairs.get(pair, PairState())

    def learn(self, pair: str, step: Callable[[PairState], Judgement], now: datetime) -> Judgement:
        judgement = step(self.pair(pair))
        self._pairs[pair] = judgement.state
        return judgement

    def standings(self, service_ids: Collection[str]) -> dict[str, Standing]:
        return {one: self._standings.get(one, _PLAIN) for one in service_ids}

    def note(self, service_id: str, step: Callable[[Standing], Change], now: datetime) -> Change:
        change = step(self._standings.get(service_id, _PLAIN))
        self._standings[service_id] = change.standing
        return change

    def confirm(self, pair: str, rate: Decimal | None, now: datetime) -> PairState:
        raise NotImplementedError("no operator takes part")

    def snapshot(self) -> list[Any]:
        return []

    def reload(self, rows: Any, now: datetime) -> int:
        return 0


class NoAdaptive:
    """Choosing by expected value is only a shadow; it is left out."""

    def note(self, service_id: str, ending: Ending) -> None:
        pass

    def compare(self, nets: Mapping[str, Decimal], taken: str) -> str | None:
        return None
