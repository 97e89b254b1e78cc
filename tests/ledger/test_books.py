"""The books in the database: added to once, with everything else or not at all, and never changed."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa

from converter.domain.conversions import AttemptState
from converter.domain.errors import ClaimLost
from converter.domain.postings import POOL, SUSPENSE, Posting, opened, parked, transit_of
from converter.ledger.repository import SqlLedger
from tests.builders import a_row
from tests.ledger.conftest import AnyLedger
from tests.ledger.test_attempts import claimed, prepare


def begun(ledger: AnyLedger, number: int = 1) -> list[Posting]:
    conversion = claimed(ledger, number=number)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.books.post(opened(conversion, attempt))
        return work.books.of(attempt.id)


def test_what_was_posted_is_read_back_exactly(ledger: AnyLedger) -> None:
    [posting] = begun(ledger)
    assert (posting.from_account, posting.to_account) == (POOL, transit_of("alpha"))
    assert (posting.coin, posting.amount) == ("ETH", Decimal("1.5"))
    assert posting.at is not None


def test_the_same_transaction_of_the_books_exists_once_and_undoes_everything_with_it(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.books.post(opened(conversion, attempt))

    def again() -> None:
        with ledger.begin() as work:
            work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED)
            work.books.post(opened(conversion, attempt))

    with pytest.raises(sa.exc.IntegrityError):
        again()
    with ledger.begin() as work:
        assert [one.state for one in work.attempts.of(conversion.id)] == [AttemptState.PREPARED]
        assert len(work.books.of(attempt.id)) == 1


def test_postings_of_a_transaction_that_is_rolled_back_are_not_there(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    attempt, _ = prepare(ledger, conversion)

    def lost() -> None:
        with ledger.begin() as work:
            work.books.post(opened(conversion, attempt))
            raise ClaimLost("another owner")

    with pytest.raises(ClaimLost):
        lost()
    with ledger.begin() as work:
        assert work.books.of(attempt.id) == []


CHANGES = {
    "update": "UPDATE postings SET amount = '1'",
    "delete": "DELETE FROM postings",
}


@pytest.mark.parametrize("change", [*CHANGES, "truncate"])
def test_the_database_itself_bars_every_change(sql_ledger: SqlLedger, change: str) -> None:
    before = begun(sql_ledger)
    sqlite = sql_ledger.engine.dialect.name == "sqlite"
    statement = CHANGES.get(change) or ("DELETE FROM postings WHERE line = 1" if sqlite else "TRUNCATE postings")
    with pytest.raises(sa.exc.DatabaseError, match="never changed"), sql_ledger.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with sql_ledger.begin() as work:
        assert work.books.of(before[0].attempt_id) == before


@pytest.mark.parametrize(
    "change", [{"amount": Decimal(0)}, {"amount": Decimal(-1)}, {"to_account": POOL}], ids=["zero", "negative", "self"]
)
def test_a_posting_moves_something_somewhere(ledger: AnyLedger, change: dict[str, object]) -> None:
    [posting] = begun(ledger)
    given = {name: getattr(posting, name) for name in Posting.__dataclass_fields__}
    other = Posting(**{**given, "key": "other", **change})
    with pytest.raises(sa.exc.IntegrityError), ledger.begin() as work:
        work.books.post([other])


def test_balances_are_exact_over_all_attempts(ledger: AnyLedger) -> None:
    begun(ledger, 1)
    begun(ledger, 2)
    conversion = claimed(ledger, number=3)
    attempt, _ = prepare(ledger, conversion)
    with ledger.begin() as work:
        work.books.post(opened(conversion, attempt))
        work.books.post(parked(conversion, attempt, work.books.of(attempt.id)))
        found = work.books.balances()
    assert found == {
        (POOL, "ETH"): Decimal("-4.5"),
        (transit_of("alpha"), "ETH"): Decimal(3),
        (SUSPENSE, "ETH"): Decimal("1.5"),
    }


def test_the_offer_of_an_attempt_is_found_again(ledger: AnyLedger) -> None:
    conversion = claimed(ledger)
    with ledger.begin() as work:
        work.quotes.add(a_row(conversion.id, asked_round=1))
        work.quotes.add(a_row(conversion.id, "beta", asked_round=1))
        work.quotes.add(a_row(conversion.id, asked_round=2))
    attempt, _ = prepare(ledger, conversion)
    other, _ = prepare(ledger, claimed(ledger, number=2))
    with ledger.begin() as work:
        found = work.quotes.attempted(attempt)
        assert found is not None
        assert (found.service_id, found.round) == ("alpha", 2)
        assert work.quotes.attempted(other) is None
