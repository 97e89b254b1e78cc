"""Who may be asked, what is said of those who may not, and the tiers that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.desk import Next
from converter.domain import conditions, events
from converter.domain.breakers import BreakerState
from converter.domain.conversions import AttemptState, State
from converter.domain.errors import ServiceRejected
from converter.domain.exposure import Caps
from converter.domain.policy import override_text
from converter.domain.quarantine import Change, Standing
from converter.operating import Operating
from tests.app.house import APPROVAL, DEPOSIT, House
from tests.builders import BTC, BTC_ADDRESS, ETH, seconds
from tests.fakes import bend, refuse

PAIR = conditions.pair_of(ETH, BTC)


def operating(house: House) -> Operating:
    """An operator beside the worker `a`."""
    guards = house.office().desk.services
    return Operating(house.ledger, {one: guard.breakers for one, guard in guards.items()}, house.shared.rates)


def asked(house: House, conversion_id: str, owner: str = "a") -> list[str]:
    """Whom a round opened now asks, first to last; nobody when none is opened."""
    plan = house.office(owner).planning.start(conversion_id)
    return [] if plan is None else [service_id for group in plan.groups for service_id in group]


def objections(house: House, conversion_id: str) -> dict[str, str]:
    """What the newest round keeps against each service."""
    with house.ledger.begin() as work:
        newest = work.rounds.of(conversion_id)[-1]
    return {seat["service"]: seat["objection"] for seat in newest.seats}


def breaker(house: House, service_id: str, state: BreakerState, operation: str = "quote", owner: str = "a") -> None:
    house.office(owner).desk.services[service_id].breakers[operation].move(state)


def out(house: House, *service_ids: str) -> None:
    """Their breakers are open for the worker `a`."""
    for service_id in service_ids:
        breaker(house, service_id, BreakerState.OPEN)


def back(house: House, *service_ids: str) -> None:
    for service_id in service_ids:
        breaker(house, service_id, BreakerState.CLOSED)


# --- What speaks against a service -----------------------------------------------------------------------------------


def quarantined(house: House) -> None:
    standing = Standing(until=house.clock.time + seconds(900))
    house.shared.rates.note("alpha", lambda _: Change(standing), house.clock.time)


def taken_out(house: House) -> None:
    operating(house).isolate("alpha")
    for one in house.office().desk.services["alpha"].breakers.values():
        one.release()  # shared state was lost; the ledger has it still


BARS: dict[str, Callable[[House], Any]] = {
    "taken out by an operator": taken_out,
    "its breaker is open": lambda house: out(house, "alpha"),
    "its breaker for executions is open": lambda house: breaker(house, "alpha", BreakerState.OPEN, "execute"),
    "its rates are in quarantine": quarantined,
    "its rate budget is used up": lambda house: house.limiter.hold("alpha", 30),
    "takes no less than 1.6": lambda house: house.place("alpha", minimum={"ETH": Decimal("1.6")}),
    "no wallet pays deposits of ETH": lambda house: house.wallets.clear(),
    "does not convert this pair": lambda house: setattr(house.services["alpha"], "supported", False),
    "a key or its address is missing": lambda house: house.services.pop("alpha"),
    "the emergency tier is closed": lambda house: house.place("alpha", tier=4),
    "exposure cap: at most 1.4 ETH under way at this service": lambda house: house.change_policy(
        caps=Caps(services={"alpha": {"ETH": Decimal("1.4")}})
    ),
}


@pytest.mark.parametrize("sentence", BARS)
def test_one_objection_is_enough_and_it_is_kept_in_words(house: House, sentence: str) -> None:
    house.add("alpha", DEPOSIT)
    house.add("beta", APPROVAL, tier=2)
    BARS[sentence](house)
    cid = house.receive()
    assert asked(house, cid) == ["beta"]
    assert objections(house, cid) == {"alpha": sentence, "beta": ""}


@pytest.mark.parametrize("sentence", BARS)
def test_what_speaks_against_the_only_service_is_the_reason_to_wait(house: House, sentence: str) -> None:
    house.add("alpha", DEPOSIT)
    BARS[sentence](house)
    cid = house.receive()
    assert house.office().planning.start(cid) is None
    waiting = house.get(cid)
    assert (waiting.state, waiting.reason) == (State.WAITING, f"alpha: {sentence}")
    [told] = house.events(events.CONVERSION_WAITING)
    assert told.payload["reason"] == waiting.reason


def test_a_service_that_refused_this_conversion_a_moment_ago_is_not_asked_for_it_again(house: House) -> None:
    house.add("alpha", APPROVAL).on("place", refuse(ServiceRejected))
    house.add("beta", APPROVAL).on("place", refuse(ServiceRejected))
    house.change_policy(max_parallel_requests=1)
    cid = house.executing()
    assert house.office().execution.execute(cid) is Next.START
    assert asked(house, cid) == ["beta"]
    assert objections(house, cid) == {"alpha": "refused just now", "beta": ""}
    house.change_policy(max_parallel_requests=2)
    assert "alpha" in asked(house, house.receive(2)), "another conversion was not refused"


def test_a_refusal_is_forgiven_after_its_time(house: House) -> None:
    house.add("alpha", APPROVAL).on("place", refuse(ServiceRejected))
    cid = house.executing()
    house.office().execution.execute(cid)
    refused_at = house.attempts(cid)[0].updated_at
    house.clock.reach(refused_at + house.policy.refused_for - seconds(0.1))
    assert asked(house, cid) == []
    house.clock.reach(refused_at + house.policy.refused_for)
    assert asked(house, cid) == ["alpha"]


def test_free_places_go_to_the_next_tier(house: House) -> None:
    for name, tier in (("alpha", 1), ("beta", 1), ("gamma", 2), ("delta", 3), ("epsilon", 3)):
        house.add(name, APPROVAL, tier=tier)
    assert asked(house, house.receive(1)) == ["alpha", "beta", "gamma"]
    out(house, "alpha")
    assert asked(house, house.receive(2)) == ["beta", "gamma", "delta"]
    out(house, "gamma")
    assert asked(house, house.receive(3)) == ["beta", "delta", "epsilon"]


# --- Exposure caps ---------------------------------------------------------------------------------------------------


def under_way(house: House, number: int, **changes: Any) -> str:
    """A conversion of 1.5 ETH that was accepted and is not paid out."""
    cid = house.receive(number, **changes)
    assert house.begin(cid).state is State.SETTLING
    return cid


def slow_payers(house: House, *service_ids: str) -> None:
    for service_id in service_ids:
        house.add(service_id, APPROVAL).pays_out = False


@pytest.mark.parametrize("caps", [Caps(pairs={PAIR: Decimal(3)}), Caps(day={"ETH": Decimal(3)})])
def test_a_cap_admits_up_to_exactly_its_sum_and_nothing_above(house: House, caps: Caps) -> None:
    slow_payers(house, "alpha", "beta")
    house.change_policy(caps=caps)
    under_way(house, 1)
    under_way(house, 2)
    assert asked(house, house.receive(3)) == []
    house.change_policy(caps=Caps(pairs={PAIR: Decimal("4.5")}, day={"ETH": Decimal("4.5")}))
    assert asked(house, house.receive(4)) == ["alpha", "beta"]


def test_a_cap_of_one_service_sends_the_rest_to_the_others(house: House) -> None:
    slow_payers(house, "alpha", "beta")
    house.services["alpha"].net = Decimal("0.091")
    house.change_policy(caps=Caps(services={"alpha": {"ETH": Decimal(3), "BTC": Decimal(0)}}))
    takers = [house.get(under_way(house, number)).service_id for number in (1, 2, 3)]
    assert takers == ["alpha", "alpha", "beta"]
    cid = house.receive(4)
    assert asked(house, cid) == ["beta"]
    expected = "exposure cap: at most 3 ETH under way at this service"
    assert objections(house, cid) == {"alpha": expected, "beta": ""}


def test_another_pair_and_another_coin_do_not_count(house: House) -> None:
    slow_payers(house, "alpha")
    house.change_policy(caps=Caps(pairs={"USDT.TRX-BTC": Decimal(1)}, day={"LTC": Decimal(1)}))
    under_way(house, 1)
    assert asked(house, house.receive(2)) == ["alpha"]


def test_what_is_settled_frees_the_cap_of_what_is_under_way_but_not_that_of_the_day(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.change_policy(caps=Caps(pairs={PAIR: Decimal("1.5")}, services={"alpha": {"ETH": Decimal("1.5")}}))
    cid = house.receive(1)
    house.begin(cid)
    assert asked(house, house.receive(2)) == []
    assert house.finish(cid).state is State.COMPLETED
    assert asked(house, house.receive(3)) == ["alpha"]
    house.change_policy(caps=Caps(day={"ETH": Decimal("1.5")}))
    other = house.receive(4)
    assert asked(house, other) == []
    assert "exposure cap: at most 1.5 ETH in 24 hours" in house.get(other).reason
    house.clock.reach(house.attempts(cid)[0].created_at + seconds(86_400))
    assert asked(house, other) == ["alpha"]


def test_what_was_refused_counts_nowhere(house: House) -> None:
    house.add("alpha", APPROVAL).on("place", refuse(ServiceRejected))
    caps = Caps({PAIR: Decimal("1.5")}, {"alpha": {"ETH": Decimal("1.5")}}, {"ETH": Decimal("1.5")})
    house.change_policy(caps=caps)
    cid = house.executing()
    house.office().execution.execute(cid)
    assert house.states(cid) == [("alpha", AttemptState.NOT_EXECUTED)]
    assert asked(house, house.receive(2)) == ["alpha"]


def test_a_cap_holds_where_both_were_chosen_before_either_began(house: House) -> None:
    slow_payers(house, "alpha", "beta")
    house.services["alpha"].net = Decimal("0.091")
    house.change_policy(caps=Caps(services={"alpha": {"ETH": Decimal("1.5")}}))
    first, second = house.receive(1), house.receive(2)
    assert house.office("a").quote_and_select(first) is Next.EXECUTE
    assert house.office("b").quote_and_select(second) is Next.EXECUTE
    house.office("a").execution.execute(first)
    house.office("b").execution.execute(second)
    assert [house.get(one).service_id for one in (first, second)] == ["alpha", "beta"]


def test_without_another_service_the_one_above_the_cap_waits_and_goes_later(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.change_policy(caps=Caps(services={"alpha": {"ETH": Decimal("1.5")}}))
    first, second = house.receive(1), house.receive(2)
    for cid in (first, second):
        assert house.office().quote_and_select(cid) is Next.EXECUTE
    house.office().execution.execute(first)
    assert house.office().execution.execute(second) is None
    waiting = house.get(second)
    assert waiting.state is State.WAITING
    assert "exposure cap: at most 1.5 ETH under way at this service" in waiting.reason
    assert house.attempts(second) == []
    house.finish(first)
    assert house.finish(second).state is State.COMPLETED


# --- tier:degraded ---------------------------------------------------------------------------------------------------


def degraded(house: House) -> list[tuple[int | None, dict[str, str]]]:
    """What was told: the tier in use, and who is unavailable."""
    return [(one.payload["tier"], one.payload["unavailable"]) for one in house.events(events.TIER_DEGRADED)]


def test_a_pair_that_goes_over_to_a_higher_tier_is_told_with_who_is_away(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL)
    house.add("gamma", APPROVAL, tier=2)
    out(house, "alpha")
    asked(house, house.receive(1))
    assert degraded(house) == [], "one of the tier is there"
    out(house, "beta")
    cid = house.receive(2)
    asked(house, cid)
    [told] = house.events(events.TIER_DEGRADED)
    away = {"alpha": "its breaker is open", "beta": "its breaker is open"}
    assert told.payload == {"pair": PAIR, "tier": 2, "usual": 1, "unavailable": away}
    assert told.conversion_id == cid


def test_a_worse_tier_is_told_once_however_many_meet_it(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    out(house, "alpha")
    breaker(house, "alpha", BreakerState.OPEN, owner="b")
    for number, owner in enumerate("aabb", start=1):
        assert asked(house, house.receive(number), owner) == ["beta"]
    assert degraded(house) == [(2, {"alpha": "its breaker is open"})]


def test_a_worse_tier_is_told_again_after_a_recovery_in_between(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    for number in (1, 2, 3):
        out(house, "alpha")
        asked(house, house.receive(2 * number))
        assert len(degraded(house)) == number
        back(house, "alpha")
        assert asked(house, house.receive(2 * number + 1)) == ["alpha", "beta"]
        assert len(degraded(house)) == number, "a recovery is no worsening"


def test_each_step_down_is_told_and_the_way_back_is_not(house: House) -> None:
    names = ("alpha", "beta", "gamma")
    for tier, name in enumerate(names, start=1):
        house.add(name, APPROVAL, tier=tier)
    for number, name in enumerate(names, start=1):
        out(house, name)
        asked(house, house.receive(number))
    assert [tier for tier, _ in degraded(house)] == [2, 3, None]
    assert sorted(degraded(house)[-1][1]) == sorted(names)
    for number, name in enumerate(reversed(names), start=4):
        back(house, name)
        asked(house, house.receive(number))
    assert len(degraded(house)) == 3


def test_a_service_that_is_only_busy_keeps_its_tier(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    house.limiter.hold("alpha", 30)
    assert asked(house, house.receive(1)) == ["beta"]
    assert degraded(house) == []


def test_a_pair_that_only_a_higher_tier_converts_is_not_degraded(house: House) -> None:
    house.add("alpha", APPROVAL).supported = False
    house.add("beta", APPROVAL, tier=2)
    asked(house, house.receive(1))
    assert degraded(house) == []


def test_pairs_are_degraded_apart(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    out(house, "alpha")
    asked(house, house.receive(1))
    asked(house, house.receive(2, from_asset=BTC, to_asset=ETH, address="0x" + "0" * 40))
    assert [one.payload["pair"] for one in house.events(events.TIER_DEGRADED)] == ["ETH-BTC", "BTC-ETH"]


def test_a_conversion_with_services_of_its_own_does_not_degrade_the_pair(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=2)
    asked(house, house.receive(1))
    own = override_text({"services": [["beta", 2, "1"]]})
    assert asked(house, house.receive(2, policy=own)) == ["beta"]
    assert asked(house, house.receive(3)) == ["alpha", "beta"]
    assert degraded(house) == []


def test_an_amount_that_is_too_small_does_not_degrade_the_pair(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", minimum={"ETH": Decimal(1)})
    house.add("last", APPROVAL, tier=4)
    small = house.receive(1, amount="0.5")
    for number in (2, 3):
        asked(house, small)
        asked(house, house.receive(number))
    assert degraded(house) == []


# --- The emergency tier ----------------------------------------------------------------------------------------------


@pytest.fixture
def cornered(house: House) -> House:
    """Everybody below the emergency tier is out."""
    house.add("alpha", APPROVAL)
    house.add("beta", APPROVAL, tier=3)
    house.add("last", APPROVAL, tier=4)
    out(house, "alpha", "beta")
    return house


def nobody_since(house: House) -> Any:
    with house.ledger.begin() as work:
        condition = work.conditions.get(conditions.tier_of(PAIR))
    assert condition is not None
    assert condition.state == conditions.NOBODY
    return condition.since


def test_the_emergency_tier_is_used_after_a_minute_of_nobody_and_not_before(cornered: House) -> None:
    cid = cornered.receive()
    assert asked(cornered, cid) == []
    assert "last: the emergency tier is closed" in cornered.get(cid).reason
    since = nobody_since(cornered)
    for second in (10, 30, 59):
        cornered.clock.reach(since + seconds(second))
        assert asked(cornered, cid) == []
    cornered.clock.reach(since + seconds(60))
    assert asked(cornered, cid) == ["last"]


def test_how_long_is_a_setting(cornered: House) -> None:
    cornered.change_policy(emergency_after=seconds(10))
    cid = cornered.receive()
    asked(cornered, cid)
    cornered.clock.reach(nobody_since(cornered) + seconds(10))
    assert asked(cornered, cid) == ["last"]


def test_the_minute_is_the_pairs_not_the_conversions(cornered: House) -> None:
    asked(cornered, cornered.receive(1))
    cornered.clock.reach(nobody_since(cornered) + seconds(60))
    assert asked(cornered, cornered.receive(2)) == ["last"]


def test_a_conversion_goes_through_the_emergency_tier_by_itself(cornered: House) -> None:
    cid = cornered.receive()
    began = cornered.clock.time
    assert cornered.begin(cid).state is State.WAITING
    assert cornered.finish(cid, looks=20, stop=State.SETTLING).service_id == "last"
    assert seconds(60) <= cornered.clock.time - began < seconds(130)


def test_somebody_in_between_begins_the_minute_anew(cornered: House) -> None:
    cid = cornered.receive(1)
    asked(cornered, cid)
    since = nobody_since(cornered)
    cornered.clock.reach(since + seconds(50))
    back(cornered, "beta")
    assert asked(cornered, cornered.receive(2)) == ["beta"]
    out(cornered, "beta")
    cornered.clock.reach(since + seconds(61))
    assert asked(cornered, cid) == []
    cornered.clock.reach(nobody_since(cornered) + seconds(60))
    assert asked(cornered, cid) == ["last"]


def test_the_emergency_tier_is_closed_again_when_a_lower_tier_is_back(cornered: House) -> None:
    cid = cornered.receive(1)
    asked(cornered, cid)
    cornered.clock.reach(nobody_since(cornered) + seconds(60))
    assert asked(cornered, cid) == ["last"]
    back(cornered, "beta")
    other = cornered.receive(2)
    assert asked(cornered, other) == ["beta"]
    assert objections(cornered, other)["last"] == "the emergency tier is closed"


def test_an_operators_word_opens_the_emergency_tier_at_once_and_closes_it_again(cornered: House) -> None:
    operating(cornered).emergency(on=True)
    assert asked(cornered, cornered.receive(1)) == ["last"]
    operating(cornered).emergency(on=False)
    assert asked(cornered, cornered.receive(2)) == []


def test_with_an_operators_word_it_stays_behind_the_lower_tiers(cornered: House) -> None:
    operating(cornered).emergency(on=True)
    back(cornered, "beta")
    cid = cornered.receive()
    assert cornered.begin(cid).service_id == "beta"
    assert sorted(cornered.quotes(cid)) == ["beta", "last"]
    assert cornered.events(events.EMERGENCY_ACTIVATED) == []


def test_every_attempt_in_the_emergency_tier_is_told(cornered: House) -> None:
    cornered.services["last"].on("place", refuse(ServiceRejected))
    operating(cornered).emergency(on=True)
    first, second = cornered.receive(1), cornered.receive(2)
    for cid in (first, second):
        cornered.begin(cid)
        assert cornered.finish(cid).state is State.COMPLETED
    told = cornered.events(events.EMERGENCY_ACTIVATED)
    assert sorted((one.conversion_id, one.payload["attempt"]) for one in told) == [(first, 1), (first, 2), (second, 1)]
    assert {(one.payload["serviceId"], one.payload["net"]) for one in told} == {("last", "0.09")}


def test_a_held_pair_never_opens_the_emergency_tier(house: House) -> None:
    house.change_policy(allow_unverified=False)
    house.add("alpha", APPROVAL, "0.09")
    house.add("beta", APPROVAL, "0.05")
    last = house.add("last", APPROVAL, tier=4)
    cid, began = house.receive(), house.clock.time
    assert house.begin(cid).state is State.WAITING
    for _ in range(6):
        assert "is held" in house.look(cid).reason
    assert house.clock.time - began > seconds(120)
    assert last.calls == []


def test_a_service_that_is_only_busy_does_not_open_the_emergency_tier(cornered: House) -> None:
    back(cornered, "beta")
    cornered.limiter.hold("beta", 600)
    cid = cornered.receive()
    for _ in range(5):
        assert asked(cornered, cid) == []
        cornered.clock.forward(30)


def test_without_anybody_met_for_three_minutes_the_first_look_does_not_open_it(cornered: House) -> None:
    asked(cornered, cornered.receive(1))
    cornered.clock.forward(600)
    assert asked(cornered, cornered.receive(2)) == []


def test_nobody_that_nobody_met_for_three_minutes_begins_anew(cornered: House) -> None:
    asked(cornered, cornered.receive(1))
    cornered.clock.forward(600)
    cid = cornered.receive(2)
    assert asked(cornered, cid) == []
    cornered.clock.forward(5)
    assert asked(cornered, cid) == []
    cornered.clock.forward(60)
    assert asked(cornered, cid) == ["last"]


def test_a_waiting_amount_that_is_too_small_does_not_count_as_the_minute_of_nobody(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", minimum={"ETH": Decimal(1)})
    house.add("last", APPROVAL, tier=4)
    small = house.receive(1, amount="0.5")
    for _ in range(3):
        asked(house, small)
        house.clock.forward(30)
    out(house, "alpha")
    assert asked(house, house.receive(2)) == [], "alpha went away just now"


def test_an_amount_that_only_the_emergency_tier_takes_is_not_kept_waiting_by_larger_ones(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.place("alpha", minimum={"ETH": Decimal(1)})
    house.add("last", APPROVAL, tier=4)
    small, taken = house.receive(1, amount="0.5"), []
    for number in range(2, 12):
        taken += asked(house, small)
        asked(house, house.receive(number))
        house.clock.forward(30)
    assert "last" in taken


# --- Nobody ----------------------------------------------------------------------------------------------------------


def test_a_conversion_waits_while_nobody_is_there_and_goes_on_when_somebody_is(house: House) -> None:
    house.add("alpha", APPROVAL)
    out(house, "alpha")
    cid = house.receive()
    assert house.begin(cid).state is State.WAITING
    assert house.pause(cid) == 5
    house.look(cid)
    assert house.get(cid).state is State.WAITING
    assert len(house.events(events.CONVERSION_WAITING)) == 1, "the same reason is told once"
    back(house, "alpha")
    assert house.finish(cid).state is State.COMPLETED


def test_a_used_up_rate_budget_is_waited_for_shortly(house: House) -> None:
    house.add("alpha", APPROVAL)
    house.limiter.hold("alpha", 7)
    cid = house.receive()
    house.begin(cid)
    assert house.pause(cid) == 2
    assert house.finish(cid, looks=10).state is State.COMPLETED


def test_an_isolated_service_settles_what_it_was_sent(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    alpha.on("find", bend(lambda order: replace(order, txid="")))
    cid = house.receive(1)
    assert house.begin(cid).state is State.SETTLING
    operating(house).isolate("alpha")
    assert house.finish(cid).state is State.COMPLETED
    assert asked(house, house.receive(2, address=BTC_ADDRESS)) == []
