"""The audit finds every way in which the ledger can be wrong, tells it once, and finds nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from converter.auditing import Auditing
from converter.domain import conditions, events
from converter.domain.breaches import INVARIANTS
from converter.domain.conversions import State
from converter.domain.errors import ServiceRejected
from converter.domain.orders import OperationKind, OperationRule
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import attempts, conversions, operations
from tests.app.house import EXCHANGE, KINDS, House
from tests.builders import START, an_attempt, seconds
from tests.fakes import lose_answer, refuse, tell, vanish

LATER = START + seconds(86_400)
SECRET = "sk-live-0123456789"


def found(house: House, **window: Any) -> list[str]:
    """Invariants that do not hold."""
    return [one.invariant for one in Auditing(house.ledger, [SECRET]).look(**window).breaches]


def change(house: House, statement: Any) -> None:
    """As no code of ours does."""
    assert isinstance(house.ledger, SqlLedger)
    with house.ledger.engine.begin() as connection:
        connection.execute(statement)


@pytest.fixture
def done(house: House) -> str:
    """A conversion that failed over once and is completed."""
    house.add("alpha", EXCHANGE, "0.1").on("place", refuse(ServiceRejected))
    house.add("beta", EXCHANGE, "0.099")
    cid = house.receive()
    assert house.finish(cid).state is State.COMPLETED
    return cid


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "act", [None, lose_answer, vanish, refuse(ServiceRejected)], ids=["plain", "lost", "gone", "no"]
)
def test_nothing_is_found_at_any_moment_of_a_conversion(house: House, kind: OperationKind, act: Any) -> None:
    house.add("alpha", kind, "0.1").on("place", act)
    house.add("beta", kind, "0.099")
    cid = house.receive()
    for _ in range(60):
        assert found(house) == []
        if house.look(cid).state.is_terminal:
            break
    assert house.get(cid).state is State.COMPLETED
    assert found(house, window=None) == []


def test_nothing_is_found_of_one_that_waits_for_a_person_who_was_told(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.1", rules=dict.fromkeys(OperationKind, OperationRule(moves_money=True)))
    alpha.on("place", lose_answer)
    alpha.always("find", tell(None))
    cid = house.receive()
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert found(house) == []


def _second_open(house: House, cid: str) -> None:
    change(house, sa.text("DROP INDEX one_open_attempt"))
    first = house.attempts(cid)[0]
    change(house, sa.update(attempts).where(attempts.c.id == first.id).values(state="PREPARED"))


def _retold(house: House, cid: str) -> None:
    with house.ledger.begin() as work:
        work.outbox.add(events.Event(events.CONVERSION_EXECUTING, {}, cid))


def _told_twice(house: House, cid: str) -> None:
    with house.ledger.begin() as work:
        work.outbox.add(events.Event(events.CONVERSION_COMPLETED, {}, cid))


def _unheld(house: House, cid: str) -> None:
    attempt = an_attempt(cid, 3, "gamma", state="NOT_EXECUTED")
    fields = {name: getattr(attempt, name) for name in type(attempt).__dataclass_fields__ if name != "id"}
    change(house, sa.insert(attempts).values(**{**fields, "created_at": house.clock(), "updated_at": house.clock()}))


def _of(table: sa.Table, **values: Any) -> Callable[[House, str], None]:
    def wrong(house: House, cid: str) -> None:
        mine = table.c.id == cid if table is conversions else sa.true()
        change(house, sa.update(table).where(mine).values(**values))

    return wrong


WRONGS: dict[str, tuple[Callable[[House, str], None], set[str]]] = {
    "two open attempts": (_second_open, {"I2", "I9"}),
    "completed without a settled attempt": (_of(attempts, state="NOT_EXECUTED"), {"I3"}),
    "settled, but not completed": (_of(conversions, state="SETTLING", due_at=None), {"I3", "I11"}),
    "failed with an executed attempt": (_of(conversions, state="FAILED"), {"I3", "I4", "I12"}),
    "an attempt without an operation": (_unheld, {"I5"}),
    "a later fence": (_of(operations, fence=99), {"I6"}),
    "an end that is looked at again": (_of(conversions, due_at=START), {"I7"}),
    "an end that goes on": (_retold, {"I7"}),
    "an end told twice": (_told_twice, {"I12"}),
    "less than promised, and not noted": (_of(conversions, delivered=0), {"I10"}),
    "nobody looks": (_of(conversions, state="WAITING", due_at=None), {"I3", "I11"}),
    "nobody was told": (_of(conversions, state="NEEDS_REVIEW", due_at=LATER), {"I3", "I11"}),
    "a key in a reason": (_of(conversions, reason=f"HTTP 401 for {SECRET}"), {"I13"}),
    "a key in an error": (_of(operations, error=f"HTTP 401 for {SECRET}"), {"I13"}),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_must_never_be_is_found(house: House, done: str, wrong: str) -> None:
    make, expected = WRONGS[wrong]
    try:
        make(house, done)
        assert expected <= set(found(house)), f"{wrong} is not found"
        if wrong != "two open attempts":
            assert set(found(house)) == expected
    finally:
        _index_back(house)


def _index_back(house: House) -> None:
    assert isinstance(house.ledger, SqlLedger)
    index = next(one for one in attempts.indexes if one.name == "one_open_attempt")
    with house.ledger.engine.begin() as connection:
        connection.execute(sa.update(attempts).values(state="NOT_EXECUTED"))
        index.create(connection, checkfirst=True)


def test_books_that_may_be_changed_and_coins_that_are_nowhere_are_found(house: House, done: str) -> None:
    assert isinstance(house.ledger, SqlLedger)
    with house.ledger.engine.begin() as connection:
        guards = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        for name, _ in guards:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("DELETE FROM postings WHERE to_account NOT LIKE 'transit:%'")
    try:
        assert found(house) == ["I8", "I9", "I9"]
    finally:
        with house.ledger.engine.begin() as connection:
            for _, sql in guards:
                connection.exec_driver_sql(sql)


def test_every_invariant_is_looked_at_or_compared(house: House) -> None:
    covered = set().union(*(expected for _, expected in WRONGS.values())) | {"I8", "I9"}
    assert covered | {"I1"} == set(INVARIANTS)


def test_a_breach_is_told_once_and_again_only_after_it_was_over(house: House, done: str) -> None:
    auditing = Auditing(house.ledger)
    wrong, right = _of(conversions, due_at=START), _of(conversions, due_at=None)
    told = []
    for act in (wrong, None, right, wrong):
        if act is not None:
            act(house, done)
        auditing.run()
        told.append(len(house.events(events.LEDGER_AUDIT_FAILED)))
    assert told == [1, 1, 1, 2]
    [first, _] = house.events(events.LEDGER_AUDIT_FAILED)
    assert first.payload["breaches"][0]["conversionId"] == done


def test_a_breach_that_is_too_old_to_be_looked_at_is_not_over(house: House, done: str) -> None:
    auditing = Auditing(house.ledger)
    _of(conversions, due_at=START)(house, done)
    auditing.run()
    house.clock.forward(seconds(200_000).total_seconds())
    assert auditing.run().breaches == ()
    with house.ledger.begin() as work:
        assert work.conditions.of("breach:")[f"breach:I7:{done}"].state == conditions.ON
    assert found(house, window=None) == ["I7"]
    assert len(house.events(events.LEDGER_AUDIT_FAILED)) == 1


def test_only_what_changed_lately_is_looked_at_unless_all_is_wanted(house: House, done: str) -> None:
    _of(conversions, due_at=START)(house, done)
    house.clock.forward(90_000)
    assert found(house) == []
    assert found(house, window=None) == ["I7"]
