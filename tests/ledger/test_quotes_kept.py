"""Answers of a round: kept once, ranked, and counted for the failures in a row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy.engine import Engine

from converter.domain.quotes import QuoteRow
from converter.ledger.repository import SqlLedger
from tests.builders import START, a_quote, a_request, a_row, an_id
from tests.ledger.conftest import AnyLedger


@pytest.fixture
def kept(ledger: AnyLedger) -> SqlLedger:
    """A ledger with two conversions."""
    with ledger.begin() as work:
        for number in (1, 2):
            work.conversions.add(an_id(number), a_request(), START)
    return ledger


def add(ledger: AnyLedger, *rows: QuoteRow) -> list[int]:
    """The ids under which they are kept."""
    with ledger.begin() as work:
        for row in rows:
            work.quotes.add(row)
        kept = [(row, work.quotes.of_round(row.conversion_id, row.round)) for row in rows]
    return [one.id for row, found in kept for one in found if one.service_id == row.service_id]


def test_an_answer_is_kept_once_and_the_first_one_stays(kept: SqlLedger) -> None:
    first = add(kept, a_row(an_id(1)))
    again = add(kept, a_row(an_id(1), quote=a_quote(net="0.5")), a_row(an_id(1), quote=None, error="no", failed=True))
    assert again == first * 2
    with kept.begin() as work:
        [row] = work.quotes.of_round(an_id(1), 1)
    assert row.quote is not None
    assert (row.quote.net, row.failed) == (Decimal("0.09"), False)


def test_rounds_services_and_conversions_are_apart(kept: SqlLedger) -> None:
    add(kept, a_row(an_id(1)), a_row(an_id(1), asked_round=2), a_row(an_id(1), "beta"), a_row(an_id(2)))
    with kept.begin() as work:
        assert [row.service_id for row in work.quotes.of_round(an_id(1), 1)] == ["alpha", "beta"]
        assert len(work.quotes.of_round(an_id(1), 2)) == 1
        assert work.quotes.of_round(an_id(1), 3) == []


def test_the_same_answer_from_many_threads_is_one_row(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), START)
    with ThreadPoolExecutor(6) as pool:
        ids = {one for part in pool.map(lambda _: add(ledger, a_row(an_id(1))), range(6)) for one in part}
    assert len(ids) == 1


def test_ranks_follow_the_given_order(kept: SqlLedger) -> None:
    ids = add(kept, a_row(an_id(1), "alpha"), a_row(an_id(1), "beta"), a_row(an_id(1), "gamma"))
    with kept.begin() as work:
        work.quotes.set_ranks([ids[2], ids[0]])
    with kept.begin() as work:
        ranks = {row.service_id: row.rank for row in work.quotes.of_round(an_id(1), 1)}
    assert ranks == {"gamma": 0, "alpha": 1, "beta": None}


def test_a_refusal_keeps_its_minimum(kept: SqlLedger) -> None:
    add(kept, a_row(an_id(1), quote=None, error="too small", minimum=Decimal("0.000000000000000001")))
    with kept.begin() as work:
        [row] = work.quotes.of_round(an_id(1), 1)
    assert (row.quote, row.minimum, row.error) == (None, Decimal("0.000000000000000001"), "too small")


GOOD, BAD, NO = "good", "failed", "refused"


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ([], 0),
        ([GOOD], 0),
        ([BAD], 1),
        ([GOOD, BAD, BAD], 2),
        ([BAD, BAD, GOOD], 0),
        ([BAD, NO, BAD, NO], 2),
        ([BAD, GOOD, NO, BAD], 1),
        ([NO, NO], 0),
        ([BAD] * 30, 20),
    ],
)
def test_failures_in_a_row_are_counted_from_the_newest(kept: SqlLedger, answers: list[str], count: int) -> None:
    for asked_round, answer in enumerate(answers, start=1):
        given = {} if answer == GOOD else {"quote": None, "error": answer, "failed": answer == BAD}
        add(kept, a_row(an_id(1), asked_round=asked_round, **given))
        add(kept, a_row(an_id(1), "beta", asked_round=asked_round))  # another service does not count
    with kept.begin() as work:
        assert work.quotes.recent_failures("alpha") == count


def test_a_quote_finer_than_the_ledger_is_the_same_on_both_databases(kept: SqlLedger) -> None:
    """A gross has no promised precision; 20 decimals are possible where a rate has many."""
    quote = a_quote(net="0.09", gross=Decimal("0.09123456789012345678"))
    add(kept, a_row(an_id(1), quote=quote))
    with kept.begin() as work:
        [row] = work.quotes.of_round(an_id(1), 1)
    assert row.quote is not None
    assert abs(row.quote.gross - quote.gross) < Decimal("1E-18")
