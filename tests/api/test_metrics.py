"""What `/metrics` shows is what the ledger, the broker and the breakers say at that moment, or that they are away."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from redis import Redis

from converter.api.app import create_app
from converter.api.sources import Source
from converter.api.wiring import make_door, make_parts
from converter.domain import conditions
from converter.domain.breakers import BreakerState
from converter.domain.conversions import State
from converter.domain.deliveries import Message
from converter.enqueue import PULSE_KEY, TaskSender
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.redis_server import RedisServer
from converter.security.keys import EnvironmentKeys
from converter.settings import Service, Settings
from converter.settings_faces import Webhook
from tests.app.conftest import Kept, emptied, kept_ledger
from tests.app.house import APPROVAL, EXCHANGE, House
from tests.builders import an_id, seconds
from tests.fakes import lose_answer
from tests.scenarios.world import until
from tests.shared_state.redis_fixture import NOWHERE, client, frozen, own_server, redis_url, server

__all__ = ["client", "own_server", "redis_url", "server"]

SERVICES = (
    Service(id="coingate", priority=1, weight="1", base_url="http://127.0.0.1:1"),
    Service(id="kraken", priority=3, weight="1", base_url="http://127.0.0.1:1"),
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('metrics') / 'ledger.db'}")


@pytest.fixture
def house(kept: Kept) -> House:
    return emptied(kept)


def asked(ledger: SqlLedger, redis_url: str = "", token: str | None = None, host: str = "127.0.0.1:8080") -> TestClient:
    hook = Webhook(id="pool", url="https://pool.example/hook")
    settings = Settings(services=SERVICES, webhooks=(hook,), redis_url=redis_url)
    keys = EnvironmentKeys({} if token is None else {"CONVERTER_KEY_API_TOKEN": token})
    parts = make_parts(settings, keys, ledger, lambda task, conversion_id: True)
    return TestClient(create_app(parts, make_door(settings, keys, "127.0.0.1")), base_url=f"http://{host}")


def scraped(client: TestClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = plain_text(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for kind in families for one in kind.samples}


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


# --- The ledger ------------------------------------------------------------------------------------------------------


def test_conversions_are_shown_by_state_with_the_age_of_the_oldest(house: House) -> None:
    house.add("coingate", APPROVAL)
    house.begin(house.receive(2))
    house.finish(an_id(2))
    house.receive(1)
    house.clock.reach(house.clock.time + seconds(30))
    shown = scraped(asked(house.ledger))
    assert value(shown, "converter_ledger_up") == 1
    assert value(shown, "converter_conversions", state="RECEIVED") == 1
    assert value(shown, "converter_conversions", state="COMPLETED") == 1
    assert value(shown, "converter_conversions", state="NEEDS_REVIEW") == 0
    age = pytest.approx(30, abs=1)  # the clock moves a little each time it is read
    assert value(shown, "converter_conversions_oldest_age_seconds", state="RECEIVED") == age
    assert value(shown, "converter_conversions_overdue_seconds") == age
    assert value(shown, "converter_outbox_sequence") == len(house.events())


def test_an_unknown_operation_is_shown_with_the_age_of_the_doubt(house: House) -> None:
    house.add("kraken", EXCHANGE).on("place", lose_answer)
    house.begin(house.receive())
    operation = house.operations(an_id())[-1]
    house.clock.reach(operation.send_before + seconds(40))
    shown = scraped(asked(house.ledger))
    assert house.get(an_id()).state is State.RECONCILING
    assert value(shown, "converter_operations_unknown", service="kraken") == 1
    assert value(shown, "converter_operations_unknown", service="coingate") == 0
    doubt = value(shown, "converter_operations_unknown_oldest_age_seconds", service="kraken")
    assert doubt == pytest.approx(40, abs=1)


def test_a_service_is_available_unless_something_was_told_of_it(house: House) -> None:
    client = asked(house.ledger)
    assert value(scraped(client), "converter_service_available", service="kraken", tier="3") == 1
    with house.ledger.begin() as work:
        work.conditions.enter(conditions.isolation_of("kraken"), conditions.ON, normal=conditions.OFF)
        work.conditions.enter(conditions.breaker_of("coingate", "quote"), conditions.OPEN, normal=conditions.CLOSED)
        work.conditions.enter("breach:I9:cv_1", conditions.ON, normal=conditions.OFF)
        work.conditions.enter(conditions.hold_of("ETH-BTC"), "jump", normal=conditions.OFF)
    shown = scraped(asked(house.ledger))
    assert value(shown, "converter_service_available", service="kraken", tier="3") == 0
    assert value(shown, "converter_service_available", service="coingate", tier="1") == 0
    assert value(shown, "converter_service_isolated", service="kraken") == 1
    assert value(shown, "converter_service_quarantined", service="kraken") == 0
    assert value(shown, "converter_audit_breaches") == 1
    assert value(shown, "converter_pairs_held") == 1


def test_what_a_receiver_has_not_taken_and_a_follower_not_read_is_shown(house: House) -> None:
    house.add("coingate", APPROVAL)
    house.begin(house.receive())
    told = len(house.events())
    with house.ledger.begin() as work:
        work.followers.move(":webhook:pool", 1)
        work.followers.move(":webhook:gone", 1)
        messages = [Message("cv_1", work.now() - seconds(90)), Message("cv_1", work.now() - seconds(60))]
        work.deliveries.add("webhook:pool", messages)
    house.clock.reach(house.clock.time + seconds(100))
    shown = scraped(asked(house.ledger))
    assert value(shown, "converter_outbox_lag_events", follower="webhook:pool") == told - 1
    assert value(shown, "converter_outbox_lag_events", follower="webhook:gone") is None
    assert value(shown, "converter_messages_waiting", receiver="webhook:pool") == 2
    assert value(shown, "converter_messages_oldest_age_seconds", receiver="webhook:pool") == pytest.approx(100, abs=1)


def test_what_was_read_a_moment_ago_is_not_read_again(house: House) -> None:
    client = asked(house.ledger)
    scraped(client)
    house.receive()
    assert value(scraped(client), "converter_conversions", state="RECEIVED") == 0
    assert value(scraped(asked(house.ledger)), "converter_conversions", state="RECEIVED") == 1


def test_a_scrape_neither_waits_for_a_writer_nor_holds_one_up(house: House) -> None:
    house.receive()
    client = asked(house.ledger)
    with house.ledger.begin() as work:
        work.conversions.get(an_id())
        assert value(scraped(client), "converter_ledger_up") == 1
    with house.ledger.gauging()._reading() as reading:
        reading.exec_driver_sql("SELECT count(*) FROM conversions").scalar()
        house.receive(2)
    assert house.get(an_id(2)).state is State.RECEIVED


def test_without_a_ledger_the_rest_is_shown(tmp_path: Path, redis_url: str, client: Redis) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}", migrate=True)
    asking = asked(ledger, redis_url)
    ledger.close()
    shutil.rmtree(tmp_path / "home")
    shown = scraped(asking)
    assert value(shown, "converter_ledger_up") == 0
    assert value(shown, "converter_scrape_errors_total", source="ledger") == 1
    assert value(shown, "converter_conversions", state="RECEIVED") is None
    assert value(shown, "converter_broker_up") == 1
    assert value(shown, "converter_queue_depth", queue="rates") == 0


def test_a_read_that_hangs_is_waited_for_briefly_and_never_twice_at_once() -> None:
    let_go, begun = threading.Event(), []

    def hang() -> int:
        begun.append(1)
        let_go.wait(30)
        return 7

    source = Source(hang, (OSError,), kept=60, within=0.02)
    started = time.monotonic()
    assert [source.get() for _ in range(5)] == [None] * 5
    assert time.monotonic() - started < 5
    assert begun == [1]
    let_go.set()
    patient = Source(source.get, (OSError,), within=30)
    assert patient.get() in (7, None)
    assert source.get() == 7


def test_what_takes_long_is_shown_as_it_was_while_it_is_read_anew() -> None:
    let_go, numbers = threading.Event(), iter((1, 2))

    def count() -> int:
        number = next(numbers)
        if number == 2:
            let_go.wait(30)
        return number

    source = Source(count, (OSError,), kept=0, within=0.02, stale=60)
    until(lambda: source.get() == 1, 10, "it is read")
    assert [source.get() for _ in range(3)] == [1, 1, 1]
    let_go.set()
    until(lambda: source._known is not None and source._known[1] == 2, 10, "it is read anew")


# --- The broker ------------------------------------------------------------------------------------------------------


def test_what_waits_in_the_queues_is_shown_with_its_age(house: House, redis_url: str, client: Redis) -> None:
    sender = TaskSender(redis_url)
    assert [sender.send("conversions.start", an_id(number)) for number in (1, 2)] == [True, True]
    sender.close()
    messages = [json.loads(one) for one in client.lrange("conversions", 0, -1)]
    messages[-1]["headers"]["sent_at"] -= 100
    client.lset("conversions", -1, json.dumps(messages[-1]))
    client.set(PULSE_KEY, int((time.time() - 50) * 1000))
    shown = scraped(asked(house.ledger, redis_url))
    assert value(shown, "converter_queue_depth", queue="conversions") == 2
    assert value(shown, "converter_queue_depth", queue="rates") == 0
    age = value(shown, "converter_queue_oldest_age_seconds", queue="conversions")
    assert age is not None
    assert 100 <= age < 130
    pulse = value(shown, "converter_sweep_age_seconds")
    assert pulse is not None
    assert 50 <= pulse < 80


def test_without_a_pulse_the_last_sweep_is_endlessly_long_ago(house: House, redis_url: str, client: Redis) -> None:
    assert value(scraped(asked(house.ledger, redis_url)), "converter_sweep_age_seconds") == math.inf


def test_a_breaker_is_in_exactly_one_state(house: House, redis_url: str, client: Redis) -> None:
    asking = asked(house.ledger, redis_url)
    parts = make_parts(
        Settings(services=SERVICES, redis_url=redis_url), EnvironmentKeys({}), house.ledger, lambda *_: True
    )
    parts.engine.commons.breakers["kraken"]["execute"].move(BreakerState.OPEN)
    shown = scraped(asking)
    of_one = {
        state: value(shown, "converter_breaker_state", service="kraken", operation="execute", state=state)
        for state in BreakerState
    }
    assert of_one == {state: float(state is BreakerState.OPEN) for state in BreakerState}


@pytest.mark.parametrize("url", ["", NOWHERE])
def test_without_a_broker_the_rest_is_shown_at_once(house: House, url: str) -> None:
    started = time.monotonic()
    shown = scraped(asked(house.ledger, url))
    assert time.monotonic() - started < 3
    assert value(shown, "converter_broker_up") == 0
    assert value(shown, "converter_ledger_up") == 1
    assert value(shown, "converter_sweep_age_seconds") is None
    assert not [name for name, _ in shown if name.startswith("converter_breaker")]


def test_a_broker_that_says_nothing_costs_a_scrape_less_than_two_seconds(house: House, own_server: RedisServer) -> None:
    asking = asked(house.ledger, own_server.url)
    with frozen(own_server):
        started = time.monotonic()
        assert value(scraped(asking), "converter_broker_up") == 0
        assert time.monotonic() - started < 2


# --- The page and its door -------------------------------------------------------------------------------------------


def test_both_text_formats_are_spoken(house: House) -> None:
    asking = asked(house.ledger)
    told = asking.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    assert "converter_ledger_up" in {family.name for family in open_metrics(told.text)}
    assert asking.get("/metrics").headers["content-type"].startswith("text/plain")


def test_only_who_may_ask_is_told(house: House) -> None:
    assert asked(house.ledger, host="evil.example").get("/metrics").status_code == 404
    guarded = asked(house.ledger, token="for-the-scraper")
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/metrics", headers={"Authorization": "Bearer for-the-scraper"}).status_code == 200


def test_requests_are_counted_by_route_and_never_by_path(house: House) -> None:
    asking = asked(house.ledger)
    asking.get(f"/api/v1/conversions/{an_id(7)}/explain")
    asking.get("/nowhere/at/all")
    asking.post("/callbacks/coingate/very-secret-token", content=b"{}")
    answer = asking.get("/metrics").text
    shown = scraped(asking)
    route = "/api/v1/conversions/{conversion_id}/explain"
    assert value(shown, "converter_http_requests_total", method="GET", route=route, status="404") == 1
    assert value(shown, "converter_http_requests_total", method="GET", route="none", status="404") == 1
    assert an_id(7) not in answer
    assert "very-secret-token" not in answer


@pytest.mark.parametrize(
    ("given", "taken"), [("pool-7", True), ("a b", False), ("x" * 65, False), ("", False), ('"}{', False)]
)
def test_a_request_has_the_id_that_it_came_with_or_one_of_ours(house: House, given: str, taken: bool) -> None:
    told = asked(house.ledger).get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert (told == given) is taken
    assert told
