"""What an operator reads and says over HTTP: services, rates, failovers, and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from converter.api import operator_shapes as shapes
from converter.api.app import Parts, create_app
from converter.api.wiring import make_door, make_parts
from converter.domain import conditions
from converter.domain.breakers import BreakerState
from converter.domain.conversions import State
from converter.domain.errors import ServiceRejected
from converter.domain.health import Check
from converter.domain.orders import OperationKind, OperationRule
from converter.domain.quarantine import Change, Standing
from converter.evidence import Evidence
from converter.ledger.repository import SqlLedger, create_engine
from converter.local.redis_server import RedisServer
from converter.reviewing import Reviewing
from converter.security.keys import EnvironmentKeys
from converter.settings import Service, Settings
from converter.shared_state.redis_access import RedisAccess
from tests.app.conftest import Kept, emptied, kept_ledger
from tests.app.house import EXCHANGE, House
from tests.builders import START, a_quote, a_row, seconds
from tests.fakes import refuse, tell, vanish
from tests.shared_state.redis_fixture import NOWHERE, client, frozen, own_server, redis_url, server

__all__ = ["client", "own_server", "redis_url", "server"]

SERVICES = (
    Service(id="changenow", priority=1, weight="0.6"),
    Service(id="simpleswap", priority=1, weight="0.4"),
    Service(id="kraken", priority=3, weight="1"),
)
UNPROVABLE = dict.fromkeys(OperationKind, OperationRule(moves_money=True))


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('operator') / 'ledger.db'}")


@pytest.fixture
def house(kept: Kept) -> House:
    return emptied(kept)


def serving(parts: Parts) -> TestClient:
    door = make_door(parts.settings, EnvironmentKeys({}), "127.0.0.1")
    return TestClient(create_app(parts, door), base_url="http://127.0.0.1:8080")


class Desk:
    """An operator's way in, beside the parts of the process that answers."""

    def __init__(self, house: House, url: str) -> None:
        settings = Settings(services=SERVICES, redis_url=url)
        parts = make_parts(settings, EnvironmentKeys({}), house.ledger, lambda task, conversion_id: True)
        self.house = house
        self.parts: Parts = replace(parts, reviewing=Reviewing(house.office("operator").desk))
        self.commons = parts.engine.commons
        self.http = serving(self.parts)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.http.get(f"/api/v1{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, status: int = 200, content: Any = None) -> Any:
        answer = self.http.post(f"/api/v1{path}", **({} if content is None else {"json": content}))
        assert answer.status_code == status, answer.text
        return answer.json()

    def entry(self, service_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {one["id"]: one for one in self.get("/services")["services"]}[service_id]
        return found


@pytest.fixture
def desk(house: House, redis_url: str, client: Redis, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Patient with Redis: on a busy machine an answer may take longer than anybody would wait for it."""
    monkeypatch.setattr("converter.sharing.RedisAccess", partial(RedisAccess, timeout=10, away=0.0))
    return Desk(house, redis_url)


def failed_over(house: House, number: int = 1) -> str:
    """A conversion that one service refused and another one made."""
    if not house.services:
        house.add("changenow", EXCHANGE, "0.1").always("place", refuse(ServiceRejected))
        house.add("simpleswap", EXCHANGE, "0.099")
    cid = house.receive(number)
    house.begin(cid)
    assert house.finish(cid).state is State.COMPLETED
    return cid


# --- Services --------------------------------------------------------------------------------------------------------


def test_services_come_by_tier_and_weight_with_nothing_known_of_them_yet(desk: Desk) -> None:
    found = desk.get("/services")
    assert [(one["id"], one["tier"], one["weight"]) for one in found["services"]] == [
        ("changenow", 1, "0.6"),
        ("simpleswap", 1, "0.4"),
        ("kraken", 3, "1"),
    ]
    assert (found["emergency"], found["held"]) == (False, [])
    shut = {"state": "closed", "failures": 0, "retryAfterMs": 0, "until": None}
    entry = found["services"][0]
    assert entry == {
        "id": "changenow",
        "tier": 1,
        "weight": "0.6",
        "share": None,
        "state": "closed",
        "detail": None,
        "breakers": {"quote": shut, "execute": shut},
        "isolated": False,
        "quarantined": False,
        "quarantinedUntil": None,
        "check": None,
        "successRate": 1.0,
        "requests": 0,
        "failures": 0,
        "latencies": [],
        "p50": None,
        "p95": None,
        "lastFailure": None,
        "available": True,
    }


def test_the_real_share_counts_attempts_of_the_last_hour_inside_a_tier(desk: Desk) -> None:
    failed_over(desk.house)
    assert (desk.entry("changenow")["share"], desk.entry("simpleswap")["share"]) == ("0.5", "0.5")
    assert desk.entry("kraken")["share"] is None
    desk.house.services["changenow"].always("place", None)
    desk.house.clock.forward(3700)
    cid = desk.house.receive(2)
    desk.house.begin(cid)
    assert desk.house.finish(cid).service_id == "changenow"
    fresh = Desk(desk.house, desk.parts.settings.redis_url)
    assert (fresh.entry("changenow")["share"], fresh.entry("simpleswap")["share"]) == ("1", "0")


def test_counts_latencies_and_the_last_failure_are_those_of_the_ledger(desk: Desk) -> None:
    cid = failed_over(desk.house)
    with desk.house.ledger.begin() as work:
        for number, elapsed in enumerate((30, 10, 20), start=5):
            work.quotes.add(a_row(cid, "kraken", number, elapsed_ms=elapsed, quote=a_quote("kraken")))
        lost = {"quote": None, "failed": True, "error": "kraken quote: timed out", "asked_at": START + seconds(9)}
        work.quotes.add(a_row(cid, "kraken", 8, **lost))
    entry = desk.entry("kraken")
    assert entry["latencies"] == [30, 10, 20]
    assert (entry["p50"], entry["requests"], entry["failures"], entry["successRate"]) == (20, 4, 1, 0.75)
    at = (START + seconds(9)).isoformat()
    assert entry["lastFailure"] == {"at": at, "text": "kraken quote: timed out"}
    assert desk.entry("changenow")["lastFailure"]["text"] == "changenow place: ServiceRejected"


def test_a_failed_check_is_shown_and_is_a_failure(desk: Desk) -> None:
    with desk.house.ledger.begin() as work:
        work.memory.checked("kraken", Check(START, "kraken health: away", 31))
    entry = desk.entry("kraken")
    at = START.isoformat()
    assert entry["check"] == {"at": at, "ok": False, "ms": 31, "error": "kraken health: away", "misses": 1}
    assert entry["lastFailure"] == {"at": at, "text": "kraken health: away"}


def test_an_open_breaker_says_when_it_is_probed_next(desk: Desk) -> None:
    desk.commons.breakers["kraken"]["execute"].move(BreakerState.OPEN)
    entry = desk.entry("kraken")
    assert (entry["state"], entry["available"]) == ("open", False)
    assert entry["detail"].startswith("execute: next probe in ")
    told = entry["breakers"]["execute"]
    assert told["state"] == "open"
    assert 0 < told["retryAfterMs"] <= 600_000
    until = datetime.fromisoformat(told["until"])
    assert timedelta(0) < until - datetime.now(UTC) <= timedelta(minutes=10)
    assert entry["breakers"]["quote"]["state"] == "closed"


def test_a_quarantine_is_shown_with_its_end(desk: Desk) -> None:
    until = START + timedelta(minutes=15)
    desk.commons.desk.rates.note("kraken", lambda _: Change(Standing(until=until)), START)
    entry = desk.entry("kraken")
    assert (entry["state"], entry["available"], entry["quarantined"]) == ("quarantined", False, True)
    assert entry["quarantinedUntil"] == until.isoformat()


def test_many_who_look_at_once_are_served_from_one_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    view = SqlLedger.view
    monkeypatch.setattr(SqlLedger, "view", lambda ledger: looks.append(1) or view(ledger))
    answers = [desk.get("/services") for _ in range(5)]
    assert len(looks) == 1
    assert answers.count(answers[0]) == 5


# --- An operator's word ----------------------------------------------------------------------------------------------


def test_an_isolated_service_is_shown_so_at_once_and_released_again(desk: Desk) -> None:
    assert desk.entry("kraken")["state"] == "closed"
    told = desk.post("/services/kraken/isolate")
    assert (told["id"], told["state"], told["isolated"], told["available"]) == ("kraken", "isolated", True, False)
    assert desk.entry("kraken") == told
    with desk.house.ledger.begin() as work:
        assert work.conditions.of(conditions.isolation_of("kraken"))[conditions.isolation_of("kraken")].state == "on"
    assert desk.post("/services/kraken/recover")["state"] == "isolated"
    assert desk.post("/services/kraken/release")["state"] == "closed"
    assert desk.entry("kraken")["available"] is True


def test_recovery_closes_breakers_and_ends_a_quarantine(desk: Desk) -> None:
    desk.commons.breakers["kraken"]["quote"].move(BreakerState.OPEN)
    desk.commons.desk.rates.note("kraken", lambda _: Change(Standing(until=START + timedelta(hours=1))), START)
    assert desk.entry("kraken")["state"] == "open"
    assert desk.post("/services/kraken/recover")["state"] == "closed"


@pytest.mark.parametrize("word", ["recover", "isolate", "release"])
def test_an_unknown_service_is_refused_with_those_that_are_known(desk: Desk, word: str) -> None:
    told = desk.post(f"/services/binance/{word}", 422)
    assert (told["error"], told["field"]) == ("InvalidRequest", "service")
    assert told["accepted"] == "one of changenow, kraken, simpleswap"


def test_the_emergency_tier_is_opened_and_closed_by_a_word(desk: Desk) -> None:
    assert desk.get("/services")["emergency"] is False
    assert desk.post("/emergency", content={"on": True}) == {"emergency": True}
    assert desk.get("/services")["emergency"] is True
    assert desk.post("/emergency", content={"on": False}) == {"emergency": False}
    assert desk.get("/services")["emergency"] is False


@pytest.mark.parametrize("content", [{}, {"on": "yes"}, {"on": 1}, {"on": True, "more": 1}, []])
def test_an_emergency_without_a_plain_word_is_refused(desk: Desk, content: Any) -> None:
    told = desk.post("/emergency", 422, content)
    assert told["error"] == "InvalidRequest"
    assert desk.get("/services")["emergency"] is False


# --- Without Redis, without the ledger -------------------------------------------------------------------------------


def test_without_redis_breakers_are_unknown_and_what_the_ledger_knows_is_told(house: House) -> None:
    desk = Desk(house, NOWHERE)
    cid = failed_over(house)
    entry = desk.entry("simpleswap")
    assert (entry["state"], entry["detail"]) == ("unknown", "Redis did not answer")
    assert entry["breakers"]["quote"] == {"state": "unknown", "failures": 0, "retryAfterMs": None, "until": None}
    assert (entry["share"], entry["requests"]) == ("0.5", 2)
    assert desk.get("/overview")["missing"] == ["Redis"]
    assert desk.get("/failovers")["failovers"][0]["conversionId"] == cid
    for path in ("/services/kraken/recover", "/services/kraken/release", "/rates/ETH-BTC/confirm"):
        assert desk.post(path, 503, {"rate": "0.06"} if "rates" in path else None)["error"] == "RedisUnavailable"
    told = desk.post("/services/kraken/isolate")  # the ledger keeps it, and whoever comes to see Redis again follows
    assert told["state"] == "isolated"


def test_a_redis_that_never_answers_holds_nothing_up(house: House, own_server: RedisServer) -> None:
    with frozen(own_server):
        desk = Desk(house, own_server.url)
        began = monotonic()
        assert desk.entry("kraken")["state"] == "unknown"
        assert monotonic() - began < 1.5


def test_without_the_ledger_nothing_is_promised(house: House, redis_url: str) -> None:
    desk = Desk(house, redis_url)
    away = SqlLedger(create_engine("sqlite:///:memory:"))
    parts = replace(desk.parts, engine=replace(desk.parts.engine, ledger=away))
    http = serving(parts)
    for path in ("/services", "/overview", "/rates", "/failovers"):
        answer = http.get(f"/api/v1{path}")
        assert (answer.status_code, answer.json()["error"]) == (503, "LedgerUnavailable")
        assert answer.headers["retry-after"]


# --- Rates -----------------------------------------------------------------------------------------------------------


def test_rates_show_who_offered_what_and_what_was_excluded_and_why(desk: Desk) -> None:
    house = desk.house
    house.add("changenow", EXCHANGE, "0.09")
    house.add("simpleswap", EXCHANGE, "0.0899")
    house.add("kraken", EXCHANGE, "0.2")
    house.begin(cid := house.receive())
    found = desk.get("/rates", pair="eth-btc")
    assert (found["pair"], found["pairs"]) == ("ETH-BTC", ["ETH-BTC"])
    quotes = {one["service"]: one for one in found["quotes"]}
    assert {name: one["excluded"] for name, one in quotes.items()} == {
        "changenow": False,
        "simpleswap": False,
        "kraken": True,
    }
    assert quotes["kraken"]["code"] in ("too_good", "slip")
    assert quotes["kraken"]["text"]
    assert quotes["changenow"]["code"] == "accepted"
    assert (quotes["changenow"]["net"], quotes["changenow"]["round"]) == ("0.09", 1)
    assert quotes["changenow"]["conversionId"] == cid
    assert Decimal(quotes["changenow"]["rate"]) == Decimal("0.06")
    assert Decimal("0.059") < Decimal(found["reference"]) < Decimal("0.061")


def test_rates_of_no_named_pair_are_those_of_the_newest_conversion(desk: Desk) -> None:
    assert desk.get("/rates") == {"pair": None, "pairs": [], "quotes": [], "reference": None}
    failed_over(desk.house)
    fresh = Desk(desk.house, desk.parts.settings.redis_url)
    assert fresh.get("/rates")["pair"] == "ETH-BTC"
    assert fresh.get("/rates", pair="LTC-BTC")["quotes"] == []


def test_old_quotes_and_more_than_asked_for_are_left_out_oldest_first(desk: Desk) -> None:
    cid = failed_over(desk.house)
    now = desk.house.clock.time
    with desk.house.ledger.begin() as work:
        for number in range(5, 9):
            at = now - timedelta(minutes=10 * (8 - number))
            work.quotes.add(a_row(cid, "kraken", number, quote=a_quote("kraken"), asked_at=at))
    found = desk.get("/rates", pair="ETH-BTC", minutes=25, limit=3)["quotes"]
    assert [one["round"] for one in found] == [6, 7, 8]
    assert [one["code"] for one in found] == [None] * 3


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("pair", "ETH-ETH"),
        ("pair", "XYZ-BTC"),
        ("minutes", 0),
        ("minutes", "x"),
        ("limit", 9999),
    ],
)
def test_rates_that_cannot_be_told_are_refused_by_the_field(desk: Desk, field: str, given: Any) -> None:
    assert desk.get("/rates", 422, **{field: given})["field"] == field


def test_a_held_pair_is_shown_and_confirmed_by_a_word(desk: Desk) -> None:
    with desk.house.ledger.begin() as work:
        work.conditions.enter(conditions.hold_of("ETH-BTC"), "jump", normal=conditions.OFF)
    assert desk.get("/services")["held"] == ["ETH-BTC"]
    assert desk.post("/rates/ETH-BTC/confirm", 422)["field"] == "pair"  # nothing is remembered, so a rate is needed
    assert desk.post("/rates/ETH-BTC/confirm", 422, {"rate": "-1"})["field"] == "rate"
    assert desk.post("/rates/ETH-XYZ/confirm", 422, {"rate": "1"})["field"] == "pair"
    told = desk.post("/rates/eth-btc/confirm", content={"rate": "0.0607"})
    assert (told["pair"], told["last"], told["hold"]) == ("ETH-BTC", "0.0607", None)
    fresh = Desk(desk.house, desk.parts.settings.redis_url)
    assert fresh.get("/services")["held"] == []


# --- Failovers -------------------------------------------------------------------------------------------------------


def test_failovers_come_newest_first_by_pages_with_what_made_them(desk: Desk) -> None:
    made = [failed_over(desk.house, number) for number in (1, 2, 3)]
    first = desk.get("/failovers", limit=2)
    assert [one["conversionId"] for one in first["failovers"]] == [made[2], made[1]]
    one = first["failovers"][0]
    assert (one["from"], one["to"], one["succeeded"]) == ("changenow", "simpleswap", True)
    assert "changenow" in one["reason"]
    second = desk.get("/failovers", limit=2, cursor=first["next"])
    assert [one["conversionId"] for one in second["failovers"]] == [made[0]]
    assert second["next"] is None


def test_a_failover_that_found_nobody_is_told_with_its_reason(desk: Desk) -> None:
    desk.house.add("changenow", EXCHANGE, "0.1").always("place", refuse(ServiceRejected))
    cid = desk.house.receive()
    desk.house.begin(cid)
    [one, *_] = desk.get("/failovers")["failovers"]
    assert (one["conversionId"], one["from"], one["to"], one["succeeded"]) == (cid, "changenow", None, False)
    assert one["reason"]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"cursor": "-1"}, {"cursor": "9" * 30}]
)
def test_a_page_that_cannot_be_is_refused(desk: Desk, query: dict[str, Any]) -> None:
    assert desk.get("/failovers", 422, **query)["field"] in query


# --- The whole -------------------------------------------------------------------------------------------------------


def test_the_overview_counts_conversions_and_tells_what_waits_longest(desk: Desk) -> None:
    failed_over(desk.house)
    desk.house.services["changenow"].always("quote", refuse(ServiceRejected))
    desk.house.services["simpleswap"].always("quote", refuse(ServiceRejected))
    waiting = [desk.house.receive(number) for number in (2, 3)]
    for cid in waiting:
        assert desk.house.begin(cid).state is State.WAITING
    found = desk.get("/overview")
    assert (found["conversions"], found["states"]["COMPLETED"], found["states"]["WAITING"]) == (3, 1, 2)
    assert (found["needsReview"], found["oldestUnknown"], found["missing"]) == (0, None, [])
    assert found["oldestWaiting"]["id"] == waiting[0]
    assert found["oldestWaiting"]["reason"]
    assert [one["to"] for one in found["failovers"]] == ["simpleswap"]
    assert found["services"] == desk.get("/services")["services"]


SHAPES = {
    "/services": shapes.Services,
    "/overview": shapes.Overview,
    "/rates": shapes.Rates,
    "/failovers": shapes.Failovers,
    "/review": shapes.Cases,
}


@pytest.mark.parametrize("path", sorted(SHAPES))
def test_answers_have_the_shape_that_is_documented(desk: Desk, path: str) -> None:
    failed_over(desk.house)
    desk.http.post("/api/v1/services/kraken/isolate")
    found = desk.get(path)
    told = SHAPES[path].model_validate(found).model_dump(by_alias=True)
    assert told == found
    assert SHAPES[path].model_validate(SHAPES[path].model_config["json_schema_extra"]["examples"][0])  # type: ignore[index]


# --- What waits for a person -----------------------------------------------------------------------------------------


def parked(house: House, number: int = 1) -> str:
    if "alpha" not in house.services:
        alpha = house.add("alpha", EXCHANGE, "0.1", rules=UNPROVABLE)
        alpha.always("place", vanish)
        alpha.always("find", tell(None))
    cid = house.receive(number)
    assert house.finish(cid).state is State.NEEDS_REVIEW
    return cid


def test_what_needs_review_is_listed_with_its_evidence(house: House) -> None:
    house.add("beta", EXCHANGE, "0.101").always("place", refuse(ServiceRejected))
    cid = parked(house)
    desk = Desk(house, "")
    [case] = desk.get("/review")["cases"]
    assert (case["id"], case["service"], case["answer"]) == (cid, "alpha", None)
    assert [one["state"] for one in case["sent"]] == ["PREPARED"]
    assert (case["attempt"], case["attemptState"], case["promised"], case["found"]) == (2, "PREPARED", "0.1", None)
    assert case["words"] == ["executed", "notExecuted", "retry"]
    assert [(one["service"], one["state"], one["error"]) for one in case["earlier"]] == [
        ("beta", "NOT_EXECUTED", "beta place: ServiceRejected")
    ]
    [case] = desk.get("/review", ask=True)["cases"]
    assert case["answer"] == "does not know it"
    assert case["found"] == {"known": False, "status": None, "txid": None, "deposit": None, "error": None}


def test_what_is_not_answered_in_time_is_said_by_case_and_the_others_are_told(house: House) -> None:
    cids = [parked(house, number) for number in range(1, 4)]
    held, first = Event(), house.get(cids[0])
    evidence = Evidence(house.office("operator").desk)
    ask = evidence.ask

    def slow(conversion: Any, attempt: Any, sent: Any) -> Any:
        if conversion.id == first.id:
            held.wait(20)
        return ask(conversion, attempt, sent)

    evidence.ask = slow  # type: ignore[method-assign]
    began = monotonic()
    cases = evidence.parked(ask=True, within=seconds(0.5))
    assert monotonic() - began < 5
    held.set()
    answers = {one.conversion.id: one.facts()["answer"] for one in cases}
    assert answers[first.id] == "could not be asked: not within 0.5 s"
    assert [answers[one] for one in cids[1:]] == ["does not know it"] * 2
