"""The HTTP application. What it needs comes in as `Parts`; a further face is one more router included here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Depends, FastAPI

from converter.accepting import Accepting
from converter.api.callbacks import Listener, callback_routes
from converter.api.dashboard.routes import dashboard_routes
from converter.api.door import Door
from converter.api.problems import speak_problems
from converter.api.reading import reading_routes
from converter.bootstrap import Engine
from converter.domain.policy import RoutingPolicy
from converter.hearing import Hearing
from converter.operating import Operating
from converter.ports import Ledger
from converter.reviewing import Reviewing
from converter.settings import Settings
from converter.surveying import Surveying


@dataclass(frozen=True)
class Parts:
    """What the routes work with.

    `engine`: the wired use-cases (its ledger is `ledger`); the others are what a pool backend, an operator and the
    callbacks of services (by who reads them) need. Nothing here executes a conversion: workers do.
    """

    settings: Settings
    engine: Engine
    hearing: Hearing
    listeners: Mapping[str, Listener]
    accepting: Accepting
    surveying: Surveying
    operating: Operating
    reviewing: Reviewing

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.engine.ledger

    @property
    def policy(self) -> RoutingPolicy:
        """The configured policy."""
        return self.engine.desk.policy


def create_app(parts: Parts, door: Door | None = None) -> FastAPI:
    """The application, ready to be served. Without a door only callbacks and health are there."""
    app = FastAPI(title="converter", docs_url=None, redoc_url=None, openapi_url=None)
    speak_problems(app)
    app.include_router(_health())
    app.include_router(callback_routes(parts.hearing, parts.listeners))
    if door is not None:
        app.include_router(dashboard_routes(door.hosts))
        app.include_router(reading_routes(parts.ledger, parts.policy), dependencies=[Depends(door)])
    return app


def _health() -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that this process answers; the state of the system is `converter status`."""
        return {"status": "ok"}

    return router
