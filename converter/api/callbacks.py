"""`POST /callbacks/<service_id>`, and below it with a token as the last part of the path where one is set.

The body is read up to a limit, verified as the raw bytes that it is, and taken as a hint. Whoever is verified gets 200,
whether the order is known or not; some services accept no other status. Neither body nor headers are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response

from converter.api.bodies import MAX_BODY, read_body
from converter.hearing import Hearing
from converter.services.callbacks import CallbackHint, CallbackRefused, CallbackUnreadable

log = logging.getLogger(__name__)

__all__ = ["MAX_BODY", "Listener", "callback_routes"]

_AT_ONCE = 2
"""Hints that work on the ledger at the same time: a flood waits here, and not in front of the workers' writes."""

Listener = Callable[[Mapping[str, str], bytes, str], CallbackHint]
"""Headers by lower-case name, raw body, last part of the path -> hint; raises CallbackRefused, CallbackUnreadable."""


def callback_routes(hearing: Hearing, listeners: Mapping[str, Listener]) -> APIRouter:
    """The routes of callbacks."""
    router = APIRouter(prefix="/callbacks")
    limiter = CapacityLimiter(_AT_ONCE)

    @router.post("/{service_id}")
    @router.post("/{service_id}/{token}")
    async def callback(request: Request, service_id: str, token: str = "") -> Response:
        """Take a callback of a service."""
        listener = listeners.get(service_id)
        if listener is None:
            return Response(status_code=404)
        body = await read_body(request)
        if isinstance(body, int):
            return Response(status_code=body)
        try:
            hint = listener(_headers(request), body, token)
        except CallbackRefused as error:
            log.warning("callback of %s refused: %s", service_id, error)
            return Response(status_code=401)
        except CallbackUnreadable as error:
            log.warning("callback of %s not readable: %s", service_id, error)
            return Response(status_code=400)
        hear = partial(hearing.hear, service_id, order_id=hint.order_id, reference=hint.reference)
        await to_thread.run_sync(hear, limiter=limiter)
        return Response(status_code=200)

    return router


def _headers(request: Request) -> dict[str, str]:
    """Headers by lower-case name; one that came more than once is one text, as HTTP has it."""
    return {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
