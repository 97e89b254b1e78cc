"""The sandbox's postman: callbacks of the services, with their faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from converter.sandbox.callbacks import is_loopback
from converter.sandbox.server import Sandbox

SERVICE = "binance"


class Receiver:
    """A backend that takes callbacks, with a status to answer for each."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.headers.append({name.lower(): text for name, text in self.headers.items()})
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?a=1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(services=[SERVICE]) as running:
        yield running


def wait(condition: Callable[[], Any], seconds: float = 6) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.01)


def arm(sandbox: Sandbox, kind: str) -> None:
    answer = requests.put(f"{sandbox.url}/_sandbox/faults/{SERVICE}", json={"kind": kind}, timeout=5)
    assert answer.status_code == 200, answer.text


def test_a_callback_arrives_with_its_headers_and_bytes(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.callbacks.post(SERVICE, receiver.url, {"X-Signature": "abc", "Content-Type": "text/plain"}, b"\x00hello")
    wait(lambda: receiver.bodies == [b"\x00hello"])
    assert receiver.headers[0]["x-signature"] == "abc"


def test_callbacks_arrive_in_order(sandbox: Sandbox, receiver: Receiver) -> None:
    for number in range(5):
        sandbox.callbacks.post(SERVICE, receiver.url, {}, str(number).encode())
    wait(lambda: len(receiver.bodies) == 5)
    assert receiver.bodies == [b"0", b"1", b"2", b"3", b"4"]


def test_a_callback_that_was_not_received_is_tried_again(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.statuses = [500, 302]
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"again")
    wait(lambda: len(sandbox.callbacks.log) == 3)
    assert receiver.bodies == [b"again"] * 3
    assert [outcome for _, _, outcome in sandbox.callbacks.log] == ["500", "302", "200"]


def test_tries_come_to_an_end(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.statuses = [500] * 9
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"no")
    wait(lambda: len(receiver.bodies) == 4)
    time.sleep(0.1)
    assert len(receiver.bodies) == 4


def test_a_duplicate_callback_is_sent_three_times(sandbox: Sandbox, receiver: Receiver) -> None:
    arm(sandbox, "duplicate_callback")
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"thrice")
    wait(lambda: receiver.bodies == [b"thrice"] * 3)


def test_an_out_of_order_callback_waits_for_the_next_one(sandbox: Sandbox, receiver: Receiver) -> None:
    arm(sandbox, "out_of_order_callback")
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"first")
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"second")
    wait(lambda: len(receiver.bodies) == 2)
    assert receiver.bodies == [b"second", b"first"]


def test_a_callback_that_nothing_follows_goes_in_the_end(sandbox: Sandbox, receiver: Receiver) -> None:
    arm(sandbox, "out_of_order_callback")
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"alone")
    wait(lambda: receiver.bodies == [b"alone"])


def test_faults_of_callbacks_leave_requests_alone_and_the_other_way_round(sandbox: Sandbox, receiver: Receiver) -> None:
    arm(sandbox, "duplicate_callback")
    assert requests.get(f"{sandbox.url}/{SERVICE}/api/v3/ping", timeout=5).status_code == 200
    arm(sandbox, "down")
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"through")
    wait(lambda: receiver.bodies == [b"through"])


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/", True),
        ("http://example.org/", False),
        ("http://10.0.0.1/", False),
        ("https://127.0.0.1/", False),
        ("http://127.0.0.1:99999/", False),
        ("nonsense", False),
    ],
)
def test_callbacks_go_to_this_machine_only(sandbox: Sandbox, url: str, near: bool) -> None:
    assert is_loopback(url) is near
    if not near:
        sandbox.callbacks.post(SERVICE, url, {}, b"")
        assert sandbox.callbacks.log[-1][2] == "dropped: not on this machine"


def test_stopping_leaves_no_thread_and_keeps_what_waits(receiver: Receiver) -> None:
    sandbox = Sandbox(services=[])
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"early")
    sandbox.start()
    wait(lambda: receiver.bodies == [b"early"])
    sandbox.stop()
    assert sandbox.callbacks._thread is None
    sandbox.callbacks.post(SERVICE, receiver.url, {}, b"late")
    assert receiver.bodies == [b"early"]
    with sandbox:
        wait(lambda: receiver.bodies == [b"early", b"late"])
