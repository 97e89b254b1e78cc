"""What can be read over HTTP: why a conversion went where it went, and the status of the services.

Nothing here asks who is there, so it is included only where the server listens on loopback. A web page that points a
name of its own at loopback, or a proxy that passes everything on, is told nothing either: it names another host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from converter.domain.errors import ConversionNotFound
from converter.domain.policy import RoutingPolicy
from converter.explaining import explain
from converter.monitoring import status
from converter.ports import Ledger

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_AT_ONCE = 2
"""Questions that read the ledger at the same time: many of them wait here, and not in front of the workers' writes."""


def reading_routes(ledger: Ledger, policy: RoutingPolicy) -> APIRouter:
    """The routes that only read."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(_asked_here)])
    limiter = CapacityLimiter(_AT_ONCE)

    async def read(question: Callable[[], dict[str, Any]]) -> JSONResponse:
        try:
            return JSONResponse(await to_thread.run_sync(question, limiter=limiter))
        except ConversionNotFound as error:
            return JSONResponse({"error": str(error), "type": type(error).__name__}, status_code=404)

    @router.get("/conversions/{conversion_id}/explain")
    async def explained(conversion_id: str) -> JSONResponse:
        """Explain a conversion, round by round."""
        return await read(partial(explain, ledger, conversion_id))

    @router.get("/multi-service/status")
    async def told() -> JSONResponse:
        """Tell the status of the services and of the whole."""
        return await read(partial(status, ledger, policy))

    return router


def _asked_here(request: Request) -> None:
    """Raises HTTPException, the answer to a path that does not exist, when another host than this is named."""
    if request.url.hostname not in LOOPBACK:
        raise HTTPException(404)
