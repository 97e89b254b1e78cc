"""Services over HTTP: how each stands, and an operator's word on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import StrictBool

from converter.api import forms
from converter.api import operator_shapes as shapes
from converter.api.answering import Answering
from converter.api.problems import Problem
from converter.api.shapes import shown
from converter.operating import Operating
from converter.overview import Overview
from converter.settings import SERVICES

REDIS_AWAY = 5
"""Seconds after which it is worth saying it again when Redis did not answer."""


class Emergency(forms.Body):
    """Whether the emergency tier may be used whatever the others do."""

    model_config = shown({"on": True})
    on: StrictBool


ServiceId = Annotated[str, Path(json_schema_extra={"enum": list(SERVICES)}, description="An enabled service's id.")]


def services_routes(overview: Overview, operating: Operating) -> APIRouter:
    """The routes of services."""
    router = APIRouter(tags=["services"])
    answering = Answering()

    @router.get("/services", operation_id="services", response_model=shapes.Services)
    async def services() -> Response:
        """Tell how every service stands, by tier and weight."""
        return await answering.shared("services", overview.services)

    @router.get("/overview", operation_id="overview", response_model=shapes.Overview)
    async def told() -> Response:
        """Tell what an operator looks at first: services, conversions by state, what waits, the newest failovers."""
        return await answering.shared("overview", overview.snapshot)

    @router.post("/emergency", operation_id="emergency", response_model=shapes.EmergencyTier)
    async def emergency(given: Emergency) -> Response:
        """Let conversions use the emergency tier whatever the others do, or only by its rule again."""

        def switched() -> dict[str, Any]:
            operating.emergency(on=given.on)
            return {"emergency": given.on}

        return await answering.now(switched)

    router.include_router(_words(overview, operating, answering))
    return router


def _words(overview: Overview, operating: Operating, answering: Answering) -> APIRouter:
    """An operator's word on one service; answered with how it stands then."""
    router = APIRouter()

    def changed(service_id: str, change: Callable[[str], None], *, by_redis: bool = True) -> dict[str, Any]:
        overview.service(service_id)  # an unknown one is told first
        if by_redis:
            require_redis(overview)
        change(service_id)
        return overview.service(service_id)

    @router.post("/services/{service_id}/recover", operation_id="recoverService", response_model=shapes.Service)
    async def recover(service_id: ServiceId) -> Response:
        """Close its breakers and end its quarantine now; an isolated one stays isolated."""
        return await answering.now(lambda: changed(service_id, operating.recover))

    @router.post("/services/{service_id}/isolate", operation_id="isolateService", response_model=shapes.Service)
    async def isolate(service_id: ServiceId) -> Response:
        """Take it out until it is released: nothing new goes there, what is under way is settled."""
        return await answering.now(lambda: changed(service_id, operating.isolate, by_redis=False))

    @router.post("/services/{service_id}/release", operation_id="releaseService", response_model=shapes.Service)
    async def release(service_id: ServiceId) -> Response:
        """End an isolation; its breakers begin closed."""
        return await answering.now(lambda: changed(service_id, operating.release))

    return router


def require_redis(overview: Overview) -> None:
    """Raises Problem when Redis does not answer: what is changed there would be changed for this process alone."""
    if not overview.shared_answers():
        detail = "Redis did not answer; nothing was changed"
        raise Problem(503, "RedisUnavailable", detail, {"Retry-After": str(REDIS_AWAY)})
