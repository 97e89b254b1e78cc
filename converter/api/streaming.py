"""`GET /api/v1/events`, a stream of what happens, and `GET /api/v1/events/history`, what happened.

A stream resumes behind the number of its last event (`Last-Event-ID`, or `after`), and without one begins now. Where
that number is not kept any more, an event `stream:gap` says so. A comment comes at least every ten seconds, so that
whoever hears nothing knows that the line is cut.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.types import Receive, Scope, Send

from converter.api import event_shapes as shapes
from converter.api.hub import Client, Hub, frame_of
from converter.api.problems import Problem
from converter.domain.errors import InvalidRequest
from converter.domain.events import ALL_EVENTS, Only
from converter.facts import event_facts
from converter.following import Extent, Page, extent, read_back, read_on
from converter.ports import ViewedLedger

log = logging.getLogger(__name__)

HEARTBEAT = 10.0
GAP = "stream:gap"

_UNREAD = 30.0
"""Seconds that one write may wait for a client that does not read."""
_PAGE = 300
_AT_ONCE = 2
"""Questions that read the ledger at the same time."""
_HIGHEST = 2**63 - 1

Names = Annotated[list[str], Query(alias="name", description="Only events of these names; may be repeated.")]
Conversion = Annotated[str | None, Query(alias="conversionId", description="Only events of this conversion.")]
Number = Annotated[int | None, Query(ge=0, le=_HIGHEST, description="The number (`id`) of an event.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
T = TypeVar("T")

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `id` is the event's number, `event` its name, `data` the event as JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string", "examples": [shapes.STREAMED]}}},
    }
}


class _Unread(Exception):
    """Raised when a client takes nothing."""


class EventStream(StreamingResponse):
    """Streams until its source ends, or until a client has read nothing for too long."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        super().__init__(source, headers=headers)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, and give up on a client whose line stands still."""

        async def sent(message: Any) -> None:
            with move_on_after(_UNREAD) as waiting:
                await send(message)
            if waiting.cancelled_caught:
                raise _Unread

        try:
            await super().__call__(scope, receive, sent)
        except* _Unread:
            log.info("a stream was not read for %s s and is closed", _UNREAD)
        finally:
            # At once, and not when it is collected: the client's place becomes free.
            await self._source.aclose()


def streaming_routes(ledger: ViewedLedger, hub: Hub) -> APIRouter:
    """The routes of events."""
    router = APIRouter(prefix="/api/v1/events", tags=["events"])
    limiter = CapacityLimiter(_AT_ONCE)

    async def read(question: Callable[[], T]) -> T:
        return await to_thread.run_sync(question, limiter=limiter)

    reader = _Reader(ledger, hub, read)

    @router.get("", status_code=200, operation_id="streamEvents", response_class=EventStream, responses=_STREAM)
    async def events(
        names: Names = [],  # noqa: B006  a list for FastAPI, never changed
        conversion_id: Conversion = None,
        after: Number = None,
        last_event_id: Annotated[str | None, Header(description="As browsers send it when they reconnect.")] = None,
    ) -> EventStream:
        """Stream events as they are committed."""
        only, start = _only(names, conversion_id), _number(last_event_id) if last_event_id else after
        if hub.full or hub.closing:
            raise Problem(503, "Busy", "no further stream fits here now", {"Retry-After": "5"})
        await hub.open()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventStream(reader.frames(only, start), headers)

    @router.get("/history", operation_id="listEvents", response_model=shapes.EventPage)
    async def history(
        names: Names = [],  # noqa: B006
        conversion_id: Conversion = None,
        after: Number = None,
        before: Number = None,
        limit: Limit = 100,
    ) -> JSONResponse:
        """List events, oldest first: those behind `after`, or the newest ones (below `before`).

        Everything up to `last` was looked at: a stream or another page goes on behind it.
        """
        return JSONResponse(await read(partial(_history, ledger, _only(names, conversion_id), (after, before), limit)))

    return router


def _history(ledger: ViewedLedger, only: Only, place: tuple[int | None, int | None], limit: int) -> dict[str, Any]:
    after, before = place
    page = read_back(ledger, before, only, limit) if after is None else read_on(ledger, after, only, limit)
    return {"events": [event_facts(one) for one in page.events], "last": page.last}


class _Reader:
    """Writes the stream of a client: first what it missed, from the ledger, then what the hub hands out."""

    def __init__(self, ledger: ViewedLedger, hub: Hub, read: Callable[[Callable[[], Any]], Any]) -> None:
        self._ledger = ledger
        self._hub = hub
        self._read = read

    async def frames(self, only: Only, after: int | None) -> AsyncGenerator[bytes, None]:
        """Chunks of a stream, until the client is cut or the server ends."""
        yield b"retry: 2000\n: events\n\n"
        client = Client(only)
        try:
            if after is None:
                # Named at once: who is cut before the first event resumes here.
                yield f"id: {self._hub.join(client)}\n\n".encode()
            else:
                async for chunk in self._missed(client, only, after):
                    yield chunk
            async for chunk in self._live(client):
                yield chunk
        except (DBAPIError, PoolTimeout):
            yield b": the ledger did not answer, come again\n\n"
        finally:
            self._hub.leave(client)

    async def _missed(self, client: Client, only: Only, after: int) -> AsyncIterator[bytes]:
        """What is behind `after`. The client joins the hub when little is left, so that nothing falls in between."""
        kept: Extent = await self._read(partial(extent, self._ledger))
        if not kept.pruned <= after <= kept.last:
            start = kept.pruned if after < kept.pruned else kept.last
            facts = json.dumps({"after": after, "continuesAfter": start})
            yield f"id: {start}\nevent: {GAP}\ndata: {facts}\n\n".encode()
            after = start
        while True:
            page = await self._page(only, after)
            after = page.last
            yield _chunk(page)
            if len(page.events) < _PAGE:
                break
        client.position = after
        joined = self._hub.join(client)
        while after < joined:
            page = await self._page(only, after, until=joined)
            after = page.last
            yield _chunk(page)

    async def _page(self, only: Only, after: int, until: int | None = None) -> Page:
        page: Page = await self._read(partial(read_on, self._ledger, after, only, _PAGE, until))
        return page

    async def _live(self, client: Client) -> AsyncIterator[bytes]:
        while not self._hub.closing:
            frames = await client.take(HEARTBEAT)
            if client.cut:
                yield b": too slow, come again\n\n"
                return
            yield frames or b": alive\n\n"
        yield b": the server ends, come again\n\n"


def _chunk(page: Page) -> bytes:
    # The number alone moves the client on past what it did not ask for.
    return b"".join(frame_of(one) for one in page.events) + f"id: {page.last}\n\n".encode()


def _only(names: list[str], conversion_id: str | None) -> Only:
    unknown = sorted(set(names) - ALL_EVENTS)
    if unknown:
        raise InvalidRequest("name", f"no event is called {unknown[0][:60]!r}", ", ".join(sorted(ALL_EVENTS)))
    return Only(frozenset(names), conversion_id)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _HIGHEST):
        raise InvalidRequest("last_event_id", "is no number of an event", "a whole number, as `id` of an event")
    return int(text)
