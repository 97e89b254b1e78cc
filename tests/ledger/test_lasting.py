"""What lasts beside the money: conditions that one caller tells, rounds, kept memory, and what is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from converter.domain.coins import asset
from converter.domain.conditions import CLOSED, NOBODY, OPEN, Condition
from converter.domain.conversions import Attempt, AttemptState, State
from converter.domain.events import Event
from converter.domain.exposure import Caps, UnderWay
from converter.domain.health import Check
from converter.domain.money import plain
from converter.ledger.repository import SqlLedger, open_ledger
from converter.ledger.tables import attempts
from tests.builders import (
    BTC,
    ETH,
    ETH_ADDRESS,
    START,
    a_quote,
    a_request,
    a_row,
    an_attempt,
    an_id,
    an_operation,
    seconds,
)
from tests.fakes import Crash, HandClock
from tests.ledger.conftest import AnyLedger, put_past_all_rules
from tests.ledger.processes import run_at_once

NAME = "breaker:alpha:quote"
THREADS = 8


def enter(ledger: AnyLedger, state: str = OPEN, name: str = NAME, **changes: Any) -> bool:
    """Enter a condition, and tell it as a caller would."""
    with ledger.begin() as work:
        entered = work.conditions.enter(name, state, **{"normal": CLOSED, **changes})
        if entered:
            work.outbox.add(Event("told", {"name": name, "state": state}))
        return entered


def condition(ledger: AnyLedger, name: str = NAME) -> Condition:
    with ledger.begin() as work:
        found = work.conditions.get(name)
    assert found is not None
    return found


def told(ledger: AnyLedger) -> list[str]:
    with ledger.begin() as work:
        return [event.payload["state"] for event in work.outbox.after(0, 1000)]


def all_at_once(run: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What threads return that begin at the same moment."""
    barrier = threading.Barrier(threads)

    def one(number: int) -> Any:
        barrier.wait(20)
        return run(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


# --- Conditions ------------------------------------------------------------------------------------------------------


def test_what_was_never_met_has_no_condition(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        assert work.conditions.get(NAME) is None
        assert work.conditions.of("breaker:") == {}


def test_a_condition_is_entered_once_and_left_once(ledger: AnyLedger) -> None:
    steps = [enter(ledger, state) for state in (OPEN, OPEN, CLOSED, CLOSED, OPEN)]
    assert steps == [True, False, True, False, True]
    assert told(ledger) == [OPEN, CLOSED, OPEN]


def test_what_is_normal_is_not_entered_when_nothing_was_known(ledger: AnyLedger) -> None:
    assert not enter(ledger, CLOSED)
    assert condition(ledger).state == CLOSED
    assert enter(ledger, OPEN)


def test_a_condition_knows_since_when_and_when_it_was_last_met(ledger: AnyLedger, clock: HandClock) -> None:
    enter(ledger, OPEN, detail="down")
    first = condition(ledger)
    assert (first.state, first.detail) == (OPEN, "down")
    assert first.since == first.seen_at
    assert abs(first.since - clock.time) < seconds(0.1)
    clock.forward(30)
    enter(ledger, OPEN, detail="still")
    met = condition(ledger)
    assert (met.since, met.detail) == (first.since, "down")
    assert met.seen_at - first.seen_at >= seconds(30)
    clock.forward(30)
    enter(ledger, CLOSED)
    left = condition(ledger)
    assert left.since == left.seen_at
    assert left.since - met.seen_at >= seconds(30)


def test_a_condition_whose_event_was_not_written_was_not_entered(ledger: AnyLedger) -> None:
    def enter_and_die() -> None:
        with ledger.begin() as work:
            assert work.conditions.enter(NAME, OPEN, normal=CLOSED)
            raise Crash

    with pytest.raises(Crash):
        enter_and_die()
    assert told(ledger) == []
    assert enter(ledger), "the next one tells it"


def test_conditions_are_found_by_the_beginning_of_their_names(ledger: AnyLedger) -> None:
    for name in ("breaker:a_b:quote", "breaker:a_b:execute", "breaker:axb:quote", "breaker:a%:quote", "tier:ETH-BTC"):
        enter(ledger, name=name)
    with ledger.begin() as work:
        assert sorted(work.conditions.of("breaker:a_b:")) == ["breaker:a_b:execute", "breaker:a_b:quote"]
        assert list(work.conditions.of("breaker:a%")) == ["breaker:a%:quote"]
        assert len(work.conditions.of("breaker:")) == 4
        found = work.conditions.of("tier:")["tier:ETH-BTC"]
    assert found == condition(ledger, "tier:ETH-BTC")


def test_one_of_many_threads_tells_each_change(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    states = [OPEN, CLOSED, OPEN, NOBODY]
    for state in states:
        assert sum(all_at_once(lambda _, state=state: enter(ledger, state))) == 1  # type: ignore[misc]
        assert condition(ledger).state == state
    assert told(ledger) == states


def test_many_threads_that_meet_what_is_normal_tell_nothing(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    assert sum(all_at_once(lambda _: enter(ledger, CLOSED))) == 0
    assert told(ledger) == []


def enter_many(url: str, names: int) -> list[bool]:
    """What another process does."""
    ledger = open_ledger(url)
    entered = [enter(ledger, name=f"tier:{number}", normal="1") for number in range(names)]
    ledger.close()
    return entered


def test_one_of_several_processes_tells_each_condition(engine: Engine) -> None:
    url, names = engine.url.render_as_string(hide_password=False), 25
    results = run_at_once(enter_many, [(url, names)] * 3)
    assert [sum(one) for one in zip(*results, strict=True)] == [1] * names
    assert len(told(SqlLedger(engine))) == names


# --- Rounds ----------------------------------------------------------------------------------------------------------


SEATS = [{"service": "alpha", "tier": 1, "weight": "0.4", "eligible": True}, {"service": "béta", "tier": 2}]


def test_a_round_keeps_who_was_eligible_and_later_what_was_judged(ledger: AnyLedger, clock: HandClock) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), START)
        work.rounds.open(an_id(), 1, SEATS)
        [opened] = work.rounds.of(an_id())
    assert (opened.number, opened.seats, opened.judgement, opened.judged_at) == (1, SEATS, {}, None)
    clock.forward(5)
    judgement = {"reference": "0.06666666666666666666666666666", "hold": None, "order": ["alpha"]}
    with ledger.begin() as work:
        work.rounds.judge(an_id(), 1, judgement)
        [judged] = work.rounds.of(an_id())
    assert (judged.seats, judged.judgement, judged.opened_at) == (SEATS, judgement, opened.opened_at)
    assert judged.judged_at is not None
    assert judged.judged_at - judged.opened_at >= seconds(5)


def test_rounds_come_first_to_last_and_those_of_others_are_apart(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number in (1, 2):
            work.conversions.add(an_id(number), a_request(), START)
        for number in (2, 10, 1):
            work.rounds.open(an_id(1), number, [{"service": str(number)}])
        work.rounds.open(an_id(2), 1, [])
        work.rounds.judge(an_id(1), 2, {"why": "best"})
        assert [one.number for one in work.rounds.of(an_id(1))] == [1, 2, 10]
        assert [one.judgement for one in work.rounds.of(an_id(1))] == [{}, {"why": "best"}, {}]
        assert [one.number for one in work.rounds.of(an_id(2))] == [1]
        assert work.rounds.of(an_id(3)) == []


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_kept_rates_are_replaced_by_name_and_others_stay(ledger: AnyLedger) -> None:
    later = START + timedelta(minutes=1, microseconds=7)
    with ledger.begin() as work:
        assert work.memory.rates() == []
        work.memory.keep_rates([("pair:ETH-BTC", "old", START), ("service:alpha", "{}", START)])
    with ledger.begin() as work:
        work.memory.keep_rates([("pair:ETH-BTC", "new", later)])
        work.memory.keep_rates([])
    with ledger.begin() as work:
        assert sorted(work.memory.rates()) == [("pair:ETH-BTC", "new", later), ("service:alpha", "{}", START)]


def test_processes_that_keep_rates_at_once_do_not_hinder_each_other(engine: Engine) -> None:
    ledger = SqlLedger(engine)

    def keep(number: int) -> None:
        with ledger.begin() as work:
            work.memory.keep_rates([("pair:ETH-BTC", str(number), START), ("pair:BTC-ETH", str(number), START)])

    all_at_once(keep)
    with ledger.begin() as work:
        kept = {name: text for name, text, _ in work.memory.rates()}
    assert set(kept) == {"pair:ETH-BTC", "pair:BTC-ETH"}
    assert len(set(kept.values())) == 1, "each keeps all of its rows or none"


def test_a_check_is_kept_with_its_failures_in_a_row(ledger: AnyLedger) -> None:
    found = []
    for number, error in enumerate(("", "down", "down", "", "slow")):
        with ledger.begin() as work:
            found.append(work.memory.checked("alpha", Check(START + seconds(number), error, 40 + number)))
    assert [one.misses for one in found] == [0, 1, 2, 0, 1]
    with ledger.begin() as work:
        work.memory.checked("beta", Check(START, "", 1))
        assert work.memory.checks() == {"alpha": found[-1], "beta": Check(START, "", 1)}
    assert found[-1] == Check(START + seconds(4), "slow", 44, 1)


# --- What is under way -----------------------------------------------------------------------------------------------


def attempted(ledger: AnyLedger, number: int, service_id: str = "alpha", **changes: Any) -> Attempt:
    """A conversion with an attempt prepared there."""
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(**changes), START)
        conversion = work.conversions.claim(an_id(number), "a", seconds(3600), tuple(State))
        assert conversion is not None
        attempt = an_attempt(conversion, 1, service_id=service_id, created_at=work.now())
        return work.attempts.prepare(conversion, attempt, an_operation(attempt, fence=conversion.fence))[0]


def put(ledger: AnyLedger, state: AttemptState) -> None:
    """Set a state past all rules."""
    put_past_all_rules(ledger, attempts, state=state)


def under_way(ledger: AnyLedger, *, serialised: bool = False) -> list[UnderWay]:
    with ledger.begin() as work:
        return sorted(work.exposure.under_way(serialised=serialised), key=str)


def test_an_open_attempt_is_under_way_with_its_pair_and_amount(ledger: AnyLedger) -> None:
    assert under_way(ledger) == []
    attempted(ledger, 1)
    usdt, lightning = asset("USDT", "TRX"), asset("BTC", "LIGHTNING")
    attempted(ledger, 2, "beta", amount="20", from_asset=usdt, to_asset=lightning)
    expected = [
        UnderWay("alpha", "ETH-BTC", "ETH", Decimal("1.5"), is_open=True),
        UnderWay("beta", "USDT.TRX-BTC.LIGHTNING", "USDT", Decimal(20), is_open=True),
    ]
    assert under_way(ledger) == under_way(ledger, serialised=True) == expected


@pytest.mark.parametrize(
    ("state", "counted"),
    [
        (AttemptState.PREPARED, True),
        (AttemptState.PENDING, True),
        (AttemptState.EXECUTED, True),
        (AttemptState.SETTLED, False),
        (AttemptState.NOT_EXECUTED, None),
        (AttemptState.REFUNDED, None),
    ],
)
def test_an_attempt_is_open_until_it_is_settled_or_proven_not_executed(
    ledger: AnyLedger, state: AttemptState, counted: bool | None
) -> None:
    attempted(ledger, 1)
    put(ledger, state)
    assert [one.is_open for one in under_way(ledger)] == ([] if counted is None else [counted])


def test_what_is_settled_counts_for_a_day_and_what_is_open_for_ever(ledger: AnyLedger, clock: HandClock) -> None:
    attempted(ledger, 1)
    put(ledger, AttemptState.SETTLED)
    attempted(ledger, 2)
    began = clock.time
    clock.reach(began + timedelta(days=1) - seconds(1))
    assert [one.is_open for one in under_way(ledger)] == [False, True]
    clock.reach(began + timedelta(days=1))
    assert [one.is_open for one in under_way(ledger)] == [True]
    clock.forward(90 * 86_400)
    assert [one.is_open for one in under_way(ledger)] == [True]


@pytest.mark.parametrize("room", [1, 3])
def test_a_cap_holds_exactly_among_attempts_that_begin_at_once(engine: Engine, room: int) -> None:
    """Each looks, and begins if there is room: what the serialised question is for."""
    ledger = SqlLedger(engine)
    caps = Caps(services={"alpha": {"ETH": Decimal("1.5") * room}})
    wanted = UnderWay("alpha", "ETH-BTC", "ETH", Decimal("1.5"), is_open=True)
    with ledger.begin() as work:
        claimed = []
        for number in range(THREADS):
            work.conversions.add(an_id(number + 1), a_request(), START)
            claimed.append(work.conversions.claim(an_id(number + 1), "a", seconds(3600), tuple(State)))

    def begin(number: int) -> str:
        conversion = claimed[number]
        assert conversion is not None
        with ledger.begin() as work:
            if objection := caps.objection(wanted, work.exposure.under_way(serialised=True)):
                return objection
            attempt = an_attempt(conversion)
            work.attempts.prepare(conversion, attempt, an_operation(attempt, fence=conversion.fence))
        return ""

    objections = all_at_once(begin)
    assert objections.count("") == room
    assert len(under_way(ledger)) == room
    allowed = plain(Decimal("1.5") * room)
    assert all(one == f"exposure cap: at most {allowed} ETH under way at this service" for one in objections if one)


def test_those_that_may_be_attempted_at_a_service_now_are_found(ledger: AnyLedger, clock: HandClock) -> None:
    """Chosen from, with an offer of it that is still good, of these coins, and not attempted at this moment."""
    with ledger.begin() as work:
        for number in range(1, 8):
            work.conversions.add(an_id(number), a_request(str(number)), START)
        work.conversions.add(an_id(8), a_request("8", from_asset=BTC, to_asset=ETH, address=ETH_ADDRESS), START)
        for number in range(1, 9):
            expires_at = START + seconds(-1 if number == 3 else 3600)
            service_id = "beta" if number == 4 else "alpha"
            asked_round = 2 if number == 5 else 1
            work.quotes.add(a_row(an_id(number), service_id, asked_round, quote=a_quote(expires_at=expires_at)))
            rows = work.quotes.of_round(an_id(number), asked_round)
            work.quotes.set_ranks([row.id for row in rows if number != 6])
            conversion = work.conversions.claim(an_id(number), "a", seconds(60), (State.RECEIVED,))
            assert conversion is not None
            conversion = work.conversions.move(conversion, State.QUOTING, release=False, round=1)
            if number != 2:
                conversion = work.conversions.move(conversion, State.EXECUTING, release=False)
            if number == 7:
                attempt = an_attempt(conversion)
                work.attempts.prepare(conversion, attempt, an_operation(attempt))
    with ledger.begin() as work:
        assert work.exposure.candidates("alpha", "ETH", "BTC") == [(an_id(1), Decimal(1))]
        assert work.exposure.candidates("alpha", "BTC", "ETH") == [(an_id(8), Decimal(8))]
        assert work.exposure.candidates("beta", "ETH", "BTC") == [(an_id(4), Decimal(4))]
