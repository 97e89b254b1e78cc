"""Judging through whole rounds: what may be chosen, who is struck and shut out, when a pair is held."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from redis import Redis

from converter.domain import conditions, events
from converter.domain.breakers import BreakerState
from converter.domain.conversions import Conversion, State
from converter.domain.errors import ServiceRejected, ServiceUnavailable
from converter.domain.quarantine import Change, Standing
from converter.domain.rating import rate_of
from converter.operating import Operating
from tests.app.house import APPROVAL, House
from tests.builders import BTC, ETH, an_id, seconds
from tests.fakes import bend, refuse
from tests.shared_state.redis_fixture import client, redis_url, server

__all__ = ["client", "redis_url", "server"]

PAIR = conditions.pair_of(ETH, BTC)
FIRST_TERM, SHADOWS = timedelta(minutes=15), 5


@pytest.fixture
def market(house: House) -> House:
    """Three that agree, nothing remembered, and no lone quote is believed."""
    house.change_policy(allow_unverified=False)
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL, "0.1")
    return house


def prices(house: House, **nets: str) -> None:
    for service_id, net in nets.items():
        house.services[service_id].net = Decimal(net)


def away(house: House, *service_ids: str, owner: str = "a") -> None:
    """Their breakers are open until an operator closes them."""
    for service_id in service_ids:
        house.office(owner).desk.services[service_id].breakers["quote"].move(BreakerState.OPEN)


def back(house: House, *service_ids: str) -> None:
    for service_id in service_ids:
        house.office().desk.services[service_id].breakers["quote"].move(BreakerState.CLOSED)


def done(house: House, number: int) -> Conversion:
    """A conversion from its beginning to its end."""
    cid = house.receive(number)
    house.begin(cid)
    return house.finish(cid, looks=20)


def standing(house: House, service_id: str = "alpha") -> Standing:
    return house.shared.rates.standings([service_id])[service_id]


def verdicts(house: House, conversion_id: str) -> dict[str, str]:
    """Of the newest round."""
    with house.ledger.begin() as work:
        judgement = work.rounds.of(conversion_id)[-1].judgement
    return {service_id: one["code"] for service_id, one in judgement["verdicts"].items()}


def operating(house: House) -> Operating:
    return Operating(house.ledger, {}, house.shared.rates)


# --- Too good, and quarantine ----------------------------------------------------------------------------------------


def test_a_service_that_is_too_good_takes_no_conversion(market: House) -> None:
    prices(market, alpha="0.1053")
    first = done(market, 1)
    assert (first.state, first.service_id) == (State.COMPLETED, "beta")
    assert verdicts(market, first.id)["alpha"] == "too_good"
    assert market.services["alpha"].count("place") == 0
    [told] = market.events(events.RATE_ANOMALY)
    assert told.conversion_id == first.id
    payload = dict(told.payload)
    assert "above the reference" in payload.pop("reason")
    assert payload == {"serviceId": "alpha", "pair": PAIR, "code": "too_good", "strike": True}


def test_an_anomaly_is_told_for_each_round_but_strikes_close_together_are_one(market: House) -> None:
    prices(market, alpha="0.1053")
    for number in range(1, 6):
        market.begin(market.receive(number))
    assert len(market.events(events.RATE_ANOMALY)) == 5
    assert len(standing(market).strikes) == 1
    assert not standing(market).is_quarantined


def struck_out(house: House) -> None:
    """Alpha offers 5 % more than the others until it is in quarantine, and then what they do."""
    prices(house, alpha="0.1053")
    for number in (101, 102, 103):
        house.begin(house.receive(number))
        house.clock.forward(30)
    prices(house, alpha="0.1")
    assert standing(house).is_quarantined


def test_three_strikes_shut_a_service_out_and_it_is_told_once(market: House) -> None:
    struck_out(market)
    [told] = market.events(events.SERVICE_QUARANTINED)
    until = standing(market).until
    assert until is not None
    assert told.payload == {"serviceId": "alpha", "until": until.isoformat(), "needsOperator": False}
    assert len(market.events(events.RATE_ANOMALY)) == 3
    for number in (1, 2):
        cid = market.receive(number)
        market.begin(cid)
        assert sorted(market.quotes(cid)) == ["beta", "gamma"]
    assert len(market.events(events.SERVICE_QUARANTINED)) == 1


def test_strikes_of_more_than_a_quarter_of_an_hour_do_not_add_up(market: House) -> None:
    prices(market, alpha="0.1053")
    for number in (1, 2, 3, 4):
        market.begin(market.receive(number))
        market.clock.forward(8 * 60)
    assert len(market.events(events.RATE_ANOMALY)) == 4
    assert not standing(market).is_quarantined


def test_two_offices_that_meet_it_tell_a_quarantine_once(market: House) -> None:
    prices(market, alpha="0.1053")
    for number, owner in ((1, "a"), (2, "b"), (3, "a"), (4, "b")):
        market.begin(market.receive(number), owner)
        market.clock.forward(30)
    assert standing(market).is_quarantined
    market.office("a").checking.check("alpha")
    market.office("b").checking.check("alpha")
    assert len(market.events(events.SERVICE_QUARANTINED)) == 1


def test_a_quarantine_whose_process_died_before_it_told_is_told_by_the_next_check(market: House) -> None:
    prices(market, alpha="0.1053")
    for number in (1, 2, 3):
        cid = market.receive(number)
        plan = market.office().planning.start(cid)
        assert plan is not None
        market.office().ask(plan)
        if number < 3:
            market.office().selecting.select(cid, 1)
            market.clock.forward(30)
    with market.ledger.begin() as work:
        work.conversions.claim(cid, "another", seconds(30), (State.QUOTING,))
    assert market.office().selecting.select(cid, 1) is None, "judged, and then it was not its conversion any more"
    assert standing(market).is_quarantined
    assert market.events(events.SERVICE_QUARANTINED) == []
    market.office("b").checking.check("alpha")
    assert len(market.events(events.SERVICE_QUARANTINED)) == 1


# --- Shadow quotes ---------------------------------------------------------------------------------------------------


def shadow(house: House, times: int = 1, owner: str = "a") -> None:
    for _ in range(times):
        house.office(owner).shadowing.run()
        house.clock.forward(30)


def recoveries(house: House) -> list[dict[str, str]]:
    return [one.payload for one in house.events(events.SERVICE_RECOVERED)]


def test_good_shadow_quotes_do_not_shorten_the_term(market: House) -> None:
    struck_out(market)
    shadow(market, SHADOWS + 1)
    assert standing(market).is_quarantined
    assert recoveries(market) == []


def test_after_its_term_five_good_shadow_quotes_bring_a_service_back_and_it_is_told_once(market: House) -> None:
    struck_out(market)
    market.clock.forward(FIRST_TERM.total_seconds())
    shadow(market, SHADOWS - 1)
    assert standing(market).is_quarantined
    shadow(market, 1, owner="b")
    assert not standing(market).is_quarantined
    shadow(market, 2)
    for owner in "ab":
        market.office(owner).checking.check("alpha")
    assert recoveries(market) == [{"serviceId": "alpha", "operation": "rates"}]
    cid = market.receive(1)
    market.begin(cid)
    assert "alpha" in market.quotes(cid)


def test_a_bad_shadow_quote_begins_the_row_anew(market: House) -> None:
    struck_out(market)
    market.clock.forward(FIRST_TERM.total_seconds())
    shadow(market, SHADOWS - 1)
    prices(market, alpha="0.1053")
    shadow(market)
    prices(market, alpha="0.1")
    shadow(market, SHADOWS - 1)
    assert standing(market).is_quarantined
    shadow(market)
    assert not standing(market).is_quarantined


def test_a_shadow_quote_is_never_executed_and_strikes_nobody(market: House) -> None:
    struck_out(market)
    placed = {one.service_id: one.count("place") for one in market.services.values()}
    prices(market, alpha="0.1053")
    anomalies = len(market.events(events.RATE_ANOMALY))
    shadow(market, 3)
    assert {one.service_id: one.count("place") for one in market.services.values()} == placed
    assert len(market.events(events.RATE_ANOMALY)) == anomalies
    assert market.services["alpha"].count("quote") == 6


def test_nobody_in_quarantine_means_that_nobody_is_asked_for_show(market: House) -> None:
    done(market, 1)
    before = [one.count("quote") for one in market.services.values()]
    assert market.office().shadowing.run() == []
    assert [one.count("quote") for one in market.services.values()] == before


def test_a_service_that_does_not_answer_for_show_stays_where_it_is(market: House) -> None:
    struck_out(market)
    market.clock.forward(FIRST_TERM.total_seconds())
    shadow(market, 2)
    before = standing(market)
    market.services["alpha"].always("quote", refuse(ServiceRejected))
    shadow(market, 2)
    assert standing(market) == before


def test_a_service_whose_code_breaks_does_not_keep_the_others_in_quarantine(market: House) -> None:
    struck_out(market)
    until = standing(market).until
    market.shared.rates.note("beta", lambda one: Change(replace(one, until=until)), market.clock.time)
    market.clock.forward(FIRST_TERM.total_seconds())

    def broken(_: object) -> None:
        raise KeyError("unforeseen")

    market.services["alpha"].always("quote", broken)
    before = market.services["beta"].count("quote")
    with contextlib.suppress(KeyError):
        market.office().shadowing.run()
    assert market.services["beta"].count("quote") == before + 1


def alone_in_quarantine(house: House, term: timedelta) -> None:
    """Nobody else converts the pair, and the only service is shut out for so long."""
    for name in ("beta", "gamma"):
        house.services[name].supported = False
    assert done(house, 1).service_id == "alpha"
    until = house.clock.time + term
    house.shared.rates.note("alpha", lambda one: Change(replace(one, until=until)), house.clock.time)
    house.clock.reach(until)


def test_a_service_without_witnesses_is_judged_by_history(market: House) -> None:
    alone_in_quarantine(market, FIRST_TERM)
    shadow(market, SHADOWS)
    assert not standing(market).is_quarantined


def test_a_service_without_witnesses_comes_back_also_after_history_grew_old(market: House) -> None:
    alone_in_quarantine(market, 2 * FIRST_TERM)
    shadow(market, SHADOWS + 1)
    assert not standing(market).is_quarantined


# --- Worse than the others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("best_rate", [True, False])
def test_a_service_a_little_worse_than_the_band_takes_none_while_others_are_in_it(
    market: House, *, best_rate: bool
) -> None:
    market.change_policy(always_use_best_rate=best_rate)
    prices(market, alpha="0.0979")
    takers = {done(market, number).service_id for number in range(1, 9)}
    assert takers == {"beta", "gamma"}
    assert market.events(events.RATE_ANOMALY) == [], "it is not competitive, and that is all"
    assert standing(market) == Standing()


def test_two_per_cent_below_the_median_is_still_taken_when_nobody_better_takes_it(market: House) -> None:
    prices(market, alpha="0.0982")
    for name in ("beta", "gamma"):
        market.services[name].always("place", refuse(ServiceRejected))
    assert done(market, 1).service_id == "alpha"


def test_a_lone_offer_that_is_only_uncompetitive_is_taken_rather_than_none(market: House) -> None:
    done(market, 1)
    prices(market, alpha="0.0979")
    away(market, "beta", "gamma")
    cid = market.receive(2)
    market.begin(cid)
    assert market.finish(cid, looks=5).service_id == "alpha"


def test_far_too_bad_is_an_anomaly_and_a_strike(market: House) -> None:
    prices(market, alpha="0.0945")
    assert done(market, 1).service_id == "beta"
    assert [one.payload["code"] for one in market.events(events.RATE_ANOMALY)] == ["too_bad"]
    assert len(standing(market).strikes) == 1


# --- Held pairs ------------------------------------------------------------------------------------------------------

SCATTERED = {"alpha": "0.1150", "beta": "0.1166", "gamma": "0.1134"}
"""More than 10 % above 0.1, in the tolerance, and no three of them within 1 %."""


def held_by_a_jump(house: House) -> str:
    """A conversion that waits because the market jumped."""
    done(house, 1)
    prices(house, **SCATTERED)
    cid = house.receive(2)
    house.begin(cid)
    return cid


def test_a_jump_of_the_reference_holds_the_pair(market: House) -> None:
    cid = held_by_a_jump(market)
    held = market.get(cid)
    assert held.state is State.WAITING
    assert held.reason == f"the rate of {PAIR} is held: it jumped, and fewer than three quotes agree"
    assert market.pause(cid) == 30
    assert set(verdicts(market, cid).values()) == {"held"}
    [told] = market.events(events.RATE_JUMP)
    assert (told.payload["pair"], told.conversion_id) == (PAIR, cid)
    assert Decimal(told.payload["rate"]).quantize(Decimal("0.0001")) == Decimal("0.0767")
    assert market.events(events.RATE_ANOMALY) == [], "nobody is struck while nobody knows"


def test_a_jump_is_told_once_however_many_wait_for_it(market: House) -> None:
    first = held_by_a_jump(market)
    second = market.receive(3)
    market.begin(second, "b")
    for _ in range(3):
        market.look(first)
        market.look(second, "b")
    assert {market.get(one).state for one in (first, second)} == {State.WAITING}
    assert len(market.events(events.RATE_JUMP)) == 1
    assert market.get(first).round >= 4


def test_waiting_for_a_held_pair_is_told_once_for_each_reason(market: House) -> None:
    cid = held_by_a_jump(market)
    for _ in range(6):
        market.look(cid)
    reasons = [one.payload["reason"] for one in market.events(events.CONVERSION_WAITING)]
    assert len(reasons) == len(set(reasons))


def test_an_operator_is_called_when_a_hold_lasts(market: House) -> None:
    cid = held_by_a_jump(market)
    for _ in range(3):
        assert "an operator" not in market.look(cid).reason
    market.clock.forward(30)
    assert "an operator can confirm it" in market.look(cid).reason


def test_three_quotes_that_agree_end_a_hold(market: House) -> None:
    cid = held_by_a_jump(market)
    prices(market, alpha="0.1150", beta="0.1155", gamma="0.1145")
    assert market.finish(cid, looks=5).service_id == "beta"
    again = done(market, 3)
    assert (again.state, again.round) == (State.COMPLETED, 1)


def test_an_operators_word_ends_a_hold(market: House) -> None:
    cid = held_by_a_jump(market)
    operating(market).confirm(PAIR, None)
    finished = market.finish(cid, looks=5)
    assert (finished.state, finished.service_id) == (State.COMPLETED, "beta")
    with market.ledger.begin() as work:
        hold = work.conditions.get(conditions.hold_of(PAIR))
    assert hold is not None
    assert hold.state == conditions.OFF


def test_a_jump_back_and_another_jump_are_two_jumps(market: House) -> None:
    cid = held_by_a_jump(market)
    prices(market, alpha="0.1", beta="0.1", gamma="0.1")
    assert market.finish(cid, looks=5).state is State.COMPLETED
    prices(market, **SCATTERED)
    market.begin(market.receive(3))
    assert len(market.events(events.RATE_JUMP)) == 2


def test_a_hold_of_one_pair_holds_no_other(market: House) -> None:
    held_by_a_jump(market)
    other = market.receive(3, from_asset=BTC, to_asset=ETH, address="0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
    assert market.begin(other).state is State.SETTLING


# --- A lone quote ----------------------------------------------------------------------------------------------------


def test_a_lone_quote_without_history_waits_where_others_could_confirm_it(market: House) -> None:
    away(market, "beta", "gamma")
    cid = market.receive()
    waiting = market.begin(cid)
    assert waiting.state is State.WAITING
    assert "one quote and nothing to compare it with" in waiting.reason
    assert market.pause(cid) == 30
    back(market, "beta")
    assert market.finish(cid, looks=5).state is State.COMPLETED


def test_a_lone_quote_goes_where_nobody_else_converts_the_pair(market: House) -> None:
    for name in ("beta", "gamma"):
        market.services[name].supported = False
    assert done(market, 1).service_id == "alpha"


def test_a_lone_quote_that_history_confirms_is_taken(market: House) -> None:
    done(market, 1)
    away(market, "beta", "gamma")
    assert done(market, 2).service_id == "alpha"


def test_old_history_confirms_nothing(market: House) -> None:
    done(market, 1)
    away(market, "beta", "gamma")
    market.clock.forward(31 * 60)
    cid = market.receive(2)
    away(market, "beta", "gamma")
    assert market.begin(cid).state is State.WAITING


def test_a_setting_lets_a_lone_quote_pass(market: House) -> None:
    market.change_policy(allow_unverified=True)
    away(market, "beta", "gamma")
    assert done(market, 1).service_id == "alpha"


def test_a_held_pair_hears_those_that_were_not_asked(market: House) -> None:
    """Three places, two of them taken by services that answer but do not want the conversion."""
    market.add("delta", APPROVAL, "0.1", tier=2)
    for name in ("beta", "gamma"):
        market.services[name].always("quote", refuse(ServiceRejected))
    cid = market.receive()
    market.begin(cid)
    assert market.finish(cid, looks=10).state is State.COMPLETED


def test_a_contradiction_is_settled_by_a_third_that_was_not_asked(house: House) -> None:
    house.change_policy(allow_unverified=False, max_parallel_requests=2)
    house.add("alpha", APPROVAL, "0.1")
    house.add("beta", APPROVAL, "0.08")
    house.add("gamma", APPROVAL, "0.1", tier=2)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid, looks=10).state is State.COMPLETED


def test_the_closed_emergency_tier_cannot_confirm(house: House) -> None:
    house.change_policy(allow_unverified=False)
    house.add("alpha", APPROVAL, "0.1")
    house.add("last", APPROVAL, "0.1", tier=4)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid, looks=10).state is State.COMPLETED


def test_a_lone_quote_that_contradicts_history_does_not_come_true_by_waiting(market: House) -> None:
    for name in ("beta", "gamma"):
        market.services[name].supported = False
    done(market, 1)
    prices(market, alpha="0.05")
    cid = market.receive(2)
    assert market.begin(cid).state is State.WAITING
    for _ in range(70):
        market.look(cid)
    assert market.get(cid).state in {State.WAITING, State.NEEDS_REVIEW}
    assert market.services["alpha"].count("place") == 1, "for the first conversion"


# --- Kept promises ---------------------------------------------------------------------------------------------------


def delivers(house: House, share: str) -> None:
    """Alpha, the best of all, pays out this share of what it promised."""
    prices(house, alpha="0.1005")
    part = Decimal(share)
    house.services["alpha"].always(
        "find", bend(lambda order: order and replace(order, delivered=order.delivered and order.delivered * part))
    )


@pytest.mark.parametrize(("share", "strikes"), [("1", 0), ("0.98", 0), ("0.97999", 1), ("0.5", 1)])
def test_less_than_98_per_cent_of_the_promise_is_a_strike(market: House, share: str, strikes: int) -> None:
    delivers(market, share)
    finished = done(market, 1)
    assert (finished.state, finished.service_id) == (State.COMPLETED, "alpha")
    assert len(standing(market).shortfalls) == strikes
    told = [one.payload["code"] for one in market.events(events.RATE_ANOMALY)]
    assert told == ["slippage"] * strikes


def test_a_shortfall_is_told_with_both_amounts(market: House) -> None:
    delivers(market, "0.9")
    finished = done(market, 1)
    [told] = market.events(events.RATE_ANOMALY)
    assert told.conversion_id == finished.id
    expected = {"serviceId": "alpha", "code": "slippage", "promised": "0.1005", "delivered": "0.09045", "strike": True}
    assert told.payload == expected


def test_three_shortfalls_in_a_day_shut_a_service_out(market: House) -> None:
    delivers(market, "0.97")
    for number in (1, 2, 3):
        assert not standing(market).is_quarantined
        assert done(market, number).service_id == "alpha"
        market.clock.forward(7 * 3600)
    assert standing(market).is_quarantined
    assert len(market.events(events.SERVICE_QUARANTINED)) == 1
    assert done(market, 4).service_id != "alpha"


def test_three_shortfalls_in_more_than_a_day_do_not(market: House) -> None:
    delivers(market, "0.97")
    for number in (1, 2, 3):
        assert done(market, number).service_id == "alpha"
        market.clock.forward(13 * 3600)
    assert not standing(market).is_quarantined


# --- After a loss of Redis -------------------------------------------------------------------------------------------


def fresh_process(house: House, url: str) -> House:
    """Another process on the same ledger, services and Redis, which remembers nothing."""
    return House(house.ledger, house.clock, services=house.services, policy=house.policy, redis_url=url)


def keep(house: House) -> None:
    """What the periodic task does."""
    with house.ledger.begin() as work:
        work.memory.keep_rates(house.shared.rates.snapshot())


def reload(house: House) -> int:
    """What a process does when it starts."""
    with house.ledger.begin() as work:
        rows = work.memory.rates()
    return house.shared.rates.reload(rows, house.ledger.now())


def test_history_and_quarantines_come_back_from_the_ledger(market: House, redis_url: str, client: Redis) -> None:
    working = fresh_process(market, redis_url)
    struck_out(working)
    keep(working)
    client.flushall()
    started = fresh_process(market, redis_url)
    assert standing(started) == Standing()
    assert started.shared.rates.pair(PAIR).history is None
    assert reload(started) == 2
    assert standing(started) == standing(working)
    history = started.shared.rates.pair(PAIR).history
    assert history is not None
    beta = started.quotes(an_id(101))["beta"].quote
    assert beta is not None
    assert history.last == rate_of(beta)
    away(started, "gamma")
    assert done(started, 1).service_id == "beta", "one quote is enough beside what is remembered"


@pytest.mark.parametrize(("kept", "state"), [(True, State.SETTLING), (False, State.WAITING)])
def test_a_lone_quote_is_judged_by_what_was_kept(
    market: House, redis_url: str, client: Redis, *, kept: bool, state: State
) -> None:
    working = fresh_process(market, redis_url)
    done(working, 1)
    if kept:
        keep(working)
    client.flushall()
    started = fresh_process(market, redis_url)
    reload(started)
    away(started, "beta", "gamma")
    assert started.begin(started.receive(2)).state is state


def test_newer_knowledge_is_not_overwritten_by_what_was_kept(market: House, redis_url: str, client: Redis) -> None:
    working = fresh_process(market, redis_url)
    done(working, 1)
    keep(working)
    working.clock.forward(60)
    prices(working, alpha="0.101", beta="0.101", gamma="0.101")
    done(working, 2)
    known = working.shared.rates.pair(PAIR)
    started = fresh_process(market, redis_url)
    assert reload(started) == 0
    assert started.shared.rates.pair(PAIR) == known


def test_a_process_that_lived_through_the_loss_still_knows(market: House, redis_url: str, client: Redis) -> None:
    working = fresh_process(market, redis_url)
    struck_out(working)
    client.flushall()
    cid = working.receive(1)
    working.begin(cid)
    assert "alpha" not in working.quotes(cid)
    assert working.get(cid).state is State.SETTLING


def test_a_service_that_was_down_is_not_struck(market: House) -> None:
    market.services["alpha"].always("quote", refuse(ServiceUnavailable))
    assert done(market, 1).state is State.COMPLETED
    assert standing(market) == Standing()
