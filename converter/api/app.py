"""The HTTP application. What it needs comes in as `Parts`; a further face is one more router included here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from converter.api.callbacks import Listener, callback_routes
from converter.api.reading import reading_routes
from converter.domain.policy import RoutingPolicy
from converter.hearing import Hearing
from converter.ports import Ledger


@dataclass(frozen=True)
class Parts:
    """What the routes work with: the use-cases, who reads the callbacks of each service that sends any, and what is
    read from where."""

    hearing: Hearing
    listeners: Mapping[str, Listener]
    ledger: Ledger
    policy: RoutingPolicy


def create_app(parts: Parts, *, loopback: bool = False) -> FastAPI:
    """The application, ready to be served. `loopback`: nobody but this machine reaches it, and it may be read."""
    app = FastAPI(title="converter", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_health())
    app.include_router(callback_routes(parts.hearing, parts.listeners))
    if loopback:
        app.include_router(reading_routes(parts.ledger, parts.policy))
    return app


def _health() -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that this process answers; the state of the system is `converter status`."""
        return {"status": "ok"}

    return router
