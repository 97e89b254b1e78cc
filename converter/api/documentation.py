"""The OpenAPI document of all routes, at `/api/v1/openapi.json`: every error is a problem, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from converter.api.problems import MEDIA_TYPE
from converter.api.shapes import Problem, Shape

PLACE = "/api/v1/openapi.json"

_TAGS = {
    "conversions": "Take a conversion in, show one, list them, explain one.",
    "actions": "A person's word on a conversion.",
    "quotes": "Compare without executing.",
    "status": "How the services stand.",
    "services": "How each service stands, and an operator's word on it.",
    "rates": "Offers over time, and an operator's word on a held pair.",
    "failovers": "What changed service, and why.",
    "review": "What waits for a person.",
    "events": "What happens, as a stream, and what happened.",
    "alerts": "What an operator should know.",
    "health": "For whoever watches this process.",
}
_ABOUT = (
    "Converts an amount of one coin into another, delivered to an address, over several outside services. Money is"
    " text, never a number; moments are ISO 8601 in UTC. Every error is a problem by RFC 9457."
)
_METHODS = ("get", "put", "post", "delete", "patch")
_READ = {
    401: "No valid bearer token, where the server has one.",
    404: "There is nothing under this name or id.",
    422: "A field is not as it is accepted.",
    503: "The ledger did not answer, or too much is in hand. Nothing was promised; ask again after `Retry-After`.",
}
_WRITTEN = {
    400: "The request as a whole, or a header, is not as it is accepted.",
    403: "A page of another origin may not do this.",
    408: "The body did not come in time.",
    409: "It does not fit what is there, or is in hand in this moment.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not declared as JSON.",
}


def document(app: FastAPI, router: APIRouter) -> None:
    """Let the application describe itself, on a route of this router."""
    told: dict[str, Any] = {}

    @router.get(PLACE, include_in_schema=False)
    async def openapi() -> JSONResponse:
        if not told:
            told.update(describe(app))
        return JSONResponse(told)


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of what the application has now."""
    tags = [{"name": name, "description": text} for name, text in _TAGS.items()]
    told = get_openapi(title="converter", version="1", description=_ABOUT, routes=app.routes, tags=tags)
    parts = told.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema()
    for shape in _shapes(Shape):  # the framework drops every null, also from examples
        if shape.__name__ in schemas and "examples" in schemas[shape.__name__]:
            schemas[shape.__name__]["examples"] = shape.model_json_schema()["examples"]
    parts["responses"] = {"Problem": _response("Any other status is a problem, too.")}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, item in told["paths"].items():
        for method in _METHODS:
            if method in item and path.startswith("/api/"):
                _complete(item[method], writes=method != "get")
    return told


def _shapes(kind: type[Shape]) -> Iterator[type[Shape]]:
    for one in kind.__subclasses__():
        yield one
        yield from _shapes(one)


def _complete(operation: dict[str, Any], *, writes: bool) -> None:
    """Every answer that the door, the bodies and the error handlers may give to this operation."""
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    for status, text in {**_READ, **(_WRITTEN if writes else {})}.items():
        answers.setdefault(str(status), _response(text))
    answers.setdefault("default", {"$ref": "#/components/responses/Problem"})
    operation.setdefault("security", [{}, {"token": []}])


def _response(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
