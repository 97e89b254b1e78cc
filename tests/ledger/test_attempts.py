"""Attempts and operations: one open attempt, prepared under the lease, recorded once, under our fence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.domain.conversions import (
    ATTEMPT_TRANSITIONS,
    OPEN_ATTEMPT,
    Attempt,
    AttemptState,
    Conversion,
    Operation,
    OperationState,
    State,
)
from converter.domain.errors import ClaimLost, IllegalTransition
from converter.domain.orders import OperationKind
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import attempts, operations
from tests.builders import START, a_request, an_attempt, an_id, an_operation, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import AnyLedger, all_rows, put_past_all_rules

LEASE = seconds(30)


def claimed(ledger: AnyLedger, owner: str = "a", number: int = 1) -> Conversion:
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(idempotency_key=f"k{number}"), START)
        conversion = work.conversions.claim(an_id(number), owner, LEASE, tuple(State))
    assert conversion is not None
    return conversion


def prepare(ledger: AnyLedger, conversion: Conversion, number: int = 1, **changes: Any) -> tuple[Attempt, Operation]:
    attempt = an_attempt(conversion, number, **changes)
    with ledger.begin() as work:
        return work.attempts.prepare(conversion, attempt, an_operation(attempt, fence=conversion.fence))


def everything(ledger: AnyLedger) -> list[Any]:
    """All rows of attempts and operations."""
    return all_rows(ledger, attempts, operations)


# --- One open attempt ------------------------------------------------------------------------------------------------


def test_a_second_open_attempt_is_barred(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    prepare(ledger, conversion)
    before = everything(ledger)
    with pytest.raises(ClaimLost, match="open attempt"):
        prepare(ledger, conversion, 2, service_id="beta")
    assert everything(ledger) == before


@pytest.mark.parametrize("second", OPEN_ATTEMPT)
@pytest.mark.parametrize("first", OPEN_ATTEMPT)
def test_the_database_itself_bars_two_open_attempts(
    sql_ledger: SqlLedger, first: AttemptState, second: AttemptState
) -> None:
    conversion = claimed(sql_ledger)
    with sql_ledger.engine.begin() as connection:
        connection.execute(attempts.insert(), [raw_attempt(conversion.id, 1, first)])
    with pytest.raises(sa.exc.IntegrityError), sql_ledger.engine.begin() as connection:
        connection.execute(attempts.insert(), [raw_attempt(conversion.id, 2, second)])


@pytest.mark.parametrize("first", [AttemptState.NOT_EXECUTED, AttemptState.REFUNDED])
def test_the_database_allows_another_attempt_after_a_closed_one(sql_ledger: SqlLedger, first: AttemptState) -> None:
    conversion = claimed(sql_ledger)
    with sql_ledger.engine.begin() as connection:
        rows = [raw_attempt(conversion.id, 1, first), raw_attempt(conversion.id, 2, AttemptState.PREPARED)]
        connection.execute(attempts.insert(), rows)
    with pytest.raises(sa.exc.IntegrityError), sql_ledger.engine.begin() as connection:
        connection.execute(attempts.update().where(attempts.c.number == 1).values(state=AttemptState.EXECUTED))


def raw_attempt(conversion_id: str, number: int, state: AttemptState) -> dict[str, Any]:
    attempt = an_attempt(conversion_id, number, state=state)
    return {name: getattr(attempt, name) for name in Attempt.__dataclass_fields__ if name != "id"}


def test_other_conversions_have_attempts_of_their_own(ledger: AnyLedger) -> None:
    for number in (1, 2):
        prepare(ledger, claimed(ledger, number=number))
    assert len(everything(ledger)) == 4


def test_a_number_and_a_key_are_used_once(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.record(conversion, operation, OperationState.NOT_EXECUTED)
        work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED)
    for again in (an_attempt(conversion, 1, key="other"), an_attempt(conversion, 2, key=attempt.key)):
        with pytest.raises(ClaimLost), ledger.begin() as work:
            work.attempts.prepare(conversion, again, an_operation(again, key="another"))
    assert len(everything(ledger)) == 2


def test_of_many_who_prepare_at_once_one_does(engine: Engine) -> None:
    """Even if all believed to own the conversion: same fence, same lease."""
    ledger = SqlLedger(engine)
    conversion = claimed(ledger)
    barrier = threading.Barrier(6)

    def run(number: int) -> bool:
        barrier.wait(10)
        try:
            prepare(ledger, conversion, number)
        except ClaimLost:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(run, range(1, 7))) == [False] * 5 + [True]
    assert len(everything(ledger)) == 2


# --- Fences and leases -----------------------------------------------------------------------------------------------

Write = Callable[[Any, Conversion, Attempt, Operation], Any]

WRITES: dict[str, Write] = {
    "prepare": lambda work, conversion, attempt, operation: work.attempts.prepare(
        conversion, replace(attempt, number=2, key="k2"), replace(operation, key="k2")
    ),
    "prepare_step": lambda work, conversion, attempt, operation: work.attempts.prepare_step(
        conversion, replace(operation, sequence=2, key="k2", kind=OperationKind.DEPOSIT)
    ),
    "count_send": lambda work, conversion, attempt, operation: work.attempts.count_send(conversion, operation, START),
    "record": lambda work, conversion, attempt, operation: work.attempts.record(
        conversion, operation, OperationState.EXECUTED
    ),
    "move": lambda work, conversion, attempt, operation: work.attempts.move(conversion, attempt, AttemptState.PENDING),
}
NEEDS_LEASE = ("prepare", "prepare_step", "count_send")


@pytest.mark.parametrize("name", WRITES)
def test_an_old_fence_changes_nothing(ledger: AnyLedger, clock: HandClock, name: str) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    clock.forward(31)
    with ledger.begin() as work:
        assert work.conversions.claim(conversion.id, "b", LEASE, tuple(State))
    before = everything(ledger)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        WRITES[name](work, conversion, attempt, operation)
    assert everything(ledger) == before


@pytest.mark.parametrize("name", WRITES)
def test_what_will_be_sent_needs_a_lease_and_what_is_known_does_not(
    ledger: AnyLedger, clock: HandClock, name: str
) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    clock.forward(31)
    before = everything(ledger)
    if name in NEEDS_LEASE:
        with pytest.raises(ClaimLost), ledger.begin() as work:
            WRITES[name](work, conversion, attempt, operation)
        assert everything(ledger) == before
    else:
        with ledger.begin() as work:
            WRITES[name](work, conversion, attempt, operation)
        assert everything(ledger) != before


@pytest.mark.parametrize("name", NEEDS_LEASE)
def test_a_released_claim_prepares_nothing(ledger: AnyLedger, name: str) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.conversions.move(conversion, State.QUOTING)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        WRITES[name](work, conversion, attempt, operation)


# --- Recording -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [OperationState.EXECUTED, OperationState.NOT_EXECUTED])
def test_an_outcome_is_recorded_once(ledger: AnyLedger, outcome: OperationState) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.record(conversion, operation, outcome, "why")
    with ledger.begin() as work:
        [kept] = work.attempts.operations(attempt.id)
    assert (kept.state, kept.error) == (outcome, "why")
    for other in (OperationState.EXECUTED, OperationState.NOT_EXECUTED):
        with pytest.raises(ClaimLost, match="settled"), ledger.begin() as work:
            work.attempts.record(conversion, operation, other)
    with ledger.begin() as work:
        assert work.attempts.operations(attempt.id) == [kept]


def test_recording_without_an_error_keeps_what_was_noted(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.note(operation, "the answer was lost", absences=2)
        work.attempts.record(conversion, operation, OperationState.EXECUTED)
        [kept] = work.attempts.operations(attempt.id)
    assert (kept.error, kept.absences) == ("the answer was lost", 2)


def test_a_note_changes_no_state(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.note(operation, "odd", absences=1)
        [kept] = work.attempts.operations(attempt.id)
    assert replace(kept, error="", absences=0, updated_at=operation.updated_at) == operation


def test_of_two_who_record_at_once_one_does(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    barrier = threading.Barrier(2)

    def run(outcome: OperationState) -> str:
        barrier.wait(10)
        try:
            with ledger.begin() as work:
                work.attempts.record(conversion, operation, outcome)
        except ClaimLost:
            return ""
        return outcome

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(run, (OperationState.EXECUTED, OperationState.NOT_EXECUTED)))
    with ledger.begin() as work:
        assert told == ["", work.attempts.operations(attempt.id)[0].state]


# --- Counting sends --------------------------------------------------------------------------------------------------


def test_a_send_is_counted_with_its_new_bound_and_its_owner(ledger: AnyLedger, clock: HandClock) -> None:
    conversion = claimed(ledger)
    attempt, operation = prepare(ledger, conversion)
    clock.forward(31)
    with ledger.begin() as work:
        other = work.conversions.claim(conversion.id, "b", LEASE, tuple(State))
        assert other is not None
        counted = work.attempts.count_send(other, operation, START + seconds(99))
    assert (counted.sends, counted.send_before, counted.fence) == (2, START + seconds(99), other.fence)
    with ledger.begin() as work:
        assert work.attempts.operations(attempt.id) == [counted]
        assert work.attempts.count_send(other, operation, START).sends == 3, "counted in the row, not from what we saw"


@pytest.mark.parametrize("outcome", [OperationState.EXECUTED, OperationState.NOT_EXECUTED])
def test_nothing_is_sent_again_after_its_outcome_is_known(ledger: AnyLedger, outcome: OperationState) -> None:
    conversion = claimed(ledger)
    _, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.record(conversion, operation, outcome)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.attempts.count_send(conversion, operation, START)


def test_sends_counted_at_once_are_all_counted(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    conversion = claimed(ledger)
    _, operation = prepare(ledger, conversion)

    def run(_: int) -> int:
        with ledger.begin() as work:
            return work.attempts.count_send(conversion, operation, START).sends

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(8))) == list(range(2, 10))


# --- Moving an attempt -----------------------------------------------------------------------------------------------


def test_every_move_of_an_attempt_is_as_the_table_says(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    for one in AttemptState:
        for other in AttemptState:
            put_past_all_rules(ledger, attempts, state=one)
            seen = replace(attempt, state=one)
            if other in ATTEMPT_TRANSITIONS[one] or other is one:
                with ledger.begin() as work:
                    assert work.attempts.move(conversion, seen, other, error="e").state is other
            else:
                with pytest.raises(IllegalTransition), ledger.begin() as work:
                    work.attempts.move(conversion, seen, other)


def test_an_attempt_that_somebody_changed_is_not_moved(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.move(conversion, attempt, AttemptState.PENDING)
    before = everything(ledger)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED)
    assert everything(ledger) == before


def test_a_move_of_an_attempt_keeps_what_the_service_named(ledger: AnyLedger) -> None:
    from decimal import Decimal

    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    named = {
        "service_order_id": "o-1",
        "deposit_address": "0xabc",
        "deposit_amount": Decimal("1.5"),
        "deposit_memo": "m",
    }
    with ledger.begin() as work:
        moved = work.attempts.move(conversion, attempt, AttemptState.PENDING, **named)
        assert work.attempts.of(conversion.id) == [moved]
    assert {name: getattr(moved, name) for name in named} == named


def test_the_database_itself_bars_one_transaction_from_refunding_two_attempts(sql_ledger: SqlLedger) -> None:
    both = [claimed(sql_ledger, number=number) for number in (1, 2)]
    kept = [prepare(sql_ledger, conversion)[0] for conversion in both]
    with sql_ledger.engine.begin() as connection:
        connection.execute(attempts.update().values(state=AttemptState.EXECUTED))
        connection.execute(attempts.update().where(attempts.c.id == kept[0].id).values(refund_txid="back"))
    executed = replace(kept[1], state=AttemptState.EXECUTED)
    with pytest.raises(sa.exc.IntegrityError), sql_ledger.begin() as work:
        work.attempts.move(both[1], executed, AttemptState.REFUNDED, refund_txid="back")


def test_steps_come_in_their_order(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        for sequence, kind in ((3, OperationKind.WITHDRAWAL), (2, OperationKind.DEPOSIT)):
            work.attempts.prepare_step(conversion, an_operation(attempt, kind, sequence, fence=conversion.fence))
        assert [one.sequence for one in work.attempts.operations(attempt.id)] == [1, 2, 3]
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.attempts.prepare_step(conversion, an_operation(attempt, OperationKind.APPROVAL, 3))


@pytest.mark.parametrize("first", list(OperationState))
def test_a_step_is_taken_again_only_after_it_is_proven_not_executed(ledger: AnyLedger, first: OperationState) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        step = work.attempts.prepare_step(conversion, an_operation(attempt, OperationKind.WITHDRAWAL, 2))
        if first is not OperationState.PREPARED:
            work.attempts.record(conversion, step, first)
    again = an_operation(attempt, OperationKind.WITHDRAWAL, 3)
    if first is OperationState.NOT_EXECUTED:
        with ledger.begin() as work:
            assert work.attempts.prepare_step(conversion, again).sequence == 3
        return
    before = everything(ledger)
    with pytest.raises(ClaimLost, match="open or executed already"), ledger.begin() as work:
        work.attempts.prepare_step(conversion, again)
    assert everything(ledger) == before


@pytest.mark.parametrize("second", [OperationState.PREPARED, OperationState.EXECUTED])
@pytest.mark.parametrize("first", [OperationState.PREPARED, OperationState.EXECUTED])
def test_the_database_itself_bars_a_step_from_being_taken_twice(
    sql_ledger: SqlLedger, first: OperationState, second: OperationState
) -> None:
    conversion = claimed(sql_ledger)
    attempt, _ = prepare(sql_ledger, conversion)
    names = [name for name in Operation.__dataclass_fields__ if name != "id"]
    steps = [an_operation(attempt, OperationKind.WITHDRAWAL, n, state=s) for n, s in ((2, first), (3, second))]
    with pytest.raises(sa.exc.IntegrityError), sql_ledger.engine.begin() as connection:
        connection.execute(operations.insert(), [{name: getattr(one, name) for name in names} for one in steps])


def test_an_exception_after_a_write_leaves_nothing(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    before = everything(ledger)
    attempt = an_attempt(conversion)

    def interrupted() -> None:
        with ledger.begin() as work:
            work.attempts.prepare(conversion, attempt, an_operation(attempt))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert everything(ledger) == before
    prepare(ledger, conversion)


def test_what_was_never_sent_is_recorded_by_its_only_sender_whoever_owns_the_conversion(ledger: AnyLedger) -> None:
    mine = claimed(ledger)
    _, operation = prepare(ledger, mine)
    with ledger.begin() as work:
        stranger = replace(operation, fence=operation.fence + 1)
        assert not work.attempts.record_unsent(stranger, "not ours")
        assert work.attempts.record_unsent(operation, "nothing left us")
        assert not work.attempts.record_unsent(operation, "again")
        (kept,) = work.attempts.operations(operation.attempt_id)
    assert (kept.state, kept.error) == (OperationState.NOT_EXECUTED, "nothing left us")


def test_what_was_sent_twice_is_not_called_unsent(ledger: AnyLedger) -> None:
    mine = claimed(ledger)
    _, operation = prepare(ledger, mine)
    with ledger.begin() as work:
        work.attempts.count_send(mine, operation, work.now() + seconds(5))
    with ledger.begin() as work:
        assert not work.attempts.record_unsent(operation, "nothing left us")


def test_an_absence_that_somebody_contradicted_meanwhile_proves_nothing(ledger: SqlLedger) -> None:
    conversion = claimed(ledger)
    _, operation = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.attempts.note(operation, "absent", absences=1)
    counted = replace(operation, absences=1)
    with ledger.begin() as work:
        work.attempts.note(operation, "seen", absences=0)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.attempts.record(conversion, counted, OperationState.NOT_EXECUTED)
    with ledger.begin() as work:
        work.attempts.record(conversion, counted, OperationState.EXECUTED)
