"""Bodies of requests: read up to a limit and within a time, and on `/api/` JSON or nothing."""

from __future__ import annotations

import asyncio
from email.message import Message

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Sent

from converter.api.problems import problem
from converter.transport.json_text import read_json

MAX_BODY = 64 * 1024
BODY_WITHIN = 10.0
"""Seconds in which the whole body must have come."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SAID = {
    400: ("InvalidRequest", "the body was cut off"),
    408: ("RequestTimeout", f"the body did not come within {BODY_WITHIN:.0f} s"),
    413: ("ContentTooLarge", f"a body has at most {MAX_BODY} bytes"),
}


async def read_body(request: Request) -> bytes | int:
    """The whole body, or the status for one that is too large, too slow or cut off."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and declared.isascii() and (len(declared) > 9 or int(declared) > MAX_BODY):
        return 413
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                read += chunk
                if len(read) > MAX_BODY:
                    return 413
    except TimeoutError:
        return 408
    except ClientDisconnect:
        return 400
    return bytes(read)


class JsonBodies:
    """In front of the application: what changes something on `/api/` has a body of JSON, or none at all.

    A form of a foreign page cannot send JSON without asking first; so no page but our own changes anything here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] != "http" or scope["method"] in _READING or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await read_body(request)
        refusal = _SAID[body] if isinstance(body, int) else _objection(request, body)
        if refusal is None and isinstance(body, bytes):
            await self._app(scope, _again(body, receive), send)
            return
        status = body if isinstance(body, int) else 415 if refusal and refusal[0] == "UnsupportedMediaType" else 400
        error, detail = refusal or _SAID[400]
        await problem(status, error, detail)(scope, receive, send)


def _objection(request: Request, body: bytes) -> tuple[str, str] | None:
    """What speaks against a body: error and detail. Deep nesting is one: parsers fall over it."""
    if not body:
        return None
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    if "content-type" not in request.headers or kind.get_content_type() != "application/json":
        return "UnsupportedMediaType", "the body is not declared as JSON; accepted: Content-Type: application/json"
    try:
        read_json(body)
    except ValueError as error:
        return "InvalidRequest", f"the body is {error}"
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for whoever parses it; after it whatever the connection says."""
    given = False

    async def replay() -> Sent:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
