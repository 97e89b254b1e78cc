"""What each database must be set to, and what only many processes or two open transactions can show."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.desk import Desk
from converter.domain.conversions import State
from converter.domain.events import Event
from converter.ledger.conversions import SqlConversions
from converter.ledger.engines import create_engine
from converter.ledger.repository import SqlLedger, open_ledger
from converter.planning import Plan, Planning
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.builders import START, a_request, an_id, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import emptied
from tests.ledger.processes import connect_first, read_then_write, run_at_once

# --- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30000)]
)
def test_every_connection_is_set_up_for_money(tmp_path: Path, pragma: str, value: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.connect() as one, engine.connect() as other_connection_of_the_pool:
        pass
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value
        engine.dispose()
    del one, other_connection_of_the_pool


def test_a_transaction_takes_the_write_lock_at_its_beginning(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    impatient = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}", connect_args={"timeout": 0})
    with engine.begin() as reading:
        reading.exec_driver_sql("SELECT 1")
        with pytest.raises(sa.exc.OperationalError, match="locked"), impatient.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
    engine.dispose()
    impatient.dispose()


def test_processes_that_read_and_then_write_all_get_through(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = open_ledger(url, migrate=True)
    assert run_at_once(read_then_write, [(url, 15)] * 8) == [15] * 8
    with ledger.begin() as work:
        told = work.outbox.after(0, 1000)
    assert [event.payload["after"] for event in told] == [event.sequence - 1 for event in told]
    assert len(told) == 120
    ledger.close()


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    assert run_at_once(connect_first, [(url,)] * 4) == ["wal"] * 4


def test_amounts_are_text_in_the_file(sqlite_engine: Engine) -> None:
    ledger = SqlLedger(sqlite_engine)
    with ledger.begin() as work:
        work.conversions.add(an_id(77), a_request("0.1"), START)
    with ledger.engine.connect() as connection:
        kept = connection.exec_driver_sql(f"SELECT typeof(amount), amount FROM conversions WHERE id = '{an_id(77)}'")
        assert kept.one() == ("text", "0.1")


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "4s")],
)
def test_a_statement_a_lock_and_silence_have_an_end(postgresql_engine: Engine, setting: str, value: str) -> None:
    with postgresql_engine.connect() as connection:
        assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == value


def test_an_owner_that_fell_silent_in_a_transaction_keeps_nobody_from_the_conversion(
    postgresql_engine: Engine,
) -> None:
    """As one that is cut off there: nothing of its transaction remains, and others get its locks by waiting."""
    ledger = SqlLedger(emptied(postgresql_engine))
    with ledger.begin() as work:
        cid = work.conversions.add(an_id(901), a_request(), START).id
    silent = ledger.begin()
    work = silent.__enter__()
    claimed = work.conversions.claim(cid, "silent", seconds(30), tuple(State))
    assert claimed is not None
    work.outbox.add(Event("told", {}, cid))
    work.outbox.flush()  # silent at the worst moment: it holds what every transaction that tells something needs
    began = time.monotonic()
    with ledger.begin() as others:
        assert others.conversions.due(10) == []
        others.outbox.add(Event("told", {}, cid))
    assert time.monotonic() - began < 6
    with ledger.begin() as others:
        [due] = others.conversions.due(10)
        assert others.conversions.postpone(due, START + seconds(60))
    with pytest.raises(sa.exc.DBAPIError) as broken:
        work.conversions.move(claimed, State.FAILED)
    assert not silent.__exit__(broken.type, broken.value, broken.tb)
    with ledger.begin() as work:
        assert (work.conversions.get(cid).state, work.conversions.get(cid).fence) == (State.RECEIVED, 0)
        assert len(work.outbox.after(0)) == 1


def test_the_clock_is_the_servers_and_goes_on_inside_a_transaction(postgresql_engine: Engine) -> None:
    ledger = SqlLedger(postgresql_engine)
    with ledger.begin() as work:
        begun = work.now()
        assert ledger.now() > begun


def test_a_claim_waits_for_the_record_that_is_being_written(postgresql_engine: Engine, clock: HandClock) -> None:
    """A slow record under an old lease and another owner's claim at the same time: one of them comes first."""
    from converter.domain.conversions import AttemptState, OperationState
    from converter.domain.errors import ClaimLost
    from tests.builders import an_attempt, an_operation

    ledger = SqlLedger(postgresql_engine, clock=clock)
    number = 501
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(), START)
        old = work.conversions.claim(an_id(number), "a", seconds(1), tuple(State))
        assert old is not None
        attempt = an_attempt(old)
        attempt, operation = work.attempts.prepare(old, attempt, an_operation(attempt))
    clock.forward(2)
    claimed: list[Any] = []

    def claim() -> None:
        with ledger.begin() as work:
            claimed.append(work.conversions.claim(an_id(number), "b", seconds(30), tuple(State)))
            claimed.append(work.attempts.operations(attempt.id)[0].state)

    with ledger.begin() as work:
        work.attempts.record(old, operation, OperationState.EXECUTED)
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(0.2)
        assert claimed == [], "the claim waits for our transaction"
    thread.join(5)
    assert claimed[1] is OperationState.EXECUTED, "and then sees what was recorded"
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.attempts.move(old, attempt, AttemptState.EXECUTED)


def test_two_starts_at_the_same_moment_open_one_round(
    postgresql_engine: Engine, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SqlLedger(postgresql_engine, clock=clock)
    house = House(ledger, clock)
    house.add("alpha", EXCHANGE)
    cid = house.receive(601)
    plans: list[Plan | None] = []
    claim: Callable[..., Any] = SqlConversions.claim
    others = iter([lambda: plans.append(house.office("b").planning.start(cid))])

    def meanwhile(*args: Any) -> Any:
        """Between the first one's look and its claim, the second one starts from beginning to end."""
        for other in others:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(5)
        return claim(*args)

    monkeypatch.setattr(SqlConversions, "claim", meanwhile)
    plans.append(house.office("a").planning.start(cid))
    assert sum(plan is not None for plan in plans) == 1
    assert house.get(cid).round == 1
    assert isinstance(house.office("a").desk, Desk)
    assert isinstance(house.office("a").planning, Planning)


def test_a_transaction_needs_no_second_connection(postgresql_engine: Engine, clock: HandClock) -> None:
    narrow = sa.create_engine(postgresql_engine.url, pool_size=1, max_overflow=0, pool_timeout=0.5)
    try:
        house = House(SqlLedger(narrow), clock)
        house.add("alpha", APPROVAL)
        house.services["alpha"].clock = house.ledger.now
        cid = house.receive(801)
        house.begin(cid)
        assert house.get(cid).state is State.SETTLING
    finally:
        narrow.dispose()


def test_a_whole_conversion_runs_on_postgresql(postgresql_engine: Engine, clock: HandClock) -> None:
    from tests.app.house import KINDS
    from tests.fakes import lose_answer

    house = House(SqlLedger(emptied(postgresql_engine), clock=clock), clock)
    for number, kind in enumerate(KINDS, start=701):
        house.services.clear()
        house.policy = type(house.policy)(services=())
        house.guards.clear()
        house.add("alpha", kind).on("place", lose_answer)
        cid = house.receive(number)
        house.begin(cid)
        assert house.finish(cid).state is State.COMPLETED
        assert len(house.payouts()) == 1
