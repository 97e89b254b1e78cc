"""`/` and `/static/…`: the operator's page.

The files are read once, when the routes are made, so that a path of a request never meets the file system. They hold
no secret and need no token; what the page shows it asks the API for, with the token that the operator gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response

from converter.api.door import Door
from converter.api.problems import Problem

STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_RULES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",  # no text from outside can become markup, whatever the page does
    "trusted-types": "'none'",
}
POLICY = "; ".join(f"{name} {value}" for name, value in _RULES.items())

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    body: bytes
    media_type: str
    etag: str


def dashboard_routes(hosts: Collection[str]) -> APIRouter:
    """The routes of the page, for who asks under one of these names."""
    router = APIRouter(dependencies=[Depends(Door(frozenset(hosts)))], include_in_schema=False)
    assets = read_assets(STATIC)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        """Serve the page."""
        return _answer(request, assets["index.html"])

    @router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        """Serve a file of the page."""
        if name not in assets:
            raise Problem(404, "NotFound", "there is no such file")
        return _answer(request, assets[name])

    return router


def read_assets(folder: Path) -> dict[str, Asset]:
    """The files of the page by their path below `folder`; what a browser has no use for is left out."""
    found = {}
    for path in folder.rglob("*"):
        media_type = _TYPES.get(path.suffix)
        if media_type is not None:
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[path.relative_to(folder).as_posix()] = Asset(body, media_type, etag)
    return found


def _answer(request: Request, asset: Asset) -> Response:
    """The file, or 304 to a browser that has it; it asks every time, so that an update is seen at the next load."""
    headers = {**_HEADERS, "ETag": asset.etag}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if asset.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
