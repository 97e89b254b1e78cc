"""What an operator sees: bounded, quick by an index, and in nobody's way."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.domain.coins import asset
from converter.domain.conversions import AttemptState, Conversion, State
from converter.domain.events import FAILOVER_FAILED, FAILOVER_SUCCESS, Event
from converter.ledger.repository import SqlLedger
from tests.builders import BTC, ETH, START, a_quote, a_request, a_row, an_attempt, an_id, an_operation, seconds
from tests.fakes import HandClock

ALL = (State.RECEIVED, State.QUOTING, State.EXECUTING)


def received(ledger: SqlLedger, *numbers: int, **changes: Any) -> None:
    with ledger.begin() as work:
        for number in numbers:
            work.conversions.add(an_id(number), a_request(**changes), work.now())


def executing(ledger: SqlLedger, number: int = 1) -> Conversion:
    """A conversion that its owner may attempt."""
    received(ledger, number)
    with ledger.begin() as work:
        conversion = work.conversions.claim(an_id(number), "a", timedelta(hours=1), ALL)
        assert conversion is not None
        for state in (State.QUOTING, State.EXECUTING):
            conversion = work.conversions.move(conversion, state, release=False)
    return conversion


def attempted(ledger: SqlLedger, conversion: Conversion, number: int, service_id: str, error: str = "") -> None:
    """An attempt that came to nothing when there is an error."""
    with ledger.begin() as work:
        given = an_attempt(conversion, number, service_id, created_at=work.now())
        attempt, _ = work.attempts.prepare(conversion, given, an_operation(given))
        if error:
            work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED, error=error)


def test_states_are_counted_and_the_oldest_of_each_is_found(sql_ledger: SqlLedger) -> None:
    received(sql_ledger, 3, 1, 2)
    executing(sql_ledger, 7)
    with sql_ledger.view() as work:
        assert work.views.states() == {State.RECEIVED: 3, State.EXECUTING: 1}
        oldest = work.views.oldest(State.RECEIVED)
        assert oldest is not None
        assert oldest.id == an_id(1)
        assert work.views.oldest(State.WAITING) is None


def test_attempts_are_counted_from_a_moment_on(sql_ledger: SqlLedger, clock: HandClock) -> None:
    conversion = executing(sql_ledger)
    attempted(sql_ledger, conversion, 1, "alpha", "no")
    clock.forward(60)
    attempted(sql_ledger, conversion, 2, "alpha", "no")
    attempted(sql_ledger, conversion, 3, "beta")
    with sql_ledger.view() as work:
        assert work.views.attempts_since(START + seconds(30)) == {"alpha": 1, "beta": 1}
        assert work.views.attempts_since(START) == {"alpha": 2, "beta": 1}
        assert work.views.attempts_since(clock.time + seconds(1)) == {}


def test_the_last_failure_is_the_latest_of_answers_and_attempts(sql_ledger: SqlLedger, clock: HandClock) -> None:
    conversion = executing(sql_ledger)
    clock.forward(5)
    attempted(sql_ledger, conversion, 1, "alpha", "refused")
    with sql_ledger.begin() as work:
        for number, moment in ((1, 1), (2, 3), (3, 90)):
            lost = {
                "quote": None,
                "failed": moment < 90,
                "error": f"lost {moment}",
                "asked_at": START + seconds(moment),
            }
            work.quotes.add(a_row(conversion.id, "alpha", number, **lost))
            work.quotes.add(a_row(conversion.id, "beta", number, **lost))
    with sql_ledger.view() as work:
        alpha = work.views.last_failure("alpha")
        assert alpha is not None
        assert alpha[1] == "refused"
        assert work.views.last_failure("beta") == (START + seconds(3), "lost 3")
        assert work.views.last_failure("gamma") is None


def test_pairs_come_by_their_newest_conversion(sql_ledger: SqlLedger) -> None:
    received(sql_ledger, 1)
    received(sql_ledger, 2, from_asset=asset("LTC"))
    received(sql_ledger, 3)
    with sql_ledger.view() as work:
        assert work.views.pairs() == [(ETH, BTC), (asset("LTC"), BTC)]


def test_offers_of_a_pair_come_newest_first_with_the_judgement_of_their_round(sql_ledger: SqlLedger) -> None:
    received(sql_ledger, 1)
    received(sql_ledger, 2, from_asset=asset("LTC"))
    with sql_ledger.begin() as work:
        for number in (1, 2, 3):
            row = a_row(an_id(1), "alpha", number, asked_at=START + seconds(number), quote=a_quote(net=f"0.0{number}"))
            work.quotes.add(row)
        work.quotes.add(a_row(an_id(1), "beta", 3, quote=None, error="no"))
        work.quotes.add(a_row(an_id(2), "alpha", 1))
        work.rounds.open(an_id(1), 2, [])
        work.rounds.judge(an_id(1), 2, {"reference": "0.06", "verdicts": {}})
    with sql_ledger.view() as work:
        found = work.views.quoted((ETH, BTC), START, 2)
        assert [(one.row.round, one.judgement.get("reference")) for one in found] == [(3, None), (2, "0.06")]
        assert found[0].row.quote is not None
        assert found[0].row.quote.net == Decimal("0.03")
        assert work.views.quoted((ETH, BTC), START + seconds(3), 9)[0].row.round == 3
        assert len(work.views.quoted((ETH, BTC), START + seconds(3), 9)) == 1
        assert work.views.quoted((BTC, ETH), START, 9) == []


def test_a_failover_is_told_with_the_error_of_the_attempt_before_it(sql_ledger: SqlLedger) -> None:
    conversion = executing(sql_ledger)
    attempted(sql_ledger, conversion, 1, "alpha", "alpha: first")
    attempted(sql_ledger, conversion, 2, "alpha", "alpha: second")
    with sql_ledger.begin() as work:
        work.outbox.add(Event("conversion:executing", {}, conversion.id))
        work.outbox.add(Event(FAILOVER_SUCCESS, {"from": "alpha", "to": "beta"}, conversion.id))
        work.outbox.add(Event(FAILOVER_FAILED, {"from": "beta", "reason": "nobody left", "tried": []}, conversion.id))
    attempted(sql_ledger, conversion, 3, "alpha", "alpha: later")
    with sql_ledger.view() as work:
        lost, made = work.views.failovers(5)
        assert (lost.from_service, lost.to_service, lost.reason) == ("beta", None, "nobody left")
        assert (made.from_service, made.to_service, made.reason) == ("alpha", "beta", "alpha: second")
        assert work.views.failovers(5, before=lost.sequence) == [made]
        assert work.views.failovers(1) == [lost]


# --- In nobody's way -------------------------------------------------------------------------------------------------


def test_a_view_and_a_writer_are_not_in_each_others_way(sql_ledger: SqlLedger) -> None:
    received(sql_ledger, 1)
    with sql_ledger.view() as looking:
        assert looking.views.states() == {State.RECEIVED: 1}
        received(sql_ledger, 2)  # would wait for 30 s on SQLite if the view held the lock
    with sql_ledger.begin() as writing:
        writing.conversions.add(an_id(3), a_request(), writing.now())
        with sql_ledger.view() as looking:
            assert looking.views.states() == {State.RECEIVED: 2}


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (lambda views: views.failovers(50), "events_failover"),
        (lambda views: views.last_failure("alpha"), "quotes_failed"),
        (lambda views: views.last_failure("alpha"), "attempts_state"),
        (lambda views: views.oldest(State.WAITING), "conversions_state"),
        (lambda views: views.states(), "COVERING INDEX conversions_state"),
    ],
)
def test_what_could_grow_is_found_by_an_index(sqlite_engine: Engine, question: Any, index: str) -> None:
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    sa.event.listen(sqlite_engine, "before_cursor_execute", explain)
    try:
        with SqlLedger(sqlite_engine).view() as work:
            question(work.views)
    finally:
        sa.event.remove(sqlite_engine, "before_cursor_execute", explain)
    assert any(index in plan for plan in plans), plans
