"""What can be read over HTTP: why a conversion went where it went, and the status of the services."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from converter.api import shapes
from converter.api.forms import ConversionId
from converter.api.lanes import Lane
from converter.domain.policy import RoutingPolicy
from converter.explaining import explain
from converter.monitoring import status
from converter.ports import ViewedLedger

_AT_ONCE = 2
"""Questions that read the ledger at the same time: many of them wait here, and not in front of the workers' writes."""


def reading_routes(ledger: ViewedLedger, policy: RoutingPolicy) -> APIRouter:
    """The routes that only read."""
    router = APIRouter(prefix="/api/v1")
    lane = Lane(_AT_ONCE)

    async def read(question: Callable[[], dict[str, Any]]) -> JSONResponse:
        return JSONResponse(await lane.run(question))

    @router.get(
        "/conversions/{conversion_id}/explain",
        operation_id="explainConversion",
        response_model=shapes.Explained,
        tags=["conversions"],
    )
    async def explained(conversion_id: ConversionId) -> JSONResponse:
        """Explain a conversion, round by round."""
        return await read(partial(explain, ledger, conversion_id))

    @router.get("/multi-service/status", operation_id="status", response_model=shapes.Status, tags=["status"])
    async def told() -> JSONResponse:
        """Tell the status of the services and of the whole."""
        return await read(partial(status, ledger, policy))

    return router
