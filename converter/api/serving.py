"""The server: uvicorn, told of its own end early enough that streams end with it and not after a time-out."""

from __future__ import annotations

import contextlib
import socket

import uvicorn

from converter.api.hub import Hub

_UNREAD_MS = 60_000
"""After so long the system drops a connection whose other side takes nothing."""


class Server(uvicorn.Server):
    """Serves an application whose `state.hub` has streams."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then whatever else runs."""
        await self._hub.close()
        await super().shutdown(sockets)


def drop_the_unread(listener: socket.socket) -> None:
    """Let no connection of this listener wait for ever for a client that reads nothing."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
