"""What the JSON-RPC interfaces of all chains share."""

from __future__ import annotations

from typing import Any

from converter.sandbox.twin import Request

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, BAD_PARAMS = -32700, -32600, -32601, -32602


class RpcError(Exception):
    """An error object of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def calls_in(request: Request) -> list[dict[str, Any]]:
    """The calls of a request, one or a batch; what is no call, and a body that is no JSON, is left out."""
    try:
        body = request.json()
    except ValueError:
        return []
    return [call for call in (body if isinstance(body, list) else [body]) if isinstance(call, dict)]


def methods_in(request: Request) -> set[str]:
    """Names of the methods that a request calls."""
    return {name for call in calls_in(request) if isinstance(name := call.get("method"), str)}
