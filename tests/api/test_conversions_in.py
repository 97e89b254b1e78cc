"""Conversions over HTTP: once for each key, refused by name, taken in without a broker, but not without a ledger."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from converter.accepting import Accepted, Accepting
from converter.api.app import Parts, create_app
from converter.api.backlog import Backlog
from converter.api.bodies import MAX_BODY
from converter.api.conversions import WRITING
from converter.api.wiring import make_door, open_parts
from converter.desk import Next
from converter.domain.conversions import State
from converter.domain.errors import ConfigurationError
from converter.ledger.repository import SqlLedger, create_engine, open_ledger
from converter.security.keys import EnvironmentKeys
from tests.api.front import CONVERSIONS, WANTED, Front, front_of, on_another_ledger, problem, settings_of
from tests.app.conftest import Kept, kept_ledger
from tests.builders import BTC_ADDRESS, ETH_ADDRESS, OTHER_BTC_ADDRESS, seconds
from tests.ledger.conftest import empty
from tests.shared_state.redis_fixture import NOWHERE


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('http') / 'ledger.db'}")


@pytest.fixture
def ledger(kept: Kept) -> SqlLedger:
    with kept[0].engine.begin() as connection:
        empty(connection)
    return kept[0]


@pytest.fixture(scope="module")
def opened(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front_of(kept[0], settings_of(tmp_path_factory.mktemp("home"))) as front:
        yield front


@pytest.fixture
def front(opened: Front, ledger: SqlLedger) -> Front:
    """On an empty ledger."""
    opened.asked.clear()
    return opened


# --- Once for each key -----------------------------------------------------------------------------------------------


def test_a_conversion_is_accepted_told_and_handed_to_the_workers(front: Front) -> None:
    answer = front.post("payout-1")
    assert answer.status_code == 201
    found = answer.json()
    assert answer.headers["location"] == f"{CONVERSIONS}/{found['id']}"
    assert (found["state"], found["amount"], found["idempotencyKey"]) == ("RECEIVED", "1.5", "payout-1")
    assert "idempotency-replayed" not in answer.headers
    assert front.asked == [(Next.START, found["id"])]
    assert front.http.get(answer.headers["location"]).json() == found
    with front.parts.ledger.begin() as work:
        assert [one.name for one in work.outbox.after(0)] == ["conversion:accepted"]


@pytest.mark.parametrize(("first", "again"), [("p 1", "p 1"), ('"p-1"', "p-1"), ("p-1", '"p-1"'), ('"a\\"b"', 'a"b')])
def test_a_repeat_is_the_same_conversion_and_says_so(front: Front, first: str, again: str) -> None:
    accepted = front.accepted(first)
    answer = front.post(again, amount="1.50")
    assert (answer.status_code, answer.json()["id"]) == (200, accepted)
    assert answer.headers["idempotency-replayed"] == "true"
    assert answer.headers["location"] == f"{CONVERSIONS}/{accepted}"
    assert (front.count(), len(front.asked)) == (1, 1)


def test_a_repeat_shows_how_the_conversion_stands_now(front: Front) -> None:
    accepted = front.accepted("k")
    assert front.act(accepted, "cancel", reason="a test").status_code == 200
    assert front.post("k").json()["state"] == "CANCELLED"


@pytest.mark.parametrize("other", [{"amount": "1.6"}, {"address": OTHER_BTC_ADDRESS}, {"fromCoin": "LTC"}])
def test_a_known_key_with_other_content_is_refused(front: Front, other: dict[str, str]) -> None:
    accepted = front.accepted("k")
    told = problem(front.post("k", **other), 422, "IdempotencyConflict")
    assert accepted in told["detail"]
    assert front.count() == 1


@pytest.mark.parametrize("key", [None, "", '""', '"open', '"a"b"', "x" * 201, '"' + "x" * 201 + '"', "schlüssel"])
def test_without_a_usable_key_nothing_is_written(front: Front, key: str | None) -> None:
    headers = [("Content-Type", "application/json")]
    named = [] if key is None else [("Idempotency-Key", key.encode())]
    answer = front.http.post(CONVERSIONS, json=WANTED, headers=[*headers, *named])  # type: ignore[arg-type]
    assert problem(answer, 400, "InvalidRequest")["field"] == "Idempotency-Key"
    assert front.count() == 0


def test_two_keys_in_one_request_are_none(front: Front) -> None:
    answer = front.http.post(CONVERSIONS, json=WANTED, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert problem(answer, 400, "InvalidRequest")["field"] == "Idempotency-Key"


class HeldUp(Accepting):
    """Takes nothing in before it may."""

    def __init__(self, whole: Accepting) -> None:
        self.whole = whole
        self.may, self.waiting = threading.Event(), threading.Semaphore(0)

    def accept(self, fields: Any, policy: str = "") -> Accepted:
        self.waiting.release()
        assert self.may.wait(20)
        return self.whole.accept(fields, policy)


@pytest.fixture
def held_up(ledger: SqlLedger, tmp_path: Path) -> Iterator[tuple[Front, HeldUp]]:
    def change(parts: Parts) -> Parts:
        return replace(parts, accepting=HeldUp(parts.accepting))

    with front_of(ledger, settings_of(tmp_path), change) as front:
        held = front.parts.accepting
        assert isinstance(held, HeldUp)
        yield front, held
        held.may.set()


def test_a_key_whose_first_request_is_in_hand_is_told_to_come_again(held_up: tuple[Front, HeldUp]) -> None:
    front, held = held_up
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(front.post, "k")
        held.waiting.acquire(timeout=20)
        answer = front.post('"k"')
        assert problem(answer, 409, "RequestInProgress")
        assert int(answer.headers["retry-after"]) >= 1
        held.may.set()
        assert first.result().status_code == 201
    assert front.post("k").status_code == 200


def test_a_flood_of_requests_starves_neither_reads_nor_health(held_up: tuple[Front, HeldUp]) -> None:
    front, held = held_up
    with ThreadPoolExecutor(20) as pool:
        flood = [pool.submit(front.post, f"k{number}") for number in range(20)]
        for _ in range(WRITING):
            held.waiting.acquire(timeout=20)
        assert front.ids() == []
        assert front.http.get("/healthz").status_code == 200
        assert front.http.get("/readyz").json()["ledger"] == "ok"
        assert problem(front.http.get(f"{CONVERSIONS}/none"), 404, "ConversionNotFound")
        held.may.set()
        assert {one.result().status_code for one in flood} == {201}


# --- Refused ---------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such coin": ({"fromCoin": "XYZ"}, "fromCoin"),
    "a coin in lower case": ({"fromCoin": "eth"}, "fromCoin"),
    "no such network": ({"toNetwork": "LIGHTING"}, "toNetwork"),
    "a network of another coin": ({"toNetwork": "TRX"}, "toNetwork"),
    "the same coin": ({"toCoin": "ETH", "address": ETH_ADDRESS}, "toCoin"),
    "a wrong checksum": ({"address": BTC_ADDRESS[:-1] + "q"}, "address"),
    "an address of another coin": ({"address": ETH_ADDRESS}, "address"),
    "an amount that is a number": ({"amount": 1.5}, "amount"),
    "an amount that is a whole number": ({"amount": 2}, "amount"),
    "an amount in words": ({"amount": "1e3"}, "amount"),
    "a negative amount": ({"amount": "-1"}, "amount"),
    "an amount with a space": ({"amount": " 1.5"}, "amount"),
    "zero": ({"amount": "0.000"}, "amount"),
    "too many decimals": ({"amount": "0.0000000000000000001"}, "amount"),
    "half a character": ({"address": "\ud800"}, "address"),
    "a field that is not known": ({"adress": BTC_ADDRESS}, "adress"),
    "a key in the body": ({"idempotencyKey": "k"}, "idempotencyKey"),
    "an amount that is missing": ({"amount": None}, "amount"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_field_that_is_not_accepted_is_named(front: Front, case: str) -> None:
    change, field = BAD[case]
    told = problem(front.post("k", **change), 422, "InvalidRequest")
    assert told["field"] == field
    assert told["problem"]
    assert front.count() == 0


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'{"amount":NaN}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b'{"a":1}', "text/plain", 415),
        (b'{"a":1}', "application/x-www-form-urlencoded", 415),
        (b'{"a":1}', "", 415),
        (b'{"pad":"' + b" " * MAX_BODY + b'"}', "application/json", 413),
    ],
    ids=str,
)
def test_a_body_is_json_and_small(front: Front, body: bytes, kind: str, status: int) -> None:
    headers = {"Idempotency-Key": "k", **({"Content-Type": kind} if kind else {})}
    answer = front.http.post(CONVERSIONS, content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert front.count() == 0


def test_a_field_of_any_name_is_told_back_cut_short(front: Front) -> None:
    told = problem(front.post("k", **{"\ud800" * 5000: 1}), 422, "InvalidRequest")
    assert len(told["field"]) <= 100


def test_who_may_not_ask_gets_nothing(ledger: SqlLedger, tmp_path: Path) -> None:
    with front_of(ledger, settings_of(tmp_path), environ={"CONVERTER_KEY_API_TOKEN": "secret"}) as front:
        assert front.post().headers["www-authenticate"] == "Bearer"
        problem(front.post(headers={"Authorization": "Bearer wrong"}), 401, "Unauthorized")
        allowed = {"Authorization": "Bearer secret"}
        problem(front.post(headers={**allowed, "Origin": "https://evil.example"}), 403, "ForeignOrigin")
        problem(front.post(headers={**allowed, "Host": "evil.example"}), 404, "NotFound")
        problem(front.http.get("/api/v1/openapi.json"), 401, "Unauthorized")
        assert front.count() == 0
        assert front.post(headers=allowed).status_code == 201


# --- Too many, and parts that are away -------------------------------------------------------------------------------


def test_with_too_many_that_wait_new_ones_are_refused_and_known_ones_answered(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    with front_of(ledger, settings_of(tmp_path, max_queued=3)) as front:
        known = [front.accepted(f"k{number}") for number in range(3)]
        refused = front.post("one more")
        assert "nothing was promised" in problem(refused, 503, "QueueFull")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert front.count() == 3
        assert [front.post(f"k{number}").json()["id"] for number in range(3)] == known
        problem(front.post("k0", amount="2"), 422, "IdempotencyConflict")
        problem(front.post("one more", amount="0"), 422, "InvalidRequest")


def test_what_waits_is_counted_once_a_second_and_what_came_in_between_is_added(ledger: SqlLedger) -> None:
    now = [0.0]
    backlog = Backlog(ledger, limit=2, clock=lambda: now[0])
    assert not backlog.is_full()
    backlog.note_accepted()
    assert not backlog.is_full()
    backlog.note_accepted()
    assert backlog.is_full(), "by what this process took in"
    now[0] = 1.0
    assert not backlog.is_full(), "by the ledger, where nothing is"


@pytest.fixture(params=["absent", "frozen"])
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A broker that refuses connections, and one that takes them and never says a word."""
    if request.param == "absent":
        yield NOWHERE
        return
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"redis://127.0.0.1:{silent.getsockname()[1]}/0"


def test_without_a_broker_conversions_are_accepted_at_once(redis_url: str, ledger: SqlLedger, tmp_path: Path) -> None:
    places = {"redis_url": redis_url, "ledger_url": str(ledger.engine.url)}
    settings, keys = settings_of(tmp_path).model_copy(update=places), EnvironmentKeys({})
    with open_parts(settings, keys) as parts:
        app = create_app(parts, make_door(settings, keys, "127.0.0.1"))
        with TestClient(app, base_url="http://127.0.0.1:8080") as http:
            took = []
            for number in range(5):
                began = time.monotonic()
                answer = http.post(CONVERSIONS, json=WANTED, headers={"Idempotency-Key": f"k{number}"})
                assert answer.status_code == 201
                took.append(time.monotonic() - began)
    assert max(took) < 3
    assert sum(took) < 8, "none of them waits for the two seconds of a silent broker"
    with ledger.begin() as work:
        waiting = work.conversions.page(states=(State.RECEIVED,))
    assert len(waiting) == 5
    due = [one.due_at - one.created_at for one in waiting if one.due_at is not None]
    assert due == [seconds(3)] * 5, "the sweep finds them"


def test_without_a_ledger_nothing_is_promised(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}", migrate=True)
    with front_of(ledger, settings_of(tmp_path)) as front:
        assert front.post("before").status_code == 201
        ledger.close()
        home.rename(tmp_path / "elsewhere")  # a disk that was taken away
        for answer in (front.post("k"), front.http.get(CONVERSIONS), front.http.get("/api/v1/multi-service/status")):
            assert "nothing was promised" in problem(answer, 503, "LedgerUnavailable")["detail"]
            assert int(answer.headers["retry-after"]) >= 1
        assert "did not answer" in front.http.get("/readyz").json()["ledger"]
        (tmp_path / "elsewhere").rename(home)
        assert front.post("k").status_code == 201
        assert front.count() == 2
    ledger.close()


def test_a_database_server_that_is_down_is_no_promise_either(ledger: SqlLedger, tmp_path: Path) -> None:
    down = SqlLedger(create_engine("postgresql://nobody@127.0.0.1:1/none"))
    with front_of(ledger, settings_of(tmp_path), on_another_ledger(down)) as front:
        problem(front.post("k"), 503, "LedgerUnavailable")
        problem(front.http.get(CONVERSIONS), 503, "LedgerUnavailable")
    assert front.asked == []


def test_a_database_server_that_is_down_at_the_start_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/none"
    settings = settings_of(tmp_path).model_copy(update={"ledger_url": url})
    with pytest.raises(ConfigurationError, match="ledger: did not answer") as refused:
        open_parts(settings, EnvironmentKeys({})).__enter__()
    assert "secret" not in str(refused.value)


def test_a_repeat_is_answered_after_its_services_are_gone(ledger: SqlLedger, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with front_of(ledger, settings) as front:
        accepted = front.accepted("k")
    none = settings.model_copy(update={"services": ()})
    with front_of(ledger, none) as front:
        problem(front.post("another"), 422, "InvalidRequest")
        assert front.post("k").json()["id"] == accepted


def test_nothing_of_what_is_asked_for_is_logged(
    front: Front, tmp_path: Path, ledger: SqlLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    accepted = front.accepted("a-key-of-a-pool", amount="1.23456789")
    front.post("a-key-of-a-pool", amount="1.23456789")
    front.post("a-key-of-a-pool", amount="9.87654321")
    front.post("a-key-of-a-pool", address=OTHER_BTC_ADDRESS + "x")
    front.http.get(CONVERSIONS, params={"address": BTC_ADDRESS})
    front.act(accepted, "cancel", reason="a test")
    down = SqlLedger(create_engine("postgresql://nobody@127.0.0.1:1/none"))
    with front_of(ledger, settings_of(tmp_path), on_another_ledger(down)) as cut_off:
        cut_off.post("a-key-of-a-pool", amount="1.23456789")
    assert "the ledger did not answer" in caplog.text
    said = [one.getMessage() for one in caplog.records if not one.name.startswith("httpx")]
    for secret in ("a-key-of-a-pool", "1.23456789", "9.87654321", BTC_ADDRESS, OTHER_BTC_ADDRESS):
        assert not [line for line in said if secret in line]


# --- The list --------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(front: Front) -> list[str]:
    """Oldest first: ETH to BTC, LTC to BTC, and ETH to BTC elsewhere, which is cancelled."""
    found = [front.accepted("1"), front.accepted("2", fromCoin="LTC", amount="20")]
    found.append(front.accepted("3", address=OTHER_BTC_ADDRESS))
    assert front.act(found[2], "cancel", reason="a test").status_code == 200
    return found


def test_the_list_is_searched_by_every_condition(front: Front, three: list[str]) -> None:
    first, second, third = three
    assert front.ids() == [third, second, first]
    assert front.ids(state="RECEIVED") == [second, first]
    assert front.ids(state=["RECEIVED", "CANCELLED"]) == [third, second, first]
    assert front.ids(fromCoin="LTC") == [second]
    assert front.ids(fromCoin="LTC", state="CANCELLED") == []
    assert front.ids(toCoin="BTC") == [third, second, first]
    assert front.ids(address=OTHER_BTC_ADDRESS) == [third]
    assert front.ids(id=second) == [second]
    assert front.ids(id=second[:5], limit=1) == [third]
    assert front.ids(service="kraken") == []


def test_pages_hold_together_while_new_ones_come(front: Front, three: list[str]) -> None:
    page = front.http.get(CONVERSIONS, params={"limit": 2}).json()
    assert ([one["id"] for one in page["conversions"]], page["next"]) == ([three[2], three[1]], three[1])
    front.accepted("4")
    rest = front.http.get(CONVERSIONS, params={"limit": 2, "cursor": page["next"]}).json()
    assert ([one["id"] for one in rest["conversions"]], rest["next"]) == ([three[0]], None)
    assert front.http.get(CONVERSIONS, params={"limit": 4}).json()["next"] is None


@pytest.mark.parametrize(
    "search",
    [
        {"state": "DONE"},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "many"},
        {"cursor": "cv_1"},
        {"id": "1"},
        {"id": "cv_%"},
        {"service": "'"},
        {"address": "\0"},
        {"fromCoin": "eth"},
        {"stat": "RECEIVED"},
    ],
    ids=str,
)
def test_a_search_that_means_nothing_is_refused(front: Front, search: dict[str, str]) -> None:
    answer = front.http.get(CONVERSIONS, params=search)
    assert problem(answer, 422, "InvalidRequest")["field"].partition(".")[0] in search


@pytest.mark.parametrize("conversion_id", ["x", "%00", "cv_" + "0" * 27, "cv_" + "i" * 26, "cv_" + "0" * 26])
def test_a_conversion_that_cannot_be_is_not_found(front: Front, conversion_id: str) -> None:
    problem(front.http.get(f"{CONVERSIONS}/{conversion_id}"), 404, "ConversionNotFound")
    answer = front.http.post(f"{CONVERSIONS}/{conversion_id}/cancel", json={"reason": "a test"})
    problem(answer, 404, "ConversionNotFound")
