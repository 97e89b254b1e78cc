"""Events and alerts over HTTP: live, resumed, in the past, and what happens to who does not read."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from fastapi import FastAPI

from benchmarks.sse import measure
from converter.api import hub as hub_module
from converter.api import streaming
from converter.api.app import create_app
from converter.api.hub import Client, Hub
from converter.api.serving import Server
from converter.api.wiring import make_door, make_parts
from converter.domain.alerts import Alert, Raised
from converter.domain.events import CONVERSION_ACCEPTED, CONVERSION_COMPLETED, SERVICE_FAILURE, Event, Only
from converter.following import PRUNED
from converter.ledger.repository import SqlLedger
from converter.security.keys import EnvironmentKeys
from converter.settings import Service, Settings
from tests.app.conftest import Kept, kept_ledger
from tests.builders import START, an_id, seconds
from tests.ledger.conftest import empty
from tests.scenarios.world import until

SETTINGS = Settings(services=(Service(id="coingate", priority=1, weight="1"),))
TOKEN = "a-token-of-the-test"
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Site:
    """A server on a port of its own, and the ledger behind it."""

    ledger: SqlLedger
    app: FastAPI
    server: Server
    port: int

    @property
    def hub(self) -> Hub:
        found: Hub = self.app.state.hub
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def tell(self, *names: str, conversion: int | None = None, **payload: Any) -> None:
        with self.ledger.begin() as work:
            for name in names:
                work.outbox.add(Event(name, payload, None if conversion is None else an_id(conversion)))

    def history(self, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.url}/events/history", params=query, timeout=10).json()
        return found


@contextmanager
def served(kept: Kept, token: str | None = None) -> Iterator[Site]:
    ledger = kept[0]
    keys = EnvironmentKeys({"CONVERTER_KEY_API_TOKEN": token or ""})
    parts = make_parts(SETTINGS, keys, ledger, lambda task, conversion_id: True)
    app = create_app(parts, make_door(SETTINGS, keys, "127.0.0.1"))
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="error", timeout_graceful_shutdown=5)
    server = Server(config, app.state.hub)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, 10, "it serves", pause=0.02)
    yield Site(ledger, app, server, server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('streaming') / 'ledger.db'}")


@pytest.fixture(scope="module")
def one_site(kept: Kept) -> Iterator[Site]:
    with served(kept) as site:
        yield site


@pytest.fixture
def site(one_site: Site) -> Site:
    """The server with an empty ledger, whose numbers go on: a follower never meets one for the second time."""
    until(lambda: not one_site.hub._clients, 10, "the streams of the test before are gone", pause=0.02)
    with one_site.ledger.engine.begin() as connection:
        empty(connection)
        connection.exec_driver_sql(
            "INSERT INTO events VALUES (?, 'a', NULL, '{}', '2026-03-04')", (one_site.hub.position,)
        )
    return one_site


class Reader:
    """A stream, line by line, with what the tests look for."""

    def __init__(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        self.lines = answer.iter_lines(chunk_size=1)

    def until(self, start: str) -> str:
        """The next line that begins so."""
        for line in self.lines:
            if line.decode().startswith(start):
                return str(line.decode())
        raise AssertionError(f"the stream ended before {start!r}")

    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.until("data: ")[6:])
        return found

    def place(self) -> int:
        return int(self.until("id: ")[4:])


@contextmanager
def stream(site: Site, headers: dict[str, str] | None = None, **query: Any) -> Iterator[Reader]:
    with requests.get(f"{site.url}/events", params=query, headers=headers, stream=True, timeout=10) as answer:
        yield Reader(answer)


# --- Live ------------------------------------------------------------------------------------------------------------


def test_many_streams_hear_every_event_in_order_within_a_second(site: Site) -> None:
    found = asyncio.run(measure(site.port, site.ledger, clients=25, events=20, pause=0.02))
    assert found.in_order
    assert found.p99_ms < 1000


@pytest.mark.chaos
def test_five_hundred_streams_of_one_process_cost_redis_nothing_and_hear_within_a_second() -> None:
    words = [sys.executable, str(ROOT / "benchmarks" / "sse.py"), "500", "60", "--json"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=110, cwd=ROOT).stdout)
    assert found["redis_connections"] == 0
    assert found["in_order"]
    assert found["p99_ms"] < 1000


def test_a_stream_begins_now_and_shows_an_event_as_it_is_everywhere(site: Site) -> None:
    with stream(site) as earlier:
        earlier.place()
        site.tell(SERVICE_FAILURE, serviceId="early")
        assert earlier.event()["payload"] == {"serviceId": "early"}
    with stream(site) as reader:
        place = reader.place()
        site.tell(CONVERSION_ACCEPTED, conversion=1, amount="1.50", note="größer\nzweite Zeile")
        assert reader.place() == place + 1
        assert reader.until("event: ") == f"event: {CONVERSION_ACCEPTED}"
        event = reader.event()
    assert event == site.history()["events"][-1]
    assert event["payload"] == {"amount": "1.50", "note": "größer\nzweite Zeile"}
    assert (event["id"], event["conversionId"]) == (place + 1, an_id(1))


def test_a_stream_hears_only_what_it_asked_for(site: Site) -> None:
    names = [CONVERSION_COMPLETED, CONVERSION_ACCEPTED]
    with stream(site, name=names, conversionId=an_id(2)) as reader:
        reader.place()
        site.tell(*names, SERVICE_FAILURE, conversion=1)
        site.tell(SERVICE_FAILURE, *names, conversion=2)
        assert [(one["name"], one["conversionId"]) for one in (reader.event(), reader.event())] == [
            (CONVERSION_COMPLETED, an_id(2)),
            (CONVERSION_ACCEPTED, an_id(2)),
        ]


def test_a_silent_stream_shows_that_it_lives(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT", 0.1)
    with stream(site) as reader:
        assert reader.until(": alive")
        site.tell(SERVICE_FAILURE)
        assert reader.event()["name"] == SERVICE_FAILURE


# --- Resumed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_header", [True, False])
def test_a_stream_resumes_behind_the_last_event_and_goes_on(site: Site, by_header: bool) -> None:
    site.tell(*[SERVICE_FAILURE] * 700, serviceId="alpha")
    last = site.history(limit=1)["last"]
    headers = {"Last-Event-ID": str(last - 650)} if by_header else None
    with stream(site, headers, after=1 if by_header else last - 650) as reader:
        missed = [reader.event()["id"] for _ in range(650)]
        site.tell(SERVICE_FAILURE)
        assert [*missed, reader.event()["id"]] == list(range(last - 649, last + 2))


def test_no_event_is_lost_between_what_was_missed_and_what_is_new(site: Site) -> None:
    last, going = site.history(limit=1)["last"], threading.Event()

    def write() -> None:
        for _ in range(60):
            site.tell(SERVICE_FAILURE)
            going.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert going.wait(5)
    with stream(site, after=last) as reader:
        assert [reader.event()["id"] for _ in range(60)] == list(range(last + 1, last + 61))
    writer.join()


def test_a_stream_of_rare_events_resumes_past_what_it_did_not_ask_for(site: Site) -> None:
    last = site.history(limit=1)["last"]
    site.tell(*[SERVICE_FAILURE] * 20)
    with stream(site, after=last, name=CONVERSION_ACCEPTED) as reader:
        assert reader.place() == last + 20


@pytest.mark.parametrize("beyond", [False, True])
def test_a_place_that_is_not_kept_is_said(site: Site, beyond: bool) -> None:
    site.tell(*[SERVICE_FAILURE] * 5)
    last = site.history(limit=1)["last"]
    with site.ledger.begin() as work:
        work.followers.move(PRUNED, last - 2)
    asked = last + 50 if beyond else last - 4
    with stream(site, after=asked) as reader:
        assert reader.place() == (last if beyond else last - 2)
        assert reader.until("event: ") == "event: stream:gap"
        assert reader.event() == {"after": asked, "continuesAfter": last if beyond else last - 2}
        if not beyond:
            assert [reader.event()["id"] for _ in range(2)] == [last - 1, last]


# --- Who does not read, and the end ----------------------------------------------------------------------------------


def test_what_waits_for_a_client_is_bounded_and_the_client_is_told(site: Site) -> None:
    async def played() -> tuple[bytes, list[bytes]]:
        hub = Hub(site.ledger)
        reader = streaming._Reader(site.ledger, hub, _never)
        frames = reader.frames(Only(), None)
        started = [await anext(frames), await anext(frames)]
        [client] = hub._clients
        for _ in range(hub_module.QUEUE + 1):
            client.push(b"x")
        rest = [chunk async for chunk in frames]
        assert not hub._clients
        return started[0], rest

    first, rest = asyncio.run(played())
    assert first.startswith(b"retry: ")
    assert rest == [b": too slow, come again\n\n"]


async def _never(_: object) -> None:
    raise AssertionError


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """What is only freed by the collector is freed too late."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_a_client_that_reads_nothing_is_cut_and_frees_its_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_UNREAD", 0.3)
    monkeypatch.setattr(streaming, "HEARTBEAT", 0.1)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", site.port))
        client.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        until(lambda: len(site.hub._clients) == 1, 5, "it is there", pause=0.02)
        for _ in range(8):
            site.tell(SERVICE_FAILURE, text="x" * 1_000_000)
        until(lambda: not site.hub._clients, 10, "it is gone", pause=0.05)


def test_a_stream_too_many_is_sent_away_for_a_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MOST_CLIENTS", 0)
    answer = requests.get(f"{site.url}/events", timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_streams_end_with_the_server_within_a_second(kept: Kept) -> None:
    with served(kept) as site, stream(site) as reader:
        reader.place()
        began = time.monotonic()
        site.server.should_exit = True
        assert reader.until(": the server ends")
        assert list(reader.lines) == [b""]
        assert time.monotonic() - began < 1


def test_a_client_takes_what_waits_together() -> None:
    async def played() -> list[bytes]:
        client = Client(Only())
        client.push(b"a")
        client.push(b"b")
        return [await client.take(1), await client.take(0.01)]

    assert asyncio.run(played()) == [b"ab", b""]


# --- The past, alerts, and the door ----------------------------------------------------------------------------------


def test_history_pages_both_ways(site: Site) -> None:
    last = site.history(limit=1)["last"]
    site.tell(*[CONVERSION_ACCEPTED, SERVICE_FAILURE] * 5, conversion=1)

    def ids(**query: Any) -> tuple[list[int], int]:
        found = site.history(**query)
        return [one["id"] - last for one in found["events"]], found["last"] - last

    assert ids(limit=3) == ([8, 9, 10], 10)
    assert ids(limit=3, before=last + 8) == ([5, 6, 7], 7)
    assert ids(after=last + 3, limit=2) == ([4, 5], 5)
    assert ids(after=last, name=CONVERSION_ACCEPTED) == ([1, 3, 5, 7, 9], 10)
    assert ids(after=last, name=SERVICE_FAILURE, conversionId=an_id(2)) == ([], 10)


@pytest.mark.parametrize(
    ("path", "headers", "field"),
    [
        ("events?name=nope", {}, "name"),
        ("events/history?name=nope", {}, "name"),
        ("events?after=-1", {}, "after"),
        ("events?after=99999999999999999999", {}, "after"),
        ("events", {"Last-Event-ID": "x"}, "lastEventId"),
        ("events/history?limit=0", {}, "limit"),
        ("events/history?limit=1001", {}, "limit"),
        ("alerts?active=perhaps", {}, "active"),
    ],
)
def test_a_wrong_question_is_told_which_field(site: Site, path: str, headers: dict[str, str], field: str) -> None:
    answer = requests.get(f"{site.url}/{path}", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_alerts_are_listed_firing_first(site: Site) -> None:
    what = Raised("service:unavailable:alpha:quote", "service:unavailable", "warning", "alpha is away", "alpha")
    with site.ledger.begin() as work:
        work.alerts.put(Alert(replace(what, key="over"), START, START, 2, resolved_at=START + seconds(60)))
        work.alerts.put(Alert(what, START, START))
    found = requests.get(f"{site.url}/alerts", timeout=10).json()["alerts"]
    assert [one["key"] for one in found] == [what.key, "over"]
    assert found[0] == {
        "key": what.key,
        "name": "service:unavailable",
        "text": "alpha is away",
        "severity": "warning",
        "firing": True,
        "firstAt": START.isoformat(),
        "lastAt": START.isoformat(),
        "resolvedAt": None,
        "count": 1,
        "serviceId": "alpha",
        "conversionId": None,
    }
    firing = requests.get(f"{site.url}/alerts?active=true", timeout=10).json()["alerts"]
    assert firing == found[:1]


def test_streams_are_behind_the_door(kept: Kept, site: Site) -> None:
    foreign = {"Host": "evil.example"}
    for path in ("events", "events/history", "alerts"):
        assert requests.get(f"{site.url}/{path}", headers=foreign, timeout=10).status_code == 404
    with served(kept, TOKEN) as closed:
        for path in ("events", "events/history", "alerts"):
            assert requests.get(f"{closed.url}/{path}", timeout=10).status_code == 401
        with stream(closed, {"Authorization": f"Bearer {TOKEN}"}) as reader:
            assert reader.place() >= 0
