"""Around every HTTP request: its id, its span, its line in the log, its place in the metrics. Paths are told nowhere:
one may end with a token; the pattern of the route is."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from converter.observability import logs, tracing
from converter.observability.counting import Counting

log = logging.getLogger(__name__)

HEADER = b"x-request-id"
NOWHERE = "none"
"""The route of a request that met none."""

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNTOLD = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines every few seconds: counted, and not logged while they succeed."""


class Seen:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, counting: Counting) -> None:
        self._app = app
        self._counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(HEADER, b"")
        request_id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        carrier = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        with (
            logs.bound({"requestId": request_id}),
            tracing.span(method, "server", {"http.request.method": method}, carrier) as span,
        ):
            answer = _Answer(send, request_id)
            try:
                await self._app(scope, receive, answer)
            finally:
                self._tell(method, scope, answer, span)

    def _tell(self, method: str, scope: Scope, answer: _Answer, span: Any) -> None:
        route = str(getattr(scope.get("route"), "path", NOWHERE))
        self._counting.answered(method, route, answer.status, answer.seconds)
        span.rename(f"{method} {route}")
        span.note("http.route", route)
        span.note("http.response.status_code", answer.status)
        if answer.status >= 500:
            span.fail(str(answer.status))
        if route not in _UNTOLD or answer.status >= 500:
            facts = {"method": method, "route": route, "status": answer.status, "ms": round(answer.seconds * 1000)}
            log.info("request", extra=facts)


class _Answer:
    """Passes the answer on, notes when its head leaves, and adds the request's id to it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = 500
        """What is told of a request that broke off before its answer began."""
        self._send = send
        self._request_id = request_id
        self._began = time.monotonic()
        self._head: float | None = None

    @property
    def seconds(self) -> float:
        """Until the head of the answer; a stream may last for hours."""
        return (self._head or time.monotonic()) - self._began

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._head = message["status"], time.monotonic()
            message["headers"] = [*message.get("headers", ()), (HEADER, self._request_id.encode())]
        await self._send(message)
