"""A director that hypothesis plays: hints, calls, deaths, pauses and late arrivals, and what must hold after each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from converter.desk import Next
from converter.domain.conversions import Attempt, AttemptState, Conversion, OperationState, State
from converter.domain.events import CONVERSION_NEEDS_REVIEW
from converter.domain.orders import OperationKind, OperationRule
from tests.memory_ledger import ALL_GUARDS, MemoryLedger
from tests.simulation.cast import KINDS, PlayedService
from tests.simulation.played import Fate, Nap, Stage, StageClock, Worker
from tests.simulation.schedule import in_place_of_time

STEPS = 50
LOOKS = 120
"""Sweeps after which a conversion that still moves is lost."""

PAUSES = (0.5, 0.5, 2, 6, 21, 31, 31, 70, 601)
"""Seconds: about every bound that there is, and beyond."""
SENT = (*[Fate.SEEN] * 3, Fate.REFUSED, Fate.NOTHING_LEFT, Fate.LOST, *[Fate.UNANSWERED] * 2, *[Fate.LATE] * 3)
LOOKED_UP = (*[Fate.SEEN] * 3, *[Fate.HIDDEN] * 2, Fate.LOST)
GOES_ON, PAUSES_THEN, DIES_THEN, TAKES_OVER = "goes on", "pauses", "dies", "takes over"
THEN = (*[GOES_ON] * 6, *[PAUSES_THEN] * 3, DIES_THEN, TAKES_OVER, TAKES_OVER)
ENDS: tuple[tuple[int, str], ...] = (
    *[(0, "")] * 24,
    *[(0, end) for end in (Nap.NAPS_AFTER, Nap.NAPS_AFTER, Nap.DIES_WITHIN, Nap.DIES_AFTER) for _ in range(3)],
    *[(steps, end) for steps in range(1, 9) for end in Nap],
)
fates = st.tuples(st.sampled_from(SENT), st.sampled_from(LOOKED_UP))
mixes = st.lists(st.integers(0, 59), min_size=2, max_size=3)
"""Numbers of kinds of services."""
owners, ends = st.sampled_from("abc"), st.sampled_from(ENDS)
TURN: dict[str, Any] = {"owner": owners, "fates": fates, "then": st.sampled_from(THEN), "end": ends}
"""Of a rule that has three names: hypothesis leaves rules out of a play by their names, and this one is the play."""


_FITTING = {State.RECEIVED: Next.START, State.WAITING: Next.START, State.EXECUTING: Next.EXECUTE}


class Decisions(RuleBasedStateMachine):
    """See the module. The invariants are I1 to I7 and I11 of the design; the services' own record is the judge."""

    guards = ALL_GUARDS
    kinds: tuple[str, ...] = tuple(sorted(KINDS))

    @staticmethod
    def declared(rule: OperationRule) -> OperationRule:
        """What services say of themselves; it is what they keep, but where a test of the tests lets them lie."""
        return rule

    def __init__(self) -> None:
        super().__init__()
        self.clock = StageClock()
        self.ledger = MemoryLedger(self.clock, self.guards)
        self.fences: dict[str, int] = {}
        self.ended: dict[str, tuple[Any, ...]] = {}
        self.is_sound = True
        self.time = ExitStack()
        self.time.enter_context(in_place_of_time(self.clock))  # type: ignore[arg-type]

    @initialize(
        drawn=st.lists(st.integers(0, 59), min_size=2, max_size=3), failover=st.sampled_from([True, True, False])
    )
    def open(self, drawn: list[int], failover: bool) -> None:
        self.stage = Stage([self.kinds[one % len(self.kinds)] for one in drawn], self.ledger, self.clock)
        self.store = self.ledger.store
        for service in self.stage.services:
            told = {kind: self.declared(rule) for kind, rule in service.rules.items()}
            service.capabilities = replace(service.capabilities, rules=told)
        if not failover:
            self.stage.house.change_policy(auto_failover=False)
        self.stage.house.receive(1)

    def act(self, what: Callable[..., Any], *given: Any) -> None:
        """A step; one that breaks leaves nothing to be judged."""
        try:
            what(*given)
        except BaseException:
            self.is_sound = False
            raise

    # Who does what

    @rule(**TURN)
    def turn(self, **drawn: Any) -> None:
        self.go_on(**drawn)

    @rule(**TURN)
    def another_turn(self, **drawn: Any) -> None:
        self.go_on(**drawn)

    @rule(**TURN)
    def one_more_turn(self, **drawn: Any) -> None:
        self.go_on(**drawn)

    def go_on(self, owner: str, fates: tuple[Fate, Fate], then: str, end: tuple[int, str]) -> None:
        """A worker goes on from where it is: hears what came of its call, wakes, or looks for what is due."""
        worker = self.whose_turn(owner, takes_over=then == TAKES_OVER)
        if worker.call is not None and worker.answer is None:
            worker.answer = self.stage.answer_to(worker.call, fates[worker.call.kind is None])
            if then == PAUSES_THEN:
                return
        if then == DIES_THEN and worker.answer is not None:
            self.act(self.stage.kill, worker)
            return
        worker.fate = end
        if worker.answer is not None:
            self.act(self.stage.go_on, worker, worker.answer)
        else:
            self.act(self.stage.play, worker, lambda: self.swept(worker.owner))

    def whose_turn(self, owner: str, *, takes_over: bool) -> Worker:
        """The one who was drawn; a busy one instead, where an idle one would find nothing to do."""
        workers = self.stage.workers
        if not workers[owner].is_idle:
            return workers[owner]
        if all(self.rests(one) for one in self.store.conversions.values()):
            self.stage.house.receive(len(self.store.conversions) + 1)
        busy = next((one for one in workers.values() if not one.is_idle), None)
        self.reach_due(held=takes_over or busy is None)
        due = [self.store.conversions[one] for at, one in self.store.due.entries if at <= self.clock.time]
        return workers[owner] if busy is None or any(map(self.is_free, due)) else busy

    @precondition(lambda self: any(one.is_idle for one in self.stage.workers.values()))
    @rule(number=st.integers(0, 1), task=st.sampled_from([*Next, None, None, None]), end=ends)
    def hint(self, number: int, task: Next | None, end: tuple[int, str]) -> None:
        """A message arrives, for the first time or again. None: the one that fits."""
        worker = next(one for one in self.stage.workers.values() if one.is_idle)
        latest = sorted(self.store.conversions)[-2:]
        conversion, office = self.store.conversions[latest[number % len(latest)]], self.stage.office(worker.owner)
        fitting = _FITTING.get(conversion.state, Next.SETTLE)
        worker.fate = end
        self.act(self.stage.play, worker, lambda: office.follow(task or fitting, conversion.id))

    @precondition(lambda self: len(self.store.conversions) < 2)
    @rule()
    def submit(self) -> None:
        self.stage.house.receive(2)

    @precondition(lambda self: self.stage.on_its_way)
    @rule(number=st.integers(0, 3))
    def arrive(self, number: int) -> None:
        self.act(self.stage.arrive, number)

    @rule(length=st.sampled_from(PAUSES))
    def pause(self, length: float) -> None:
        self.clock.forward(length)

    def swept(self, owner: str) -> None:
        office = self.stage.office(owner)
        for errand in office.sweeping.due():
            office.do(errand)

    def reach_due(self, *, held: bool) -> None:
        """Let the time pass after which somebody has to look; `held`: and take over what another may be working on."""
        waiting = [one for one in self.store.conversions.values() if one.due_at is not None]
        moments = [max(one.due_at, one.lease_until or one.due_at) for one in waiting if held or self.is_free(one)]
        if moments:
            self.clock.reach(min(moments) + timedelta(milliseconds=1))

    def is_free(self, conversion: Conversion) -> bool:
        return conversion.lease_until is None or conversion.lease_until < self.clock.time

    # What must always hold

    def attempts_of(self, conversion_id: str) -> list[Attempt]:
        return [self.store.attempts[one] for one in self.store.attempts_of.get(conversion_id, ())]

    def moved(self, conversion_id: str) -> list[str]:
        """Keys of the orders in which a service has moved money of this conversion."""
        return [
            key
            for service in self.stage.services
            for key, booked in service.orders.items()
            if key.startswith(conversion_id.removeprefix("cv_"))
            and (booked.payouts or service.capabilities.commits_on is OperationKind.ORDER)
        ]

    def payouts(self, conversion_id: str) -> list[str]:
        body = conversion_id.removeprefix("cv_")
        booked = [one for service in self.stage.services for one in service.orders.items()]
        return [payout for key, one in booked if key.startswith(body) for payout in one.payouts]

    @invariant()
    def every_conversion_is_as_it_must_be(self) -> None:
        self.act(self.judge)

    def judge(self) -> None:
        for conversion in self.store.conversions.values():
            self.judge_conversion(conversion)
        for key, row_id in self.store.operation_keys.items():
            self.judge_operation(key, self.store.operations[row_id])

    def judge_conversion(self, conversion: Conversion) -> None:
        moved, paid = self.moved(conversion.id), self.payouts(conversion.id)
        assert len(moved) <= 1, f"I1: executed more than once: {moved}"
        assert len(paid) <= 1, f"I1: paid more than once: {paid}"
        attempts = self.attempts_of(conversion.id)
        assert sum(one.is_open for one in attempts) <= 1, "I2: two open attempts"
        settled = [one.key for one in attempts if one.state is AttemptState.SETTLED]
        if conversion.state is State.COMPLETED:
            assert settled == moved, f"I3: completed, settled {settled}, executed {moved}"
            assert len(paid) == 1, "I3: completed and not paid"
        else:
            assert not settled, f"I3: settled and {conversion.state}"
        if conversion.state in (State.FAILED, State.CANCELLED, State.EXPIRED):
            assert not moved, f"I4: {conversion.state}, and executed: {moved}"
        assert conversion.fence >= self.fences.get(conversion.id, 0), "I6: the fence fell"
        self.fences[conversion.id] = conversion.fence
        if conversion.state.is_terminal:
            end = (conversion.state, conversion.delivered, conversion.txid, conversion.reason, conversion.completed_at)
            assert self.ended.setdefault(conversion.id, end) == end, "I7: what was terminal changed"

    def judge_operation(self, key: str, operation: Any) -> None:
        """What is recorded as proven is true, and stays true whatever still arrives."""
        attempt = self.store.attempts[operation.attempt_id]
        service = self.stage.house.services[attempt.service_id]
        assert isinstance(service, PlayedService)
        if operation.kind is OperationKind.DEPOSIT:
            took = bool(service.orders[attempt.key].deposited)
        else:
            took = service.took(key)
        if operation.state is OperationState.EXECUTED:
            assert took, f"{key} is recorded as executed, and was not"
        elif operation.state is OperationState.NOT_EXECUTED and service.rules[operation.kind].moves_money:
            assert not took, f"{key} is recorded as not executed, and was"

    # The end: everything works again, and everybody has all the time they want

    def teardown(self) -> None:
        try:
            if self.is_sound and hasattr(self, "stage"):
                self.calm()
        finally:
            self.time.close()

    def calm(self) -> None:
        self.stage.is_calm = True
        while self.stage.on_its_way:
            self.stage.arrive(0)
        for worker in self.stage.workers.values():
            if worker.answer is not None:
                self.stage.go_on(worker, worker.answer)
            elif worker.call is not None:
                self.stage.go_on(worker, self.stage.answer_to(worker.call, Fate.SEEN))
        self.judge()
        for _ in range(LOOKS):
            if all(self.rests(one) for one in self.store.conversions.values()):
                break
            self.reach_due(held=True)
            self.swept("z")
        self.judge()
        told = {event.conversion_id for event, _ in self.store.events if event.name == CONVERSION_NEEDS_REVIEW}
        for conversion in self.store.conversions.values():
            assert self.rests(conversion), f"I11: lost, it is still {conversion.state}: {conversion.reason}"
            assert conversion.state.is_terminal or conversion.id in told, "I11: parked, and nobody was told"

    @staticmethod
    def rests(conversion: Conversion) -> bool:
        return conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW


def played(machine: type[Decisions], examples: int, **more: Any) -> None:
    given: dict[str, Any] = {"derandomize": True, "database": None, **more}
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **given,
        ),
    )
