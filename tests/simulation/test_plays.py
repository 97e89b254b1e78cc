"""Two plays that reviews had missed and simulations found, each with and without what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from converter import reconciliation
from converter.desk import Next
from converter.domain.conversions import Operation, OperationState
from tests.memory_ledger import ALL_GUARDS, Guard, MemoryLedger
from tests.simulation.played import Fate, Stage, StageClock
from tests.simulation.schedule import in_place_of_time

Made = tuple[Stage, str]


@pytest.fixture
def clock() -> Iterator[StageClock]:
    clock = StageClock()
    with in_place_of_time(clock):  # type: ignore[arg-type]
        yield clock


def approving(clock: StageClock, kind: str, guards: frozenset[Guard] = ALL_GUARDS) -> Stage:
    """Worker a has placed an order and is about to approve it."""
    stage = Stage([kind, kind], MemoryLedger(clock, guards), clock)
    conversion_id = stage.house.receive()
    office = stage.office("a")
    stage.play(stage.workers["a"], lambda: office.follow(Next.START, conversion_id))
    reads(stage, "a", Fate.SEEN)
    return stage


def reads(stage: Stage, owner: str, fate: Fate) -> None:
    """A worker hears at once what came of its call."""
    call = stage.workers[owner].call
    assert call is not None
    stage.go_on(stage.workers[owner], stage.answer_to(call, fate))


def is_answered(stage: Stage, owner: str, fate: Fate) -> None:
    """The answer is made now; the worker is paused before it reads it."""
    call = stage.workers[owner].call
    assert call is not None
    stage.workers[owner].answer = stage.answer_to(call, fate)


def wakes(stage: Stage, owner: str) -> None:
    answer = stage.workers[owner].answer
    assert answer is not None
    stage.go_on(stage.workers[owner], answer)


def looks(stage: Stage, owner: str, after: float) -> None:
    """A worker finds the conversion due and is about to look it up."""
    stage.clock.forward(after)
    office = stage.office(owner)
    stage.play(stage.workers[owner], lambda: [office.do(errand) for errand in office.sweeping.due()])


def approval(stage: Stage) -> Operation:
    [operation] = [one for one in stage.ledger.store.operations.values() if one.kind == "approval"]
    return operation


def an_absence_is_read_late(clock: StageClock) -> Stage:
    """Asked before the late request came in, which was in time; the answer is read when the quiet time is over."""
    stage = approving(clock, "looked up")
    reads(stage, "a", Fate.LATE)
    looks(stage, "b", after=2.5)
    is_answered(stage, "b", Fate.SEEN)
    stage.arrive(0)
    assert len(stage.house.payouts()) == 1
    clock.forward(60)
    wakes(stage, "b")
    return stage


def test_an_absence_that_was_told_before_the_request_arrived_proves_nothing(clock: StageClock) -> None:
    assert approval(an_absence_is_read_late(clock)).state is OperationState.PREPARED


def test_a_clock_that_is_read_after_the_answer_would_make_a_proof_of_it(
    clock: StageClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = reconciliation._absent
    monkeypatch.setattr(
        reconciliation, "_absent", lambda rule, operation, _, order: decide(rule, operation, clock(), order)
    )
    assert approval(an_absence_is_read_late(clock)).state is OperationState.NOT_EXECUTED


def a_refusal_is_read_after_a_repeat(clock: StageClock, guards: frozenset[Guard] = ALL_GUARDS) -> Stage:
    """The first send is refused and its sender paused; another owner sends again, and that one is executed."""
    stage = approving(clock, "recognises", guards)
    is_answered(stage, "a", Fate.REFUSED)
    looks(stage, "b", after=40)
    reads(stage, "b", Fate.SEEN)
    is_answered(stage, "b", Fate.SEEN)
    assert len(stage.house.payouts()) == 1
    wakes(stage, "a")
    return stage


def test_a_refusal_of_one_send_proves_nothing_about_another(clock: StageClock) -> None:
    stage = a_refusal_is_read_after_a_repeat(clock)
    assert approval(stage).state is OperationState.PREPARED
    wakes(stage, "b")
    assert approval(stage).state is OperationState.EXECUTED


def test_sends_that_are_not_counted_would_let_it_free_the_conversion(
    clock: StageClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "_check_prepared", lambda stage, call: None)
    stage = a_refusal_is_read_after_a_repeat(clock, ALL_GUARDS - {Guard.COUNTED_SENDS})
    assert approval(stage).state is OperationState.NOT_EXECUTED


def test_absences_are_not_in_a_row_when_somebody_saw_it_in_between(clock: StageClock) -> None:
    """An exchange that wants two absences in a row denies an order, shows it to an owner who was paused before asking,
    and denies it again: that is one absence each time."""
    stage = Stage(["exchange", "exchange"], MemoryLedger(clock), clock)
    for service in stage.services:
        service.flaps = True
    conversion_id = stage.house.receive()
    office = stage.office("a")
    stage.play(stage.workers["a"], lambda: office.follow(Next.START, conversion_id))
    reads(stage, "a", Fate.UNANSWERED)
    looks(stage, "a", after=2.5)
    looks(stage, "b", after=31)
    reads(stage, "b", Fate.HIDDEN)
    looks(stage, "b", after=3.5)
    reads(stage, "a", Fate.SEEN)
    reads(stage, "b", Fate.HIDDEN)
    [order] = [one for one in stage.ledger.store.operations.values() if one.key in stage.services[0].orders]
    assert order.state is not OperationState.NOT_EXECUTED
