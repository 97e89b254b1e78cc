"""What can be read over HTTP: why a conversion went where it went, and the status of the services."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from converter.domain.policy import RoutingPolicy
from converter.explaining import explain
from converter.monitoring import status
from converter.ports import Ledger

_AT_ONCE = 2
"""Questions that read the ledger at the same time: many of them wait here, and not in front of the workers' writes."""


def reading_routes(ledger: Ledger, policy: RoutingPolicy) -> APIRouter:
    """The routes that only read."""
    router = APIRouter(prefix="/api/v1")
    limiter = CapacityLimiter(_AT_ONCE)

    async def read(question: Callable[[], dict[str, Any]]) -> JSONResponse:
        return JSONResponse(await to_thread.run_sync(question, limiter=limiter))

    @router.get("/conversions/{conversion_id}/explain")
    async def explained(conversion_id: str) -> JSONResponse:
        """Explain a conversion, round by round."""
        return await read(partial(explain, ledger, conversion_id))

    @router.get("/multi-service/status")
    async def told() -> JSONResponse:
        """Tell the status of the services and of the whole."""
        return await read(partial(status, ledger, policy))

    return router
