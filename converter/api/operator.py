"""What an operator reads and does over HTTP, below `/api/v1`: services, rates, failovers, what needs review."""

from __future__ import annotations

from fastapi import APIRouter

from converter.api.history import failovers_routes, rates_routes
from converter.api.review import review_routes
from converter.api.services import services_routes
from converter.bootstrap import Engine
from converter.operating import Operating
from converter.overview import Overview
from converter.reviewing import Reviewing


def operator_routes(engine: Engine, operating: Operating, reviewing: Reviewing) -> APIRouter:
    """All of them, on the parts of one process."""
    commons = engine.commons
    overview = Overview(engine.ledger, commons.breakers, commons.desk.rates, engine.desk.policy)
    router = APIRouter(prefix="/api/v1")
    router.include_router(services_routes(overview, operating))
    router.include_router(rates_routes(engine.ledger, overview, operating))
    router.include_router(failovers_routes(engine.ledger))
    router.include_router(review_routes(reviewing.evidence))
    return router
