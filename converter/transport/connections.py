"""Sockets that know whether a request has left us, and that are cut at a deadline.

`requests` raises the same error for a refused connection and for a connection that was reset after the order
arrived, and its time-outs count from byte to byte, so that a dripping server holds a call for as long as it likes.
Money needs both answers, so below `requests` are connections and pools that report to the exchange of the thread
which uses them (see `exchange`).
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from converter.transport.exchange import CallStoppedError, current
from converter.transport.public import is_public

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3.connectionpool import BaseHTTPConnection, ConnectionPool  # type: ignore[attr-defined]

UNACKNOWLEDGED_MS = 5000
"""What the other side's machine did not acknowledge by then is not delivered any more. Without it the kernel goes
on for minutes, also for a process that was killed, and when a cut line heals a request arrives long after its time."""

SOCKET_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
    SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS))


class TrackedConnection(HTTPConnection):
    """A connection that reports its socket and its first byte to the exchange of the calling thread."""

    def _new_conn(self) -> socket.socket:
        # urllib3's own version gives the full connect time-out to each address of the host and none to the name
        # look-up; here both share one budget, so that a black hole with four addresses cannot outlast the deadline.
        exchange = current()
        ends = time.monotonic() + min(self.timeout or 0.0, exchange.deadline.remaining())
        addresses = _look_up(self._dns_host.strip("[]"), self.port, ends - time.monotonic())
        if exchange.public_only:
            # What was checked is what is connected to: the name is not looked up again.
            addresses = [one for one in addresses if is_public(one[4][0])]
            if not addresses:
                raise CallStoppedError("the host has no public address")
        failure: OSError | None = None
        for position, address in enumerate(addresses):
            share = (ends - time.monotonic()) / (len(addresses) - position)
            try:
                sock = _connect(address, share, self.socket_options or ())
            except OSError as error:
                failure = error
                continue
            sock.settimeout(self.timeout)
            exchange.adopt(sock)
            return sock
        raise NewConnectionError(self, "no address of the host accepts a connection") from failure

    def send(self, data: Any) -> None:
        """Connect if need be, then note that the request is leaving, then write."""
        if self.sock is None:
            self.connect()
        current().about_to_send(self.sock)
        super().send(data)


class TrackedTlsConnection(TrackedConnection, HTTPSConnection):
    """The same with TLS: the handshake happens in `connect`, before anything counts as sent."""


class TrackedPool(HTTPConnectionPool):
    """A pool that opens a new connection for an exchange that must not meet a stale one."""

    ConnectionCls = TrackedConnection

    def _get_conn(self, timeout: float | None = None) -> BaseHTTPConnection:
        return self._new_conn() if current().fresh else super()._get_conn(timeout)

    def _put_conn(self, conn: BaseHTTPConnection | None) -> None:
        # The exchange ends here, not later: once the connection is in the pool it may be another thread's, and a late
        # cut would hit the wrong request.
        exchange = current()
        if conn is not None and (not exchange.finish() or exchange.fresh):
            conn.close()
            conn = None
        if not exchange.fresh:
            super()._put_conn(conn)


class TrackedTlsPool(TrackedPool, HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = TrackedTlsConnection


class TrackedAdapter(HTTPAdapter):
    """Brings the tracked pools into a `requests.Session`. `send` is left alone: test doubles replace it there."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Build the pool manager with our pools and socket options."""
        super().init_poolmanager(connections, maxsize, block, socket_options=SOCKET_OPTIONS, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": TrackedPool, "https": TrackedTlsPool}

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> ConnectionPool:
        """Note that the exchange is in our hands, so that its `sent` is worth trusting."""
        current().tracked = True
        return super().get_connection_with_tls_context(request, verify, proxies, cert)


def _look_up(host: str, port: int | None, seconds: float) -> list[Any]:
    """Resolve a host in time. The system's resolver knows no deadline, so it gets a thread that may be left behind."""
    answers: queue.SimpleQueue[list[Any] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="http-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        raise CallStoppedError("the name look-up took too long") from None
    if isinstance(answer, (OSError, UnicodeError)):
        raise answer
    return answer


def _connect(address: Any, seconds: float, options: Any) -> socket.socket:
    if seconds <= 0:
        raise TimeoutError
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(seconds)
        sock.connect(place)
    except OSError:
        sock.close()
        raise
    return sock
