"""A call to the outside world that was given up at its deadline must not be made by the network later on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from converter.ports import Deadline
from converter.transport.http import AnswerLost, HttpClient
from tests.partitions.network import Network, network

pytestmark = pytest.mark.chaos

GIVEN_UP_AFTER = 2.0
CUT_SECONDS = 4.0
WATCHED_SECONDS = 8.0
"""The kernel tries again 6.2 s after the first time, and then 12.6 s."""


class Service(BaseHTTPRequestHandler):
    """Notes every request that arrives, and keeps the connection."""

    protocol_version = "HTTP/1.1"
    arrived: list[str]

    def do_POST(self) -> None:
        self.arrived.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def outside() -> Iterator[tuple[Network, list[str]]]:
    """A service at the far end of a cable, and what arrived there."""
    with network(["region", "outside"], [("region", "outside")]) as net:
        arrived: list[str] = []
        handler = type("Noting", (Service,), {"arrived": arrived})
        with net.places["outside"].inside():
            server = ThreadingHTTPServer(("0.0.0.0", 80), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield net, arrived
        server.shutdown()
        server.server_close()


def test_a_request_that_was_given_up_during_a_cut_does_not_arrive_after_it(
    outside: tuple[Network, list[str]],
) -> None:
    net, arrived = outside
    region, cable = net.places["region"], net.cables["region-outside"]
    with region.inside():
        client = HttpClient(f"http://{region.addresses['outside']}")
        client.send("POST", "/first", deadline=Deadline.after(5), headers={}, body=b"{}")
        cable.cut()
        healing = threading.Timer(CUT_SECONDS, cable.heal)
        healing.start()
        with pytest.raises(AnswerLost):
            client.send("POST", "/given-up", deadline=Deadline.after(GIVEN_UP_AFTER), headers={}, body=b"{}")
        client.close()
    healing.join()
    end = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < end and arrived == ["/first"]:
        time.sleep(0.05)
    assert arrived == ["/first"]
