"""Webhooks and Slack-compatible hooks against real servers."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from converter.carriers import hooks
from converter.carriers.hooks import Hook, SlackCarrier, WebhookCarrier
from converter.delivering import Delivering, Posts
from converter.domain.deliveries import TAKEN, Letter
from converter.domain.errors import ConfigurationError
from converter.domain.events import CONVERSION_ACCEPTED, CONVERSION_COMPLETED, CONVERSION_QUOTED, Event, Only
from converter.ledger.repository import SqlLedger
from converter.security.webhooks import new_secret, signing_key
from converter.transport.public import is_public
from tests.app.conftest import Kept, kept_ledger
from tests.builders import an_id
from tests.carriers.receiver import WebhookReceiver
from tests.services.socket_server import CERTIFICATE, SocketServer, answer, answering, over_tls, silent

SECRET, NEXT = new_secret(bytes(range(32))), new_secret(bytes(range(24)))
LETTER = Letter("evt_pool_1", {"type": "conversion:accepted", "timestamp": "t", "data": {"id": 1, "reason": "größer"}})
ALERT = {"text": "alpha <is> down & out", "severity": "warning", "count": 3}


def carrier(url: str, *secrets: str, allow_private: bool = True, timeout: float = 5.0) -> WebhookCarrier:
    return WebhookCarrier(Hook(url, timeout, allow_private), lambda: secrets or (SECRET,))


# --- Signatures ------------------------------------------------------------------------------------------------------


def test_a_message_is_signed_as_the_public_library_expects() -> None:
    with WebhookReceiver() as receiver:
        assert carrier(receiver.url).carry(LETTER) == TAKEN
    [got] = receiver.received
    assert Webhook(SECRET).verify(got.body, dict(got.headers)) == LETTER.content
    assert got.id == "evt_pool_1"
    assert got.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"1", b"2"), dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEXT).verify(got.body, dict(got.headers))


def test_while_a_secret_is_exchanged_either_one_verifies() -> None:
    with WebhookReceiver() as receiver:
        assert carrier(receiver.url, NEXT, SECRET).carry(LETTER) == TAKEN
    [got] = receiver.received
    for secret in (SECRET, NEXT):
        assert Webhook(secret).verify(got.body, dict(got.headers)) == LETTER.content
    assert len(got.headers["webhook-signature"].split(" ")) == 2


def test_without_a_usable_secret_nothing_is_sent_and_the_secret_is_not_told() -> None:
    with WebhookReceiver() as receiver:
        none = WebhookCarrier(Hook(receiver.url, 5, True), tuple)
        assert none.carry(LETTER).error == "its key `secret` is missing"
        bad = carrier(receiver.url, SECRET, "whsec_c2hvcnQ=").carry(LETTER)
    assert not bad.taken
    assert "c2hvcnQ" not in bad.error
    assert receiver.received == []


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_secret_has_24_to_64_bytes(length: int) -> None:
    with pytest.raises(ConfigurationError, match="accepted: whsec_"):
        signing_key(new_secret(bytes(length)))


@pytest.mark.parametrize("text", ["", "AAAA" * 8, "whsec_" + "ü" * 40, "whsec_" + "A" * 41])
def test_a_secret_has_a_written_form(text: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted: whsec_"):
        signing_key(text)


# --- What an answer means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        ("200 OK", "", {"taken": True}),
        ("204 No Content", "", {"taken": True}),
        (
            "302 Found",
            "Location: http://127.0.0.1:1/\r\n",
            {"error": "it answered 302, a redirect, which is not followed"},
        ),
        ("400 Bad Request", "", {"error": "it answered 400", "alone": True}),
        ("410 Gone", "", {"error": "it answered 410", "alone": True, "gone": True}),
        ("429 Too Many", "Retry-After: 7\r\n", {"error": "it answered 429", "retry_after": timedelta(seconds=7)}),
        ("503 Busy", "Retry-After: soon\r\n", {"error": "it answered 503", "retry_after": None}),
        ("500 Oops", "", {"error": "it answered 500"}),
    ],
)
def test_an_answer_is_understood(status: str, headers: str, expected: dict[str, Any]) -> None:
    with SocketServer(answering(answer(b"{}", status, headers))) as server:
        receipt = carrier(server.url).carry(LETTER)
        assert server.connections == 1
    for name, value in {"taken": False, "gone": False, "alone": False, **expected}.items():
        assert getattr(receipt, name) == value, name


def test_no_redirect_is_followed() -> None:
    with WebhookReceiver() as target:
        redirect = answer(b"", "307 Temporary Redirect", f"Location: {target.url}\r\n")
        with SocketServer(answering(redirect)) as server:
            assert not carrier(server.url).carry(LETTER).taken
    assert target.received == []


def test_a_silent_receiver_and_one_that_drips_are_left_at_the_deadline() -> None:
    def drip(peer: Any) -> None:
        peer.read_request()
        peer.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)

    for script in (silent, drip):
        with SocketServer(script) as server:
            began = time.monotonic()
            receipt = carrier(server.url, timeout=0.4).carry(LETTER)
            assert time.monotonic() - began < 3
        assert receipt.error.endswith("the deadline passed")
        assert not receipt.alone


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with SocketServer(answering(answer(b"x" * (hooks.MAX_ANSWER + 1)))) as server:
        assert "longer than 65536 bytes" in carrier(server.url).carry(LETTER).error


def test_path_and_query_arrive_as_they_are_written() -> None:
    with SocketServer(answering(answer())) as server:
        assert carrier(f"{server.url}/a%20b/c?token=x%2Fy&z=1").carry(LETTER) == TAKEN
    assert server.requests[0].startswith(b"POST /a%20b/c?token=x%2Fy&z=1 HTTP/1.1")


# --- What is not connected to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])
def test_this_machine_is_not_connected_to(host: str) -> None:
    with SocketServer(answering(answer())) as server:
        receipt = carrier(f"http://{host}:{server.port}/", allow_private=False).carry(LETTER)
        assert server.connections == 0
    assert not receipt.taken
    assert "no public address" in receipt.error


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.7", "169.254.169.254"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_into_a_private_network_is_not_connected_to(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SocketServer(answering(answer())) as server:
        looked_up = _answers(monkeypatch, {"hooks.pool.example": addresses}, server.port)
        receipt = carrier(f"http://hooks.pool.example:{server.port}/", allow_private=False).carry(LETTER)
        assert (server.connections, looked_up) == (0, ["hooks.pool.example"])
    assert "no public address" in receipt.error


def test_only_the_checked_address_is_connected_to_whatever_the_name_means_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first look-up says a public address, each later one this machine."""
    with SocketServer(answering(answer())) as server:
        asked: list[str] = []
        connected: list[Any] = []

        def look_up(host: str, *_: object, **__: object) -> list[Any]:
            asked.append(host)
            address = "203.0.114.9" if len(asked) == 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))]

        def connect(address: Any, *_: object) -> socket.socket:
            connected.append(address[4])
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr("converter.transport.connections._connect", connect)
        receipt = carrier(f"http://hooks.pool.example:{server.port}/", allow_private=False).carry(LETTER)
    assert (asked, connected) == (["hooks.pool.example"], [("203.0.114.9", server.port)])
    assert not receipt.taken


def test_over_tls_the_certificate_is_checked_on_the_name_and_the_name_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The certificate is good for the address that is connected to, and that is not enough."""
    named: list[str | None] = []
    wrap = ssl.SSLContext.wrap_socket

    def noting(self: ssl.SSLContext, sock: Any, *given: Any, **more: Any) -> Any:
        if not more.get("server_side"):
            named.append(more.get("server_hostname"))
        return wrap(self, sock, *given, **more)

    with SocketServer(over_tls(answering(answer()))) as server:
        _answers(monkeypatch, {"hooks.pool.example": ["127.0.0.1"]}, server.port)
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", noting)
        receipts = []
        for host in ("hooks.pool.example", "127.0.0.1"):
            one = carrier(f"https://{host}:{server.port}/")
            one._poster._client._verify = str(CERTIFICATE)
            receipts.append(one.carry(LETTER))
        assert len(server.requests) == 1
    assert named == ["hooks.pool.example", "127.0.0.1"]
    assert [one.taken for one in receipts] == [False, True]
    assert "CERTIFICATE_VERIFY_FAILED" in receipts[0].error


CLOSED = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1 100.100.100.200 224.0.0.1 0.0.0.0
    255.255.255.255 192.0.0.192 198.18.0.1 168.63.129.16 ::1 :: fe80::1%eth0 fd00:ec2::254 ff02::1 ::ffff:10.0.0.1
    64:ff9b::a00:1 2002:7f00:1:: 2001:db8::1 ::7f00:1 64:ff9b:1::1 3fff::1"""


@pytest.mark.parametrize("address", CLOSED.split())
def test_an_address_that_is_not_in_the_open_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(address)


def _answers(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]], port: int) -> list[str]:
    """Let names mean these addresses; returns what is looked up from now on."""
    looked_up: list[str] = []
    system = socket.getaddrinfo

    def look_up(host: Any, *given: Any, **more: Any) -> Any:
        looked_up.append(host)
        if host not in names:
            return system(host, *given, **more)
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in names[host]]
        return [
            (family, socket.SOCK_STREAM, 6, "", (one, port)) for family, one in zip(families, names[host], strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return looked_up


# --- Slack -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("alert:raised", "[warning] alpha &lt;is&gt; down &amp; out (3 times)"),
        ("alert:ended", "[over] alpha &lt;is&gt; down &amp; out (3 times)"),
    ],
)
def test_a_slack_hook_gets_one_line_of_text(kind: str, text: str) -> None:
    with SocketServer(answering(answer(b"ok"))) as server:
        assert SlackCarrier(Hook(server.url, 5, True)).carry(Letter("a", {"type": kind, "data": ALERT})) == TAKEN
    body = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert body == {"text": text}


# --- The whole -------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_receiver_that_fails_and_is_down_for_a_minute_gets_every_event_in_order(kept: Kept) -> None:
    """It refuses twice, then nobody listens for a minute of the ledger's clock; events go on all the time, and in the
    middle of it the secret is exchanged."""
    ledger, clock = kept
    secrets = [SECRET]
    with WebhookReceiver() as receiver:
        hook = WebhookCarrier(Hook(receiver.url, 5, True), lambda: tuple(secrets))
        delivering = Delivering(ledger, Posts({"webhook:pool": hook}, {"webhook:pool": Only()}))

        def live(duration: int) -> None:
            for _ in range(0, duration, 5):
                clock.forward(5)
                delivering.plan()
                for name in delivering.waiting():
                    delivering.send(name)

        live(5)
        receiver.refuse = 2
        _tell(ledger, CONVERSION_ACCEPTED)
        live(5)
        receiver.stop()
        secrets[:] = [NEXT, SECRET]
        _tell(ledger, CONVERSION_QUOTED)
        live(60)
        receiver.start()
        _tell(ledger, CONVERSION_COMPLETED)
        live(200)
    assert len(receiver.received) - len(receiver.taken) == 2
    order = defaultdict(list)
    for got in receiver.taken:
        told = Webhook(SECRET).verify(got.body, dict(got.headers))  # the receiver knows only the old one yet
        order[told["data"]["conversionId"]].append(told["type"])
    assert dict(order) == {
        an_id(number): [CONVERSION_ACCEPTED, CONVERSION_QUOTED, CONVERSION_COMPLETED] for number in range(1, 6)
    }
    for got in receiver.taken[-5:]:
        Webhook(NEXT).verify(got.body, dict(got.headers))
    assert len({one.id for one in receiver.taken}) == 15


def _tell(ledger: SqlLedger, name: str) -> None:
    with ledger.begin() as work:
        for number in range(1, 6):
            work.outbox.add(Event(name, {"n": number}, an_id(number)))
