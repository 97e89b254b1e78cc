"""`GET /api/v1/alerts`: what an operator should know."""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from converter.api import event_shapes as shapes
from converter.domain.alerts import Alert
from converter.facts import alert_facts
from converter.ports import ViewedLedger

_AT_ONCE = 2


def alert_routes(ledger: ViewedLedger) -> APIRouter:
    """The routes of alerts."""
    router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
    limiter = CapacityLimiter(_AT_ONCE)

    @router.get("", operation_id="listAlerts", response_model=shapes.Alerts)
    async def listed(active: Annotated[bool, Query(description="Only those that are firing.")] = False) -> JSONResponse:
        """List alerts, firing first, up to 200."""

        def read() -> list[Alert]:
            with ledger.view() as work:
                return work.alerts.page(active=active)

        found = await to_thread.run_sync(read, limiter=limiter)
        return JSONResponse({"alerts": [alert_facts(one) for one in found]})

    return router
