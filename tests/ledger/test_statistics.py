"""Counts by service and in all, the same on both databases."""

from __future__ import annotations

from converter.domain.conversions import AttemptState, OperationState, State
from tests.builders import START, a_request, a_row, an_attempt, an_id, an_operation, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import AnyLedger


def test_an_empty_ledger_counts_nothing(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        assert work.statistics() == {"services": {}, "states": {}, "failovers": 0}


def test_what_happened_is_counted_by_service(ledger: AnyLedger, clock: HandClock) -> None:
    ends = [AttemptState.SETTLED, AttemptState.EXECUTED, AttemptState.NOT_EXECUTED, AttemptState.PREPARED]
    for number, end in enumerate(ends, start=1):
        with ledger.begin() as work:
            work.conversions.add(an_id(number), a_request(), START)
            conversion = work.conversions.claim(an_id(number), "a", seconds(60), tuple(State))
            assert conversion is not None
            work.quotes.add(a_row(an_id(number), elapsed_ms=100 * number, asked_at=START + seconds(number)))
            work.quotes.add(a_row(an_id(number), "beta", quote=None, error="no", elapsed_ms=5, minimum=None))
            attempt = an_attempt(conversion)
            attempt, operation = work.attempts.prepare(conversion, attempt, an_operation(attempt))
            for state in {
                AttemptState.SETTLED: [AttemptState.EXECUTED, AttemptState.SETTLED],
                AttemptState.PREPARED: [],
            }.get(end, [end]):
                attempt = work.attempts.move(conversion, attempt, state)
            if end is AttemptState.NOT_EXECUTED:
                work.attempts.record(conversion, operation, OperationState.NOT_EXECUTED)
    with ledger.begin() as work:
        failed = a_row(
            an_id(1), "gamma", quote=None, error="down", failed=True, elapsed_ms=7, asked_at=START + seconds(9)
        )
        work.quotes.add(failed)
        for asked_round in (2, 3):
            work.quotes.add(a_row(an_id(1), "gamma", asked_round, asked_at=START + seconds(50)))
        told = work.statistics()
    alpha, beta, gamma = (told["services"][name] for name in ("alpha", "beta", "gamma"))
    assert (alpha["quotes"], alpha["quote_failures"], alpha["elapsed_ms"]) == (4, 0, 1000)
    assert (alpha["attempts"], alpha["executions"], alpha["refused"]) == (4, 2, 1)
    assert START < alpha["last_failure"] < clock.time
    assert alpha["last_failure"].utcoffset() == seconds(0)
    assert (beta["quotes"], beta["quote_failures"], beta["attempts"], beta["last_failure"]) == (4, 0, 0, None)
    assert (gamma["quotes"], gamma["quote_failures"]) == (3, 1)
    assert gamma["last_failure"] == START + seconds(9)


def test_states_and_failovers_are_counted_over_all_conversions(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number in range(5):
            work.conversions.add(an_id(number), a_request(), START)
        for number, failovers in ((0, 2), (1, 3)):
            conversion = work.conversions.claim(an_id(number), "a", seconds(60), tuple(State))
            assert conversion is not None
            work.conversions.move(conversion, State.WAITING, failovers=failovers)
        told = work.statistics()
    assert told["states"] == {"RECEIVED": 3, "WAITING": 2}
    assert told["failovers"] == 5


def test_counts_are_whole_numbers(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), START)
        work.quotes.add(a_row(an_id(1)))
        told = work.statistics()
    for name in ("quotes", "quote_failures", "elapsed_ms", "attempts", "executions", "refused"):
        assert type(told["services"]["alpha"][name]) is int
