"""Errors as RFC 9457 problem bodies (`application/problem+json`): what is wrong, where, and which form is accepted.

`type` is `about:blank` with our error's name beside it in `error`, so that a client decides by status and `error` and
needs no page behind a URL. What nobody expected stays a 500 without a word of its inside.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic.alias_generators import to_camel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match

from converter.domain.errors import (
    ClaimLost,
    ConversionNotFound,
    ConverterError,
    IllegalTransition,
    InvalidRequest,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LEDGER_AWAY = 5
"""Seconds after which it is worth asking again when the ledger did not answer."""


class Problem(HTTPException):
    """Raised when a request is answered with a problem; `facts` stand in its body beside the usual ones."""

    def __init__(
        self, status: int, error: str, detail: str, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.error = error
        self.facts = facts


class _Told(JSONResponse):
    """What a client sent may come back in a problem, and not all of it is text that could be encoded."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def problem(
    status: int, error: str, detail: str, headers: Mapping[str, str] | None = None, **facts: Any
) -> JSONResponse:
    """A problem body."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "error": error}
    told = {name: fact for name, fact in facts.items() if fact is not None}
    return _Told({**body, "detail": detail, **told}, status, headers, MEDIA_TYPE)


def speak_problems(app: FastAPI) -> None:
    """Let every error of this application be answered with a problem body."""

    @app.exception_handler(StarletteHTTPException)
    async def told(request: Request, error: StarletteHTTPException) -> JSONResponse:
        name, facts = (error.error, error.facts) if isinstance(error, Problem) else (_name(error.status_code), {})
        headers = _allowed(app, request) if error.status_code == 405 else error.headers
        return problem(error.status_code, name, str(error.detail), headers, **facts)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return _malformed(error.errors()[0])

    @app.exception_handler(ConverterError)
    async def refused(_: Request, error: ConverterError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(DBAPIError)
    async def away(request: Request, error: DBAPIError) -> JSONResponse:
        return _ledger_away(request, error)

    @app.exception_handler(PoolTimeout)
    async def crowded(request: Request, error: PoolTimeout) -> JSONResponse:
        return _ledger_away(request, error)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  it is logged as it is raised
        return problem(500, "InternalServerError", "something went wrong here, and was logged")


def _allowed(app: FastAPI, request: Request) -> dict[str, str]:
    """Every method of a path. The framework names those of the first route alone, and a path may have several."""
    asked = {method: {**request.scope, "method": method} for method in _METHODS}
    found = [
        method for method, scope in asked.items() if any(one.matches(scope)[0] is Match.FULL for one in app.routes)
    ]
    return {"Allow": ", ".join(found)}


def _malformed(first: Mapping[str, Any]) -> JSONResponse:
    """What is wrong with a field. With a header, or with the body as a whole, it is the request that is wrong: 400."""
    place, *rest = first["loc"]
    parts = [str(part) for part in (rest if place in ("body", "query", "path", "header") else first["loc"])]
    syntax = place == "header" or (first["type"] in ("json_invalid", "missing") and not parts)
    field = "body" if first["type"] == "json_invalid" else ".".join(parts)[:100] or "body"
    accepted = first.get("ctx", {}).get("accepted") or ("as docs/http.md has it" if place == "header" else None)
    what = "is missing" if first["type"] == "missing" else first["msg"]
    detail = f"{field}: {what}" + (f"; accepted: {accepted}" if accepted else "")
    status = 400 if syntax else 422
    return problem(status, "InvalidRequest", detail, field=field, problem=what, accepted=accepted)


def of_error(error: ConverterError) -> JSONResponse:
    """The problem of an error of ours."""
    name = type(error).__name__
    if isinstance(error, ConversionNotFound):
        return problem(404, name, str(error))
    if isinstance(error, InvalidRequest):
        field = to_camel(error.field)
        return problem(422, name, str(error), field=field, problem=error.problem, accepted=error.accepted)
    if isinstance(error, ClaimLost):
        return problem(409, name, "a worker changed it in this moment", {"Retry-After": "1"})
    if isinstance(error, IllegalTransition):
        return problem(409, name, str(error))
    return problem(502, name, str(error))


def _ledger_away(request: Request, error: Exception) -> JSONResponse:
    """Nothing was promised: what was asked may be asked again, with the same idempotency key."""
    log.warning("%s %s: the ledger did not answer: %s", request.method, request.url.path, type(error).__name__)
    detail = "the ledger did not answer; nothing was promised"
    return problem(503, "LedgerUnavailable", detail, {"Retry-After": str(LEDGER_AWAY)})


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
