"""One call and its deadline: what is proven about the request, and how it is cut off.

* an `Exchange` knows whether the first byte of the request was about to be written (a TLS handshake is not part of the
  request) and whether the deadline cut the call;
* one watchdog thread per process shuts down the socket of every exchange that has reached its deadline.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from converter.ports import Deadline

_ABORT = struct.pack("ii", 1, 0)
"""Closing drops what was not delivered yet, at once."""


class CallStoppedError(Exception):
    """Raised when we end a call ourselves; its text is ours and safe to show."""


class Exchange:
    """One request and its answer: what is proven about it, and the handle by which the watchdog can cut it.

    As a context manager it swallows every ordinary error into `error`, because the caller's verdict must be total:
    an error that nobody foresaw is a doubtful outcome, not an escape.
    """

    def __init__(self, deadline: Deadline, *, fresh: bool, public_only: bool = False) -> None:
        self.deadline = deadline
        self.fresh = fresh
        self.public_only = public_only  # it must not reach into a private network
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


def current() -> Exchange:
    """The exchange of the calling thread. CallStoppedError without one."""
    if _current.exchange is None:
        raise CallStoppedError("a tracked connection was used outside of an exchange")
    return _current.exchange


def _abort(sock: socket.socket) -> None:
    """From now on closing it drops what the other side did not acknowledge, instead of sending on behind our back."""
    with suppress(OSError):  # no longer a socket that could send anything
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # no longer connected, so nobody is waiting on it either
