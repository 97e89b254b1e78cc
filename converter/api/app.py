"""The HTTP application. What it needs comes in as `Parts`; a further face is one more router included here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Depends, FastAPI

from converter.accepting import Accepting
from converter.api.actions import action_routes
from converter.api.alerts import alert_routes
from converter.api.bodies import JsonBodies
from converter.api.callbacks import Listener, callback_routes
from converter.api.conversions import conversion_routes
from converter.api.dashboard.routes import dashboard_routes
from converter.api.documentation import document
from converter.api.door import Door
from converter.api.hub import Hub
from converter.api.metrics import metrics_routes
from converter.api.operator import operator_routes
from converter.api.problems import speak_problems
from converter.api.quotes import quote_routes
from converter.api.readiness import readiness_routes
from converter.api.reading import reading_routes
from converter.api.seen import Seen
from converter.api.streaming import streaming_routes
from converter.bootstrap import Engine
from converter.domain.policy import RoutingPolicy
from converter.hearing import Hearing
from converter.observability.counting import Counting
from converter.operating import Operating
from converter.ports import ViewedLedger
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
    send: Callable[[str, str], bool]
    """Asks for a task on a conversion, without waiting for the broker."""
    counting: Counting

    @property
    def ledger(self) -> ViewedLedger:
        """The ledger."""
        return self.engine.ledger

    @property
    def policy(self) -> RoutingPolicy:
        """The configured policy."""
        return self.engine.desk.policy


def create_app(parts: Parts, door: Door | None = None) -> FastAPI:
    """The application, ready to be served. Without a door only callbacks and health are there. Its `state.hub` is
    closed by who serves it."""
    app = FastAPI(title="converter", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(JsonBodies)
    app.add_middleware(Seen, counting=parts.counting)
    speak_problems(app)
    app.include_router(readiness_routes(parts.ledger, parts.settings.redis_url))
    app.include_router(callback_routes(parts.hearing, parts.listeners), include_in_schema=False)
    app.state.hub = Hub(parts.ledger)
    if door is not None:
        app.include_router(dashboard_routes(door.hosts))
        for router in _faces(app, parts):
            app.include_router(router, dependencies=[Depends(door)])
    return app


def _faces(app: FastAPI, parts: Parts) -> Iterator[APIRouter]:
    """The routes behind the door."""
    described = APIRouter()
    document(app, described)
    yield described
    yield conversion_routes(parts.ledger, parts.accepting, parts.settings.api.max_queued)
    yield action_routes(parts.ledger, parts.reviewing, parts.send)
    yield quote_routes(parts.surveying)
    yield reading_routes(parts.ledger, parts.policy)
    yield operator_routes(parts.engine, parts.operating, parts.reviewing)
    yield streaming_routes(parts.ledger, app.state.hub)
    yield alert_routes(parts.ledger)
    yield metrics_routes(parts.engine, parts.counting)
