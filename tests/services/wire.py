"""The service's side of the wire, twice: played by `responses`, and on a real socket that can misbehave."""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Self

from requests import PreparedRequest
from responses import RequestsMock

from tests.services.recorded import Recorded
from tests.services.socket_server import Peer, SocketServer

BASE = "http://service.test"

Route = tuple[str, str]
"""Method, and pattern of the whole path."""

Misdeed = Callable[[Peer, bytes], None]
"""What happens on a connection instead of an honest answer, which is handed in."""


class Wire:
    """Every route answers with what is queued for it; the last answer repeats. Any other request is a surprise."""

    def __init__(self, mock: RequestsMock, routes: Mapping[str, Route], answers: Mapping[str, Recorded]) -> None:
        self.requests: list[tuple[str, PreparedRequest]] = []
        self.surprises: list[str] = []
        self._answers = {name: deque([answer]) for name, answer in answers.items()}
        for name, (method, pattern) in routes.items():
            url = re.compile(re.escape(BASE) + f"(?:{pattern})" + r"(\?.*)?$")
            mock.add_callback(method, url, callback=partial(self._answer, name))

    def answers(self, route: str, *answers: Recorded) -> None:
        """Queue the answers of a route."""
        self._answers[route] = deque(answers)

    def sent(self, *routes: str) -> list[PreparedRequest]:
        """Requests that came to these routes."""
        return [request for name, request in self.requests if name in routes]

    def _answer(self, name: str, request: PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        self.requests.append((name, request))
        queue = self._answers.get(name)
        if not queue:
            self.surprises.append(f"{name}: {request.method} {request.url}")
            return 599, {}, b""
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        return answer.status, dict(answer.headers), answer.content


class SocketWire:
    """The same routes on a port of 127.0.0.1. A route with a misdeed does that on every request."""

    def __init__(
        self, routes: Mapping[str, Route], answers: Mapping[str, Recorded], misdeeds: Mapping[str, Misdeed]
    ) -> None:
        self.seen: list[str] = []
        self._routes, self._answers, self._misdeeds = routes, answers, misdeeds
        self._server = SocketServer(self._serve)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def stop_listening(self) -> None:
        """Refuse new connections from now on; those that are open go on."""
        listener = self._server._listener
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def saw(self, routes: Iterable[str]) -> list[str]:
        """Requests that arrived at these routes."""
        return [name for name in self.seen if name in routes]

    def _serve(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            name = self._name(request)
            self.seen.append(name)
            honest = self._answers[name].raw
            if name in self._misdeeds:
                self._misdeeds[name](peer, honest)
                return
            peer.send(honest)

    def _name(self, request: bytes) -> str:
        method, target, _ = request.split(b"\r\n", 1)[0].decode().split(" ")
        path = target.partition("?")[0]
        return next(
            name
            for name, (verb, pattern) in self._routes.items()
            if verb == method and re.fullmatch(pattern, path) and name in self._answers
        )


# --- Misdeeds --------------------------------------------------------------------------------------------------------


def silence(peer: Peer, _honest: bytes) -> None:
    """The request is read, and nothing ever comes back."""
    peer.hold()


def drip(peer: Peer, honest: bytes) -> None:
    """The honest answer, so slowly that nobody waits for its end."""
    peer.drip(honest)


def reset(peer: Peer, _honest: bytes) -> None:
    """The request is read, then the connection is reset."""
    peer.reset()


def half_a_body(peer: Peer, honest: bytes) -> None:
    """The head promises more than comes."""
    head, _, body = honest.partition(b"\r\n\r\n")
    peer.send(head + b"\r\n\r\n" + body[: len(body) // 2])


def page_502(peer: Peer, _honest: bytes) -> None:
    """What stands in front of the service speaks for it."""
    page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
    peer.send(head.encode() + page)


def says(body: bytes, status: int = 200) -> Misdeed:
    """A complete answer with another body."""

    def misdeed(peer: Peer, _honest: bytes) -> None:
        peer.send(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return misdeed


def answers(other: Recorded) -> Misdeed:
    """Another recorded answer."""
    return lambda peer, _honest: peer.send(other.raw)
