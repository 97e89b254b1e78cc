"""The HTTP client of the service modules: an answer, or the certainty whether anything left us.

A call ends in one of three ways. `HttpAnswer` is a complete answer of any status. `RequestNotSent` is proof that no
byte of the request left this machine, so nothing can have been executed. `AnswerLost` is everything else: the service
may have acted, and only asking it again tells. There is no retry, no redirect, no cookie and no proxy: one call writes
at most one request. Nothing that an exception shows comes from the path, the query, the headers or a body.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from converter.transport.connections import TrackedAdapter
from converter.transport.exchange import CallStoppedError, Exchange
from converter.transport.json_text import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converter.ports import Deadline

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Exchanges list all their coins and networks in one answer of several megabytes."""
_CHUNK_BYTES = 64 * 1024
# What urllib3 passes on untouched. Anything else it would encode by itself, after the service module signed the text.
_TARGET = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-F]{2})*")


class _CallFailed(Exception):
    def __init__(self, cause_text: str) -> None:
        super().__init__(cause_text)
        self.cause_text = cause_text


class RequestNotSent(_CallFailed):
    """Raised when it is proven that no byte of the request left us."""


class AnswerLost(_CallFailed):
    """Raised when the request may have arrived and no complete answer came back."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer. The headers' names are case-insensitive."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    elapsed: float

    def json(self) -> Any:
        """Read the body as JSON with exact numbers; `ValueError` if it is anything else."""
        try:
            return read_json(self.body)
        except ValueError as error:
            problem = f"the answer with status {self.status} is {error}"
        raise ValueError(problem)  # out here, so that no trace leads to the document


class HttpClient:
    """Calls one service. Made once per service and shared by all threads; a forked child opens its own connections.

    `public_only`: an address that its name has in a private network, or on this machine, is not connected to. An answer
    of more than `max_body` bytes is lost.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float = 2.0,
        pool_size: int = 32,
        max_body: int = MAX_BODY_BYTES,
        public_only: bool = False,
    ) -> None:
        parts = urlsplit(base_url)
        bare = not (parts.query or parts.fragment or "@" in parts.netloc) and _TARGET.fullmatch(parts.path or "/")
        if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
            raise ValueError("a base URL is http(s)://host[:port][/path], without user, query and fragment")
        self._base_url = base_url.rstrip("/")
        self._place = parts.netloc
        self._connect_timeout = connect_timeout
        self._pool_size = pool_size
        self._max_body = max_body
        self._public_only = public_only
        self._verify: bool | str = True
        self._owned: tuple[int, requests.Session] | None = None

    def send(  # noqa: PLR0913 - the parts of an HTTP request are this many
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        params: str = "",
        headers: Mapping[str, str],
        body: bytes | None,
        fresh_connection: bool = False,
    ) -> HttpAnswer:
        """Write one request and read its answer before the deadline, or raise `RequestNotSent` or `AnswerLost`.

        `params` is the encoded query string and is sent byte for byte, since services sign it. `fresh_connection` is
        for whatever may move money: on a connection of its own, no earlier silence of the peer can make the outcome
        doubtful.
        """
        answer: HttpAnswer | None = None
        with Exchange(deadline, fresh=fresh_connection, public_only=self._public_only) as exchange:
            exchange.start()
            url = self._base_url + _checked_target(path, params)
            extra = {"Connection": "close"} if fresh_connection else {}
            request = self._session().prepare_request(
                requests.Request(method, self._base_url, headers={**headers, **extra}, data=body)
            )
            request.url = url  # past requests' re-quoting, which would break a signature
            answer = self._perform(exchange, request)
        if answer is None or exchange.cut:
            kind = RequestNotSent if exchange.proven_unsent else AnswerLost
            # Raised here, outside of any handler, so that no library error with the URL in it hangs on as its context.
            raise kind(f"{method} {self._place}: {_describe(exchange)}")
        return answer

    def close(self) -> None:
        """Close the idle connections of this process."""
        owned, self._owned = self._owned, None
        if owned is not None and owned[0] == os.getpid():
            owned[1].close()

    def _perform(self, exchange: Exchange, request: requests.PreparedRequest) -> HttpAnswer:
        started = time.monotonic()
        remaining = exchange.deadline.remaining()
        timeout = (max(min(self._connect_timeout, remaining), 0.001), max(remaining, 0.001))
        exchange.handed_over = True
        # The adapter and not the session: a session reads the body of a redirect in full before we can limit it.
        adapter = self._session().get_adapter(self._base_url)
        with adapter.send(request, stream=True, timeout=timeout, verify=self._verify, proxies={}) as response:
            body = _read_body(response, self._max_body)
            return HttpAnswer(response.status_code, response.headers, body, time.monotonic() - started)

    def _session(self) -> requests.Session:
        # Sockets that a parent opened are the parent's; two processes reading one connection would mix their answers.
        pid = os.getpid()
        if self._owned is None or self._owned[0] != pid:
            self._owned = (pid, _new_session(self._pool_size))
        return self._owned[1]


def _new_session(pool_size: int) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    # Uncompressed answers have a length that can be checked, and no bomb inside.
    session.headers.update({"User-Agent": "converter", "Accept": "application/json", "Accept-Encoding": "identity"})
    adapter = TrackedAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _checked_target(path: str, params: str) -> str:
    target = f"{path}?{params}" if params else path
    if "?" in path or not _TARGET.fullmatch(target):
        raise CallStoppedError("the path or the query is not encoded")
    return target


def _read_body(response: requests.Response, most: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > most:
            raise CallStoppedError(f"the answer is longer than {most} bytes")
    return bytes(body)


def _describe(exchange: Exchange) -> str:
    """Say what went wrong from classes and system texts alone; the libraries' own messages contain the URL."""
    root: BaseException | None
    root, exchange.error = exchange.error, None  # an error kept would keep its traceback, and with it the request
    if root is None or exchange.cut or exchange.deadline.expired:
        return "the deadline passed"
    while inner := root.__cause__ or (None if root.__suppress_context__ else root.__context__):
        root = inner
    if isinstance(root, CallStoppedError):
        return str(root)
    detail = None
    if isinstance(root, ssl.SSLError):
        detail = root.reason
    elif isinstance(root, OSError) and not isinstance(root, requests.RequestException):
        detail = root.strerror
    return f"{type(root).__name__}: {detail}" if detail else type(root).__name__
