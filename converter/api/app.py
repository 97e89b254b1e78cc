"""The HTTP application. What it needs comes in as `Parts`; a further face is one more router included here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from converter.api.callbacks import Listener, callback_routes
from converter.hearing import Hearing


@dataclass(frozen=True)
class Parts:
    """What the routes work with: the use-cases, and who reads the callbacks of each service that sends any."""

    hearing: Hearing
    listeners: Mapping[str, Listener]


def create_app(parts: Parts) -> FastAPI:
    """The application, ready to be served."""
    app = FastAPI(title="converter", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_health())
    app.include_router(callback_routes(parts.hearing, parts.listeners))
    return app


def _health() -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that this process answers; the state of the system is `converter status`."""
        return {"status": "ok"}

    return router
