"""Who may ask. On loopback this machine; elsewhere only who holds the token (the key `token` of `api`).

A page of another origin, a name of somebody's own that points at loopback, a proxy that passes everything on: each
names another host or another origin than this server's, and is told that there is nothing here.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from converter.api.problems import Problem

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Door:
    """A dependency of every route but callbacks, health and static files.

    `hosts`: names under which the server may be asked. `token` None: whoever reaches the server may ask.
    """

    hosts: Collection[str]
    token: str | None = None

    async def __call__(self, request: Request) -> None:
        """Raises Problem: 404 under a foreign name, 403 from a foreign page, 401 without the token."""
        if request.url.hostname not in self.hosts:
            raise Problem(404, "NotFound", "there is nothing under this name")
        origin = request.headers.get("origin")
        if origin is not None and request.method not in _READING and urlsplit(origin).netloc != request.url.netloc:
            raise Problem(403, "ForeignOrigin", "a page of another origin may not do this")
        if self.token is not None and not self._shown(request):
            raise Problem(401, "Unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    def _shown(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), (self.token or "").encode())
