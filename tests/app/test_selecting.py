"""From the quotes of a round to the order of attempts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.desk import Next
from converter.domain import events
from converter.domain.conversions import State
from converter.domain.errors import AmountOutOfRange, RateLimited, ServiceRejected, ServiceUnavailable
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, House
from tests.builders import seconds
from tests.fakes import refuse, tell


def order_of(house: House, conversion_id: str, asked_round: int = 1) -> list[str]:
    """Services by rank."""
    rows = [row for row in house.quotes(conversion_id, asked_round).values() if row.rank is not None]
    return [row.service_id for row in sorted(rows, key=lambda row: row.rank or 0)]


def test_the_largest_net_goes_first_and_the_rest_of_the_band_after_it(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.0990")
    house.add("beta", EXCHANGE, "0.1000")
    house.add("gamma", EXCHANGE, "0.0979")
    cid = house.executing()
    assert order_of(house, cid) == ["beta", "alpha"]
    assert house.get(cid).state is State.EXECUTING
    payload = house.events(events.CONVERSION_QUOTED)[0].payload
    assert payload == {"serviceId": "beta", "net": "0.1", "quotes": 3}


def test_a_lower_tier_in_the_band_goes_before_a_better_price(house: House) -> None:
    house.add("primary", EXCHANGE, "0.098", tier=1)
    house.add("secondary", EXCHANGE, "0.099", tier=2)
    house.add("backup", EXCHANGE, "0.100", tier=3)
    assert order_of(house, house.executing()) == ["primary", "secondary", "backup"]


def test_a_primary_below_the_band_is_left_out(house: House) -> None:
    house.add("primary", EXCHANGE, "0.09799999", tier=1)
    house.add("secondary", EXCHANGE, "0.099", tier=2)
    house.add("backup", EXCHANGE, "0.1", tier=3)
    assert order_of(house, house.executing()) == ["secondary", "backup"]


def test_without_best_rate_the_balancers_order_decides_inside_the_band(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.0981")
    house.add("beta", EXCHANGE, "0.1")
    house.change_policy(always_use_best_rate=False)
    assert order_of(house, house.executing()) == ["alpha", "beta"]


def test_an_offer_that_expired_meanwhile_is_not_chosen(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1").quote_life = seconds(1)
    house.add("beta", EXCHANGE, "0.05")
    cid = house.receive()
    office = house.office()
    plan = office.planning.start(cid)
    assert plan is not None
    office.ask(plan)
    house.clock.forward(2)
    assert office.selecting.select(cid, 1) is Next.EXECUTE
    assert order_of(house, cid) == ["beta"]


def test_an_older_round_changes_nothing(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    office = house.office()
    plan = office.planning.start(cid)
    assert plan is not None
    office.ask(plan)
    house.wait_until_due(cid)
    assert office.planning.start(cid) is not None  # the second round
    before = house.get(cid)
    assert office.selecting.select(cid, 1) is None
    assert house.get(cid) == before
    assert order_of(house, cid) == []


def test_choosing_twice_chooses_once(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.executing()
    before = house.get(cid)
    assert house.office("b").selecting.select(cid, 1) is None
    assert house.get(cid) == before
    assert len(house.events(events.CONVERSION_QUOTED)) == 1


def test_a_round_without_any_answer_waits(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    office = house.office()
    office.planning.start(cid)
    assert office.selecting.select(cid, 1) is None
    waiting = house.get(cid)
    assert (waiting.state, waiting.reason) == (State.WAITING, "nobody answered")


def test_pauses_between_rounds_without_an_offer_grow_to_a_minute(house: House) -> None:
    house.add("alpha", EXCHANGE).always("quote", refuse(RateLimited, retry_after=0))
    cid = house.receive()
    house.begin(cid)
    pauses = []
    for _ in range(6):
        pauses.append(house.pause(cid))
        house.look(cid)
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert house.get(cid).state is State.WAITING
    assert "RateLimited" in house.get(cid).reason


# --- Too small for everybody -----------------------------------------------------------------------------------------


def test_an_amount_below_every_minimum_fails_and_the_lowest_minimum_is_named(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(3)
    house.add("beta", EXCHANGE).minimum = Decimal("2.50")
    cid = house.receive()
    failed = house.begin(cid)
    assert failed.state is State.FAILED
    assert "at least 2.5" in failed.reason
    assert failed.completed_at is not None
    assert house.events(events.CONVERSION_FAILED)[0].payload["reason"] == failed.reason
    assert house.attempts(cid) == []


def test_an_amount_below_every_minimum_fails_also_where_one_round_cannot_ask_all(house: House) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma", "delta"), start=2):
        house.add(name, EXCHANGE).minimum = Decimal(number)
    cid = house.receive()
    house.begin(cid)
    failed = house.finish(cid, looks=12)
    assert failed.state is State.FAILED
    assert "at least 2" in failed.reason


def test_a_service_that_no_wallet_can_pay_is_not_waited_for(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(3)
    house.add("swap", DEPOSIT)
    house.wallets.clear()
    assert house.begin(house.receive()).state is State.FAILED


def test_above_a_maximum_is_not_below_a_minimum(house: House) -> None:
    limits = {"minimum": Decimal(1), "maximum": Decimal("1.2")}
    house.add("alpha", EXCHANGE).always("quote", lambda scene: _out_of_range(scene.party, limits))
    assert house.begin(house.receive()).state is State.WAITING


def _out_of_range(service_id: str, limits: dict[str, Decimal]) -> None:
    raise AmountOutOfRange(service_id, "quote", **limits)


@pytest.mark.parametrize("error", [ServiceUnavailable, RateLimited])
def test_one_service_that_could_not_say_keeps_the_conversion_waiting(house: House, error: type[Exception]) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(3)
    house.add("beta", EXCHANGE).on("quote", refuse(error))
    assert house.begin(house.receive()).state is State.WAITING


def test_a_service_that_refuses_for_another_reason_keeps_the_conversion_waiting(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(3)
    house.add("beta", EXCHANGE).on("quote", refuse(ServiceRejected))
    assert house.begin(house.receive()).state is State.WAITING


def test_an_expired_offer_beside_minimums_keeps_the_conversion_waiting(house: House) -> None:
    house.add("alpha", EXCHANGE).minimum = Decimal(3)
    house.add("beta", EXCHANGE).quote_life = seconds(-1)
    waiting = house.begin(house.receive())
    assert waiting.state is State.WAITING
    assert "beta: expired" in waiting.reason


def test_services_that_were_not_asked_are_heard_before_a_conversion_fails(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL).minimum = Decimal(3)
    house.add("delta", APPROVAL, tier=2)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid).state is State.COMPLETED


def test_an_answer_that_was_lost_is_no_refusal(house: House) -> None:
    house.add("alpha", APPROVAL).minimum = Decimal(3)
    house.add("beta", APPROVAL)
    cid = house.receive()
    office = house.office()
    office.planning.start(cid)
    office.quoting.ask(cid, 1, ("alpha",))  # the worker that was to ask beta died
    house.look(cid, "b")
    assert house.get(cid).state is not State.FAILED


def test_a_service_that_is_away_for_a_while_is_waited_for(house: House) -> None:
    house.add("alpha", APPROVAL).minimum = Decimal(3)
    beta = house.add("beta", APPROVAL)
    house.place("beta", max_failures=1)
    beta.on("quote", refuse(ServiceUnavailable))
    first, second = house.receive(1), house.receive(2)
    house.begin(first)  # opens beta's breaker
    assert house.begin(second).state is State.WAITING


def test_refusals_to_quote_make_room_for_the_next_tier(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL).always("quote", refuse(ServiceRejected))
    delta = house.add("delta", APPROVAL, tier=2)
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid, looks=20)
    assert delta.count("quote") > 0
    assert done.state is State.COMPLETED


def test_services_that_are_down_make_room_when_their_breakers_open(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, APPROVAL).always("quote", refuse(ServiceUnavailable))
    house.add("delta", APPROVAL, tier=2)
    cid = house.receive()
    house.begin(cid)
    assert house.finish(cid, looks=20).service_id == "delta"


def test_an_offer_of_nothing_is_no_offer(house: House) -> None:
    from converter.domain.quotes import Fee, Quote
    from tests.builders import a_quote_request

    nothing = Quote(
        "alpha",
        a_quote_request(),
        Decimal("0.001"),
        (Fee("network", Decimal("0.001")),),
        Decimal(0),
        firm=True,
        expires_at=house.clock.time + seconds(60),
    )
    house.add("alpha", EXCHANGE).always("quote", tell(nothing))
    cid = house.receive()
    assert house.begin(cid).state is State.WAITING
    assert order_of(house, cid) == []
