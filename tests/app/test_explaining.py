"""The explain record of whole conversions: who was asked, what became of each quote, what was attempted and arrived."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.conversions import State
from converter.domain.errors import ConversionNotFound, ServiceRejected, ServiceUnavailable
from converter.domain.rating import rate_of
from converter.explaining import explain
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import rounds
from tests.app.house import EXCHANGE, House
from tests.builders import an_id
from tests.fakes import bend, refuse


def told(house: House, conversion_id: str) -> dict[str, Any]:
    """The record, as it goes over a wire."""
    found: dict[str, Any] = json.loads(json.dumps(explain(house.ledger, conversion_id)))
    return found


def by_service(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["service"]: row for row in rows}


def test_a_completed_conversion_tells_what_it_was_and_what_arrived(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.09")
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    record = told(house, cid)
    assert (record["id"], record["state"], record["amount"]) == (cid, "COMPLETED", "1.5")
    assert (record["fromCoin"], record["toCoin"], record["service"]) == ("ETH", "BTC", "alpha")
    assert (record["address"], record["txid"]) == (done.request.address, done.txid)
    assert (record["promised"], record["delivered"], record["difference"]) == ("0.09", "0.09", "0")
    assert len(record["rounds"]) == 1
    assert record["earlierAttempts"] == []


def test_every_service_is_there_with_its_place_and_what_speaks_against_it(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.09")
    house.add("beta", EXCHANGE, "0.09")
    house.add("gamma", EXCHANGE, "0.09", tier=2).supported = False
    house.add("delta", EXCHANGE, "0.09", tier=3)
    house.change_policy(max_parallel_requests=2)
    seats = by_service(told(house, house.executing())["rounds"][0]["services"])
    assert seats["alpha"] == {
        "service": "alpha",
        "tier": 1,
        "weight": "0.89",
        "turn": 0,
        "eligible": True,
        "asked": True,
        "objection": "",
    }
    assert (seats["beta"]["turn"], seats["beta"]["asked"]) == (1, True)
    assert (seats["gamma"]["eligible"], seats["gamma"]["asked"]) == (False, False)
    assert seats["gamma"]["objection"] == "does not convert this pair"
    assert (seats["delta"]["eligible"], seats["delta"]["asked"], seats["delta"]["tier"]) == (True, False, 3)


def test_a_quote_is_told_with_its_figures_its_verdict_and_its_rank(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.0990")
    house.add("beta", EXCHANGE, "0.1000")
    house.add("gamma", EXCHANGE, "0.0979")
    cid = house.executing()
    first = told(house, cid)["rounds"][0]
    quotes = by_service(first["quotes"])
    kept = house.quotes(cid)["beta"]
    beta = quotes["beta"]
    assert (beta["gross"], beta["net"], beta["firm"], beta["late"]) == ("0.101", "0.1", True, False)
    assert beta["fees"] == [{"kind": "service", "amount": "0.001"}]
    assert beta["rate"] == "0.06666666666666666"
    assert (beta["code"], beta["inBand"], beta["rank"], beta["ms"]) == ("accepted", True, 0, kept.elapsed_ms)
    assert (quotes["alpha"]["inBand"], quotes["alpha"]["rank"]) == (True, 1)
    assert (quotes["gamma"]["code"], quotes["gamma"]["inBand"], quotes["gamma"]["rank"]) == ("accepted", False, None)
    assert (first["bestNet"], first["maxRateDifference"], first["hold"]) == ("0.1", "0.02", None)
    assert kept.quote is not None
    assert Decimal(first["reference"]) == rate_of(kept.quote) * Decimal("0.99")
    assert first["tolerance"] == "0.02"
    assert "net is the largest" in first["why"]


def test_the_bound_of_the_band_belongs_to_it(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1")
    house.add("beta", EXCHANGE, "0.098")
    house.add("gamma", EXCHANGE, "0.099")
    quotes = by_service(told(house, house.executing())["rounds"][0]["quotes"])
    assert (quotes["beta"]["inBand"], quotes["beta"]["rank"]) == (True, 2)


def test_the_age_of_a_quote_is_counted_to_the_moment_when_it_was_judged(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    office = house.office()
    plan = office.planning.start(cid)
    assert plan is not None
    office.ask(plan)
    house.clock.forward(3)
    office.selecting.select(cid, 1)
    house.clock.forward(60)
    assert 3000 <= told(house, cid)["rounds"][0]["quotes"][0]["age"] < 3100


def test_a_quote_that_is_too_good_is_told_with_the_reason(house: House) -> None:
    for name in ("alpha", "beta", "gamma"):
        house.add(name, EXCHANGE, "0.09")
    house.add("delta", EXCHANGE, "0.12")
    house.change_policy(max_parallel_requests=4)
    first = told(house, house.executing())["rounds"][0]
    delta = by_service(first["quotes"])["delta"]
    assert (delta["code"], delta["inBand"], delta["rank"]) == ("too_good", False, None)
    assert "above the reference" in delta["text"]
    assert first["bestNet"] == "0.09"


def test_an_offer_of_nothing_is_told_as_malformed(house: House) -> None:
    house.add("alpha", EXCHANGE)
    house.add("beta", EXCHANGE).on("quote", bend(lambda quote: replace(quote, net=Decimal(0))))
    beta = by_service(told(house, house.executing())["rounds"][0]["quotes"])["beta"]
    assert (beta["code"], beta["text"]) == ("malformed", "leaves nothing for the receiver")
    assert (beta["inBand"], beta["rank"]) == (False, None)


def test_a_service_without_an_offer_is_told_with_its_error(house: House) -> None:
    house.add("alpha", EXCHANGE)
    house.add("beta", EXCHANGE).on("quote", refuse(ServiceUnavailable, detail="maintenance"))
    beta = by_service(told(house, house.executing())["rounds"][0]["quotes"])["beta"]
    assert (beta["gross"], beta["net"], beta["rate"], beta["firm"], beta["fees"]) == (None, None, None, None, [])
    assert "maintenance" in beta["error"]
    assert (beta["code"], beta["inBand"], beta["rank"]) == (None, False, None)


def test_attempts_stand_in_the_round_in_which_they_began(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.1")
    beta = house.add("beta", EXCHANGE, "0.099")
    alpha.on("place", refuse(ServiceRejected, detail="no"))
    beta.on("place", refuse(ServiceRejected, detail="not now"))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert done.state is State.COMPLETED
    record = told(house, cid)
    first, *_, last = record["rounds"]
    assert [(one["number"], one["service"], one["state"]) for one in first["attempts"]] == [
        (1, "alpha", "NOT_EXECUTED"),
        (2, "beta", "NOT_EXECUTED"),
    ]
    assert [one["promised"] for one in first["attempts"]] == ["0.1", "0.099"]
    assert "not now" in first["attempts"][1]["error"]
    assert [(one["number"], one["state"], one["error"]) for one in last["attempts"]] == [(3, "SETTLED", None)]
    assert sum(len(one["attempts"]) for one in record["rounds"]) == 3
    assert [one["number"] for one in record["rounds"]] == list(range(1, done.round + 1))


def test_what_arrived_is_compared_with_what_was_promised(house: House) -> None:
    service = house.add("alpha", EXCHANGE, "0.09")
    service.always("find", bend(lambda order: replace(order, delivered=Decimal("0.0895"))))
    cid = house.receive()
    house.begin(cid)
    done = house.finish(cid)
    assert (done.state, done.delivered) == (State.COMPLETED, Decimal("0.0895"))
    record = told(house, cid)
    assert (record["promised"], record["delivered"], record["difference"]) == ("0.09", "0.0895", "-0.555556")


def test_nothing_is_promised_and_nothing_compared_before_an_attempt(house: House) -> None:
    house.add("alpha", EXCHANGE)
    record = told(house, house.executing())
    assert (record["promised"], record["delivered"], record["difference"]) == (None, None, None)
    assert record["state"] == "EXECUTING"


def test_a_round_that_is_not_judged_yet_says_so(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    office = house.office()
    plan = office.planning.start(cid)
    assert plan is not None
    empty = told(house, cid)["rounds"][0]
    assert (empty["judged"], empty["judgedAt"], empty["quotes"], empty["why"]) == (False, None, [], None)
    office.ask(plan)
    asked = told(house, cid)["rounds"][0]
    assert [(one["net"], one["code"], one["inBand"], one["age"]) for one in asked["quotes"]] == [
        ("0.09", None, None, None)
    ]
    office.selecting.select(cid, 1)
    assert told(house, cid)["rounds"][0]["judged"] is True


def test_a_held_pair_is_told_as_the_reason_why_nobody_was_chosen(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.09")
    house.add("beta", EXCHANGE, "0.18")
    cid = house.receive()
    house.begin(cid)
    first = told(house, cid)["rounds"][0]
    assert (first["hold"], first["why"], first["bestNet"]) == ("no_agreement", None, None)
    assert {one["inBand"] for one in first["quotes"]} == {False}


def test_a_conversion_from_before_rounds_were_recorded_has_none_and_keeps_its_attempts(house: House) -> None:
    house.add("alpha", EXCHANGE)
    cid = house.receive()
    house.begin(cid)
    house.finish(cid)
    assert isinstance(house.ledger, SqlLedger)
    with house.ledger.engine.begin() as connection:
        connection.execute(rounds.delete())
    record = told(house, cid)
    assert record["rounds"] == []
    assert [(one["service"], one["state"]) for one in record["earlierAttempts"]] == [("alpha", "SETTLED")]


def test_an_unknown_conversion_is_named(house: House) -> None:
    with pytest.raises(ConversionNotFound, match=an_id(9)):
        explain(house.ledger, an_id(9))
