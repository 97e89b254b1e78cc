"""What the audit asks of the ledger is understood by every database in the same way."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from converter.domain.breaches import INVARIANTS
from converter.domain.conversions import AttemptState
from converter.domain.postings import opened
from converter.ledger.inspection import SqlInspection
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import attempts, conversions, operations
from tests.builders import START, seconds
from tests.fakes import HandClock
from tests.ledger.test_attempts import claimed, prepare

SECRET = "p%_ssw\\rd-of-a-service"
ASKED = [one for one in INVARIANTS if one != "I1"]


def found(ledger: SqlLedger) -> set[str]:
    with ledger.begin() as work:
        return {one for one in ASKED if work.inspection.breaches(one, START, [SECRET])}


@pytest.fixture
def begun(sql_ledger: SqlLedger) -> SqlLedger:
    """An attempt that is prepared and in the books."""
    conversion = claimed(sql_ledger)
    attempt, _ = prepare(sql_ledger, conversion)
    with sql_ledger.begin() as work:
        work.books.post(opened(conversion, attempt))
    return sql_ledger


def test_nothing_is_found_of_what_is_as_it_should_be(begun: SqlLedger) -> None:
    assert found(begun) == set()


def test_coins_that_the_books_do_not_know_are_found(sql_ledger: SqlLedger) -> None:
    conversion = claimed(sql_ledger)
    prepare(sql_ledger, conversion)
    assert found(sql_ledger) == {"I9"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (sa.update(attempts).values(state=AttemptState.SETTLED), {"I3", "I9"}),
        (sa.update(conversions).values(state="CANCELLED", due_at=None), {"I4", "I7", "I12"}),
        (sa.update(operations).values(sends=0), {"I5"}),
        (sa.update(operations).values(fence=7), {"I6"}),
        (sa.update(conversions).values(due_at=None), {"I11"}),
        (sa.update(operations).values(error=f"refused: {SECRET}!"), {"I13"}),
    ],
    ids=lambda one: "-".join(sorted(one)) if isinstance(one, set) else "",
)
def test_what_must_never_be_is_found(begun: SqlLedger, statement: sa.Update, expected: set[str]) -> None:
    with begun.engine.begin() as connection:
        connection.execute(statement)
    assert found(begun) == expected


def test_one_that_is_overdue_while_somebody_works_on_it_is_not_forgotten(begun: SqlLedger, clock: HandClock) -> None:
    with begun.engine.begin() as connection:
        connection.execute(sa.update(conversions).values(lease_until=START + seconds(5000)))
    clock.forward(1000)
    assert found(begun) == set()
    clock.forward(5000)
    assert found(begun) == {"I11"}


def test_a_database_that_lets_the_books_be_changed_is_found(begun: SqlLedger) -> None:
    names = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    with begun.engine.connect() as connection, connection.begin() as transaction:
        if begun.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE postings DISABLE TRIGGER USER")
        else:
            for name, _ in connection.exec_driver_sql(names).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        inspection = _inspection(connection)
        assert [one.invariant for one in inspection.breaches("I8", START)] == ["I8"]
        transaction.rollback()
    assert found(begun) == set()


def _inspection(connection: sa.Connection) -> SqlInspection:
    return SqlInspection(connection, lambda: START)
