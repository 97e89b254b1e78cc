"""Sockets that know whether a request has left us, and that are cut at a deadline.

`requests` raises the same error for a refused connection and for a connection that was reset after the order
arrived, and its time-outs count from byte to byte, so that a dripping server holds a call for as long as it likes.
Money needs both answers, so this module puts three things below `requests`:

* an `Exchange` per call: it knows whether the first byte of the request was about to be written (a TLS handshake is
  not part of the request) and whether the deadline cut the call;
* connections and pools that report to the exchange of the thread which uses them;
* one watchdog thread per process, which shuts down the socket of every exchange that has reached its deadline.
"""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from types import TracebackType

    from requests import PreparedRequest
    from urllib3.connectionpool import BaseHTTPConnection, ConnectionPool  # type: ignore[attr-defined]

    from converter.ports import Deadline

UNACKNOWLEDGED_MS = 5000
"""What the other side's machine did not acknowledge by then is not delivered any more. Without it the kernel goes on for
minutes, also for a process that was killed, and a request arrives long after its deadline when a cut line heals."""

SOCKET_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
    SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS))

_ABORT = struct.pack("ii", 1, 0)
"""Closing drops what was not delivered yet, at once."""


class CallStoppedError(Exception):
    """Raised when we end a call ourselves; its text is ours and safe to show."""


class Exchange:
    """One request and its answer: what is proven about it, and the handle by which the watchdog can cut it.

    As a context manager it swallows every ordinary error into `error`, because the caller's verdict must be total:
    an error that nobody foresaw is a doubtful outcome, not an escape.
    """

    def __init__(self, deadline: Deadline, *, fresh: bool) -> None:
        self.deadline = deadline
        self.fresh = fresh
        self.handed_over = False  # requests has the request; before that nothing can have left
        self.tracked = False  # our own pool serves it, so `sent` can be trusted
        self.sent = False
        self.cut = False
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._finished = False
        self._handle: socket.socket | None = None

    def __enter__(self) -> Self:
        """Make this the calling thread's exchange."""
        _current.exchange = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Leave the watchdog's care; keep an ordinary error, let an interpreter's exit pass."""
        if error is not None:
            self._give_up()
        self.finish()
        _current.exchange = None
        if not isinstance(error, Exception):
            return False
        self.error = error
        return True

    def start(self) -> None:
        """Come under the watchdog, unless it is too late already."""
        self.check()
        _watchdog.watch(self)

    @property
    def proven_unsent(self) -> bool:
        """True only if it is certain that no byte of the request left us."""
        return not self.handed_over or (self.tracked and not self.sent)

    def adopt(self, sock: socket.socket) -> None:
        """Let the watchdog reach this socket, whatever wraps, detaches or closes it later."""
        with self._lock:
            if self._handle is None and not self._finished:
                # A descriptor of our own: the number cannot be closed and given to somebody else under our feet.
                self._handle = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self.check()

    def check(self) -> None:
        """Stop here if the time is over."""
        if self.cut or self.deadline.expired:
            raise CallStoppedError("the deadline passed")

    def about_to_send(self, sock: socket.socket) -> None:
        """Note that bytes of the request are going to be written now; refuse the first ones after the deadline."""
        if not self.sent:
            self.adopt(sock)
            self.sent = True

    def cut_off(self) -> None:
        """Shut the socket down, so that whoever waits on it wakes up. Called by the watchdog only."""
        with self._lock:
            if self._finished:
                return
            self.cut = True
            if self._handle is not None:
                _abort(self._handle)
                _shut_down(self._handle)

    def _give_up(self) -> None:
        """Nobody waits for the answer any more: what has not arrived must not arrive later."""
        with self._lock:
            if self._handle is not None:
                _abort(self._handle)

    def finish(self) -> bool:
        """Withdraw the socket from the watchdog; tell whether it was left alone until now."""
        with self._lock:
            self._finished = True
            if self._handle is not None:
                self._handle.close()
                self._handle = None
            return not self.cut


class _Current(threading.local):
    exchange: Exchange | None = None


class _Watchdog:
    """One sleeping thread that cuts every exchange at its deadline."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child the thread is gone and its lock may be held by nobody."""
        self._wakeup = threading.Condition()
        self._due: list[tuple[float, int, Exchange]] = []
        self._number = itertools.count()  # exchanges do not compare; equal moments need a tie-break
        self._thread: threading.Thread | None = None

    def watch(self, exchange: Exchange) -> None:
        """Take one exchange into care until it finishes or its deadline comes."""
        entry = (time.monotonic() + exchange.deadline.remaining(), next(self._number), exchange)
        with self._wakeup:
            heapq.heappush(self._due, entry)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="http-deadlines", daemon=True)
                self._thread.start()
            if self._due[0] is entry:
                self._wakeup.notify()

    def _run(self) -> None:
        while True:
            self._next_due().cut_off()

    def _next_due(self) -> Exchange:
        with self._wakeup:
            while True:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wakeup.wait(wait)


_current = _Current()
_watchdog = _Watchdog()
os.register_at_fork(after_in_child=_watchdog.reset)


class TrackedConnection(HTTPConnection):
    """A connection that reports its socket and its first byte to the exchange of the calling thread."""

    def _new_conn(self) -> socket.socket:
        # urllib3's own version gives the full connect time-out to each address of the host and none to the name
        # look-up; here both share one budget, so that a black hole with four addresses cannot outlast the deadline.
        exchange = _exchange()
        ends = time.monotonic() + min(self.timeout or 0.0, exchange.deadline.remaining())
        addresses = _look_up(self._dns_host.strip("[]"), self.port, ends - time.monotonic())
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
        _exchange().about_to_send(self.sock)
        super().send(data)


class TrackedTlsConnection(TrackedConnection, HTTPSConnection):
    """The same with TLS: the handshake happens in `connect`, before anything counts as sent."""


class TrackedPool(HTTPConnectionPool):
    """A pool that opens a new connection for an exchange that must not meet a stale one."""

    ConnectionCls = TrackedConnection

    def _get_conn(self, timeout: float | None = None) -> BaseHTTPConnection:
        return self._new_conn() if _exchange().fresh else super()._get_conn(timeout)

    def _put_conn(self, conn: BaseHTTPConnection | None) -> None:
        # The exchange ends here, not later: once the connection is in the pool it may be another thread's, and a late
        # cut would hit the wrong request.
        exchange = _exchange()
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
        _exchange().tracked = True
        return super().get_connection_with_tls_context(request, verify, proxies, cert)


def _exchange() -> Exchange:
    if _current.exchange is None:
        raise CallStoppedError("a tracked connection was used outside of an exchange")
    return _current.exchange


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


def _abort(sock: socket.socket) -> None:
    """From now on closing it drops what the other side did not acknowledge, instead of sending on behind our back."""
    with suppress(OSError):  # no longer a socket that could send anything
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # no longer connected, so nobody is waiting on it either
