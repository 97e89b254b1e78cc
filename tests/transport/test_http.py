"""The HTTP client against a real server: which failures prove that nothing left us, and when a call ends."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from converter.ports import Deadline
from converter.transport import connections
from converter.transport.http import MAX_BODY_BYTES, AnswerLost, HttpAnswer, HttpClient, RequestNotSent
from tests.services.socket_server import (
    CERTIFICATE,
    Peer,
    Script,
    SocketServer,
    answer,
    answering,
    answering_once,
    full_backlog,
    over_tls,
    silent,
)

SLACK = 1.0
"""How late a cut may be on a busy machine. Without a cut the scripts below go on for 20 seconds and more."""

CLOSE_DELIMITED = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


def get(client: HttpClient, seconds: float = 5.0, path: str = "/", **more: object) -> HttpAnswer:
    arguments = {"deadline": Deadline.after(seconds), "headers": {}, "body": None, **more}
    return client.send("GET", path, **arguments)  # type: ignore[arg-type]


def post(client: HttpClient, seconds: float = 5.0, path: str = "/", **more: object) -> HttpAnswer:
    """An order: on a connection of its own, as everything that may move money."""
    arguments = {"deadline": Deadline.after(seconds), "headers": {}, "body": b"order", "fresh_connection": True, **more}
    return client.send("POST", path, **arguments)  # type: ignore[arg-type]


def trusting(port: int) -> HttpClient:
    client = HttpClient(f"https://127.0.0.1:{port}")
    client._verify = str(CERTIFICATE)
    return client


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def dripping_headers(peer: Peer) -> None:
    peer.read_request()
    peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: and so on\r\n" * 100)


def dripping_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    peer.drip(b" " * 1000)


def dripping_close_delimited(peer: Peer) -> None:
    peer.read_request()
    peer.send(CLOSE_DELIMITED + b'{"status": "ok"}')
    peer.drip(b" " * 1000)


def half_a_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":')


def half_a_chunk(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc")


def reset_before_reading(peer: Peer) -> None:
    peer.wait_for_bytes()
    peer.reset()


def reset_after_reading(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def not_http(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")


def too_long(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_BODY_BYTES // 65536 + 2):
        peer.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
    peer.send(b"0\r\n\r\n")


# --- Nothing left us -------------------------------------------------------------------------------------------------


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    with pytest.raises(RequestNotSent, match="ConnectionRefusedError"):
        post(HttpClient(f"http://127.0.0.1:{unused_port()}"))


def test_a_connect_timeout_proves_that_nothing_was_sent() -> None:
    with full_backlog() as port:
        if port is None:
            pytest.skip("this system accepts connections beyond the backlog")
        started = time.monotonic()
        with pytest.raises(RequestNotSent, match="TimeoutError"):
            post(HttpClient(f"http://127.0.0.1:{port}", connect_timeout=0.2))
        assert 0.2 <= time.monotonic() - started < 0.2 + SLACK


def test_connecting_takes_no_longer_than_the_deadline() -> None:
    with full_backlog() as port:
        if port is None:
            pytest.skip("this system accepts connections beyond the backlog")
        started = time.monotonic()
        with pytest.raises(RequestNotSent, match="the deadline passed"):
            post(HttpClient(f"http://127.0.0.1:{port}", connect_timeout=30), seconds=0.2)
        assert time.monotonic() - started < 0.2 + SLACK


def test_all_addresses_of_a_host_share_one_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_backlog() as port:
        if port is None:
            pytest.skip("this system accepts connections beyond the backlog")
        black_hole = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [black_hole] * 8)
        started = time.monotonic()
        with pytest.raises(RequestNotSent):
            post(HttpClient("http://service.test", connect_timeout=0.4))
        assert time.monotonic() - started < 0.4 + SLACK


def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with SocketServer(answering(answer())) as server:
        places = [("127.0.0.1", unused_port()), ("127.0.0.1", server.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert post(HttpClient("http://service.test")).status == 200
        assert len(server.requests) == 1


def test_an_unknown_host_name_proves_that_nothing_was_sent() -> None:
    with pytest.raises(RequestNotSent):
        post(HttpClient("http://service.invalid"))


def test_a_hanging_name_lookup_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    started = time.monotonic()
    with pytest.raises(RequestNotSent):
        post(HttpClient("http://service.test"), seconds=0.2)
    assert time.monotonic() - started < 0.2 + SLACK
    over.set()


def test_tls_with_a_plain_server_proves_that_nothing_was_sent() -> None:
    with SocketServer(lambda peer: peer.send(answer())) as server:
        with pytest.raises(RequestNotSent, match="SSLError"):
            post(trusting(server.port))
        assert server.connections == 1
        assert server.requests == []


def test_an_untrusted_certificate_proves_that_nothing_was_sent() -> None:
    with SocketServer(over_tls(answering(answer()))) as server:
        with pytest.raises(RequestNotSent, match="CERTIFICATE_VERIFY_FAILED"):
            post(HttpClient(f"https://127.0.0.1:{server.port}"))
        assert server.requests == []


def test_a_hanging_tls_handshake_is_cut_at_the_deadline_and_proves_that_nothing_was_sent() -> None:
    with SocketServer(lambda peer: peer.drip(b"\x16\x03\x03\x40\x00" + bytes(1000))) as server:
        started = time.monotonic()
        with pytest.raises(RequestNotSent, match="the deadline passed"):
            post(trusting(server.port), seconds=0.3)
        assert time.monotonic() - started < 0.3 + SLACK
        assert server.requests == []


def test_a_tls_handshake_has_only_what_the_lookup_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_lookup(*_: object, **__: object) -> list[object]:
        threading.Event().wait(1.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    with SocketServer(Peer.hold) as server:
        started = time.monotonic()
        with pytest.raises(RequestNotSent, match="the deadline passed"):
            post(HttpClient("https://service.test"), seconds=1.2)
        assert time.monotonic() - started < 1.9
        assert server.connections == 1


def test_a_deadline_that_passes_while_connecting_stops_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_late(*arguments: Any) -> socket.socket:
        sock = connect(*arguments)
        threading.Event().wait(0.3)
        return sock

    connect = connections._connect
    monkeypatch.setattr(connections, "_connect", connect_late)
    with SocketServer(answering(answer())) as server:
        with pytest.raises(RequestNotSent, match="the deadline passed"):
            post(HttpClient(server.url), seconds=0.2)
        server.wait_until_closed(1)
        assert server.requests == []


@pytest.mark.parametrize("fresh", [True, False])
def test_a_deadline_in_the_past_sends_nothing(fresh: bool) -> None:
    with SocketServer(answering(answer())) as server:
        client = HttpClient(server.url)
        get(client)
        with pytest.raises(RequestNotSent, match="the deadline passed"):
            get(client, seconds=-0.001, fresh_connection=fresh)
        assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "params"),
    [("no-slash", ""), ("/a b", ""), ("/a?b", "c=d"), ("/a", "b=\r\nX: y"), ("/a#b", ""), ("/ä", ""), ("/%zz", "")],
)
def test_an_unencoded_target_sends_nothing(path: str, params: str) -> None:
    with SocketServer(answering(answer())) as server:
        with pytest.raises(RequestNotSent, match="not encoded"):
            get(HttpClient(server.url), path=path, params=params)
        assert server.connections == 0


@pytest.mark.parametrize("headers", [{"X-Key": "a\r\nX-Other: b"}, {"X-Key": "€"}])
def test_a_header_that_cannot_be_sent_sends_nothing(headers: dict[str, str]) -> None:
    with SocketServer(answering(answer())) as server:
        with pytest.raises(RequestNotSent):
            get(HttpClient(server.url), headers=headers)
        assert server.requests == []


# --- Something may have arrived --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        (reset_before_reading, 0),
        (reset_after_reading, 1),
        (half_a_body, 1),
        (half_a_chunk, 1),
        (not_http, 1),
        (too_long, 1),
        (answering_once(b""), 1),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_what_breaks_after_the_first_byte_leaves_the_outcome_open(script: Script, seen: int, secure: bool) -> None:
    with SocketServer(over_tls(script) if secure else script) as server:
        client = trusting(server.port) if secure else HttpClient(server.url)
        with pytest.raises(AnswerLost):
            post(client, seconds=20)
        assert (server.connections, len(server.requests)) == (1, seen)


@pytest.mark.parametrize("script", [silent, dripping_headers, dripping_body, dripping_close_delimited])
@pytest.mark.parametrize("secure", [False, True])
def test_a_slow_answer_is_cut_at_the_deadline(script: Script, secure: bool) -> None:
    with SocketServer(over_tls(script) if secure else script) as server:
        client = trusting(server.port) if secure else HttpClient(server.url)
        started = time.monotonic()
        with pytest.raises(AnswerLost, match="the deadline passed"):
            post(client, seconds=0.5)
        assert 0.49 <= time.monotonic() - started < 0.5 + SLACK
        assert (server.connections, len(server.requests)) == (1, 1)


def test_a_body_that_looks_complete_after_the_cut_is_no_answer() -> None:
    """Ended by our own cut, a close-delimited body is valid JSON here, and still proves nothing."""

    def complete_but_open(peer: Peer) -> None:
        peer.read_request()
        peer.send(CLOSE_DELIMITED + b'{"status": "ok"}')
        peer.hold()

    with SocketServer(complete_but_open) as server:
        with pytest.raises(AnswerLost, match="the deadline passed"):
            post(HttpClient(server.url), seconds=0.3)
        assert len(server.requests) == 1


def test_a_peer_that_stops_reading_is_cut_at_the_deadline() -> None:
    with SocketServer(lambda peer: peer.wait_for_end(20)) as server:
        started = time.monotonic()
        with pytest.raises(AnswerLost):
            post(HttpClient(server.url), seconds=0.5, body=bytes(50_000_000))
        assert time.monotonic() - started < 0.5 + SLACK


def test_a_first_write_that_fails_halfway_leaves_the_outcome_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(sock: socket.socket, data: bytes) -> None:
        sock.send(data[: len(data) // 2])
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    with SocketServer(silent) as server:
        monkeypatch.setattr(socket.socket, "sendall", write_half)
        with pytest.raises(AnswerLost, match="No route to host"):
            post(HttpClient(server.url))
        server.wait_until_closed(1)


def test_an_error_that_nobody_foresaw_is_a_lost_answer_once_the_request_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AttributeError("a library changed")

    monkeypatch.setattr("urllib3.response.HTTPResponse.stream", explode)
    with SocketServer(answering(answer())) as server:
        with pytest.raises(AnswerLost, match="AttributeError"):
            post(HttpClient(server.url))
        assert len(server.requests) == 1


def test_a_mocked_connection_error_is_no_proof_that_nothing_was_sent() -> None:
    with responses.RequestsMock() as mock:
        mock.get("https://service.test/", body=requests.ConnectionError("mocked"))
        with pytest.raises(AnswerLost):
            get(HttpClient("https://service.test"))


def test_an_interrupt_passes_through_and_leaves_the_client_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with SocketServer(answering(answer())) as server:
        client = HttpClient(server.url)
        with monkeypatch.context() as patch:
            patch.setattr("urllib3.response.HTTPResponse.stream", interrupt)
            with pytest.raises(KeyboardInterrupt):
                post(client)
        assert post(client).status == 200


# --- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "429 Too Many", "500 Oops", "503 Away"])
def test_a_complete_answer_of_any_status_is_returned(status: str) -> None:
    with SocketServer(answering(answer(b'{"code": 7}', status, "Retry-After: 3\r\n"))) as server:
        got = post(HttpClient(server.url))
        assert (got.status, got.json(), got.headers["retry-AFTER"]) == (int(status[:3]), {"code": 7}, "3")
        assert 0 < got.elapsed < 5
        assert len(server.requests) == 1


def test_a_redirect_is_returned_and_not_followed() -> None:
    with SocketServer(answering(answer(b"", "302 Found", "Location: /elsewhere\r\n"))) as server:
        got = post(HttpClient(server.url))
        assert (got.status, got.headers["location"]) == (302, "/elsewhere")
        assert len(server.requests) == 1


def test_a_close_delimited_answer_in_time_is_an_answer() -> None:
    with SocketServer(answering_once(CLOSE_DELIMITED + b"[1]")) as server:
        assert post(HttpClient(server.url)).json() == [1]


def test_tls_carries_the_same_answer() -> None:
    with SocketServer(over_tls(answering(answer(b"[1]")))) as server:
        client = trusting(server.port)
        assert [get(client).json(), get(client).json(), post(client).json()] == [[1], [1], [1]]
        assert (server.connections, len(server.requests)) == (2, 3)


def test_the_request_arrives_byte_for_byte() -> None:
    with SocketServer(answering(answer())) as server:
        params = "symbol=BTC%2FUSDT&note=%7Eb~c+d&list=a,b;c&signature=%3D%3D"
        headers = {"X-Key": "k", "Accept": "text/plain"}
        client = HttpClient(f"{server.url}/base/")
        client.send("POST", "/v1/%7Border", deadline=Deadline.after(5), params=params, headers=headers, body=b"a=1&b=2")
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == f"POST /base/v1/%7Border?{params} HTTP/1.1".encode()
        assert body == b"a=1&b=2"
        lines = head.split(b"\r\n")[1:]
        assert sorted(line.split(b":")[0] for line in lines) == sorted(
            [b"Host", b"User-Agent", b"Accept", b"Accept-Encoding", b"Content-Length", b"X-Key"]
        )
        assert b"Accept: text/plain" in lines


def test_cookies_are_neither_kept_nor_sent() -> None:
    with SocketServer(answering(answer(headers="Set-Cookie: session=1; Path=/\r\n"))) as server:
        client = HttpClient(server.url)
        get(client)
        get(client)
        assert b"cookie" not in server.requests[1].lower()


def test_proxies_and_logins_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{unused_port()}")
    with SocketServer(answering(answer())) as server:
        assert get(HttpClient(server.url)).status == 200
        assert b"Authorization" not in server.requests[0]


def test_numbers_in_json_are_exact() -> None:
    text = b'{"rate": 0.12345678901234567890123, "big": 123456789012345678901234567890, "tiny": 1e-8}'
    got = HttpAnswer(200, {}, text, 0.1).json()
    assert got == {
        "rate": Decimal("0.12345678901234567890123"),
        "big": 123456789012345678901234567890,
        "tiny": Decimal("1E-8"),
    }
    assert isinstance(got["big"], int)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>secret</html>",
        b'{"secret": 1',
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"[1e99999999999999999999]",
        b"1" * 5000,
    ],
)
def test_rubbish_in_place_of_json_is_a_value_error_without_the_body(body: bytes) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # as in a worker; other tests' tools raise it beyond what the C stack bears
    try:
        with pytest.raises(ValueError, match="not valid JSON") as caught:
            HttpAnswer(200, {}, body, 0.1).json()
    finally:
        sys.setrecursionlimit(limit)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_a_mocked_answer_is_returned() -> None:
    with responses.RequestsMock() as mock:
        mock.post("https://service.test/v1/orders?a=1", json={"id": "x"}, status=201)
        got = post(HttpClient("https://service.test/v1"), path="/orders", params="a=1")
        assert (got.status, got.json()) == (201, {"id": "x"})


@pytest.mark.parametrize(
    "url", ["ftp://a.test", "service.test", "http://", "http://u:p@a.test", "http://a.test/?b", "http://a.test/ä"]
)
def test_a_base_url_that_is_not_bare_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        HttpClient(url)


# --- Connections -----------------------------------------------------------------------------------------------------


def test_reads_share_a_connection_and_orders_have_one_each() -> None:
    with SocketServer(answering(answer())) as server:
        client = HttpClient(server.url)
        for _ in range(3):
            get(client)
        assert server.connections == 1
        for expected in (2, 3):
            post(client)
            server.wait_until_closed(expected - 1)
            assert server.connections == expected
        get(client)
        assert server.connections == 3
        assert b"\r\nConnection: close\r\n" in server.requests[3]
        assert len(server.requests) == 6


def test_a_pooled_connection_that_the_server_closed_in_between_is_replaced() -> None:
    with SocketServer(answering_once(answer()), answering(answer())) as server:
        client = HttpClient(server.url)
        get(client)
        server.wait_until_closed(1)
        assert get(client).status == 200
        assert (server.connections, len(server.requests)) == (2, 2)


def test_a_pooled_connection_that_dies_under_the_request_is_not_tried_again() -> None:
    def one_answer_then_reset(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        peer.read_request()
        peer.reset()

    with SocketServer(one_answer_then_reset, answering(answer())) as server:
        client = HttpClient(server.url)
        get(client)
        with pytest.raises(AnswerLost):
            get(client)
        assert (server.connections, len(server.requests)) == (1, 2)
        assert get(client).status == 200


def test_a_connection_that_was_cut_is_not_used_again() -> None:
    with SocketServer(dripping_body, answering(answer(b"[2]"))) as server:
        client = HttpClient(server.url)
        with pytest.raises(AnswerLost):
            get(client, seconds=0.2)
        assert get(client).json() == [2]
        assert server.connections == 2


def test_the_deadline_of_a_finished_call_does_not_touch_the_next_one() -> None:
    def second_answer_is_late(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b"[1]"))
        peer.read_request()
        peer.wait_for_end(0.6)
        peer.send(answer(b"[2]"))

    with SocketServer(second_answer_is_late) as server:
        client = HttpClient(server.url)
        assert get(client, seconds=0.3).json() == [1]
        assert get(client, seconds=10).json() == [2]
        assert server.connections == 1


def test_a_connection_is_out_of_the_watchdogs_reach_before_others_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def close_late(response: requests.Response) -> None:
        threading.Event().wait(0.4)  # by now the connection is in the pool and the deadline over
        close(response)

    close = requests.Response.close
    monkeypatch.setattr(requests.Response, "close", close_late)
    with SocketServer(answering(answer())) as server:
        client = HttpClient(server.url)
        assert get(client, seconds=0.3).status == 200
        assert get(client).status == 200
        assert server.connections == 1


def test_sixteen_threads_each_keep_their_own_deadline() -> None:
    with SocketServer(dripping_body) as server:
        client = HttpClient(server.url)

        def measure(seconds: float) -> float:
            started = time.monotonic()
            with pytest.raises(AnswerLost):
                get(client, seconds=seconds)
            return time.monotonic() - started

        limits = [0.2 + 0.1 * number for number in range(16)]
        with ThreadPoolExecutor(16) as threads:
            taken = list(threads.map(measure, limits))
        late = [spent - limit for spent, limit in zip(taken, limits, strict=True)]
        assert all(-0.01 <= delay < SLACK for delay in late), late
        assert len(server.requests) == 16


def test_many_threads_get_their_own_answers() -> None:
    def echo(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            peer.send(answer(b'"' + request.split()[1] + b'"'))

    with SocketServer(echo) as server, ThreadPoolExecutor(16) as threads:
        client = HttpClient(server.url, pool_size=4)
        paths = [f"/{number}" for number in range(400)]
        assert list(threads.map(lambda path: get(client, path=path, seconds=30).json(), paths)) == paths
        assert len(server.requests) == 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_its_own_connections_and_keeps_deadlines() -> None:
    def echo_or_drip(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            if b"/slow" in request:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                peer.drip(b" " * 1000)
            peer.send(answer())

    with SocketServer(echo_or_drip) as server:
        client = HttpClient(server.url)
        get(client)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert get(client).status == 200
                started = time.monotonic()
                with pytest.raises(AnswerLost):
                    get(client, seconds=0.3, path="/slow")
                code = 0 if time.monotonic() - started < 0.3 + SLACK else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.connections == 2
        get(client)
        assert len(server.requests) == 4
        assert server.connections == 2


# --- Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [None, reset_after_reading, half_a_body, silent, too_long, not_http])
def test_failures_show_neither_path_nor_query_nor_headers_nor_body(script: Script | None) -> None:
    with SocketServer(script or silent) as server:
        url = server.url if script else f"http://127.0.0.1:{unused_port()}"
        with pytest.raises((RequestNotSent, AnswerLost)) as caught:
            post(
                HttpClient(url),
                seconds=0.5,
                path="/secret-path",
                params="key=secret-query",
                headers={"X-Key": "secret-header"},
                body=b"secret-body",
            )
        failure = caught.value
        shown = "".join(traceback.format_exception(failure, chain=True)[-1:]) + str(failure) + repr(failure)
        assert "secret" not in shown
        assert failure.cause_text.startswith("POST 127.0.0.1:")
        assert (failure.__context__, failure.__cause__) == (None, None)
        assert str(pickle.loads(pickle.dumps(failure))) == failure.cause_text


def test_an_answer_shows_neither_headers_nor_body() -> None:
    assert "secret" not in repr(HttpAnswer(200, {"X": "secret"}, b"secret", 0.1))
