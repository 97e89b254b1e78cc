"""A way to PostgreSQL on which one COMMIT gets lost: itself, or the server's answer to it.

It understands just enough of the wire: after the start-up, every message is a kind of one byte and a length. Threads
and sockets end with the context.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from enum import StrEnum

from sqlalchemy.engine import make_url


class Lost(StrEnum):
    """What does not arrive: the request (the server rolls back), or the answer (it has committed)."""

    COMMIT = "commit"
    ANSWER = "answer"


class CommitProxy:
    """Counts the COMMITs that pass, over all connections; loses the one that `lose` names."""

    def __init__(self, server: str) -> None:
        self._upstream = make_url(server)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._number, self._what = 0, Lost.COMMIT
        self.commits = 0
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The same database by this way, in clear."""
        port = self._listener.getsockname()[1]
        clear = {"sslmode": "disable", "gssencmode": "disable"}
        return self._upstream.set(host="127.0.0.1", port=port, query=clear).render_as_string(hide_password=False)

    def lose(self, number: int, what: Lost) -> None:
        """Lose the number-th COMMIT from now on, once; 0 loses none."""
        with self._lock:
            self.commits = self.lost = 0
            self._number, self._what = number, what

    def close(self) -> None:
        """Cut everything."""
        self._listener.close()
        for one in list(self._open):
            _cut(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # many short messages each way
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), closing(self._connect()) as server, suppress(OSError):
            both = {client, server}
            self._open |= both
            muted = threading.Event()
            answers = threading.Thread(target=self._answers, args=(server, client, muted), daemon=True)
            server.sendall(_message(client, kinds=0))
            answers.start()
            while message := _message(client):
                what = self._fate(message)
                if what is Lost.ANSWER:
                    muted.set()
                if what is not Lost.COMMIT:
                    server.sendall(message)
                if what is Lost.ANSWER:
                    answers.join(10)  # until the server has said that it is done
                if what is not None:
                    break
            _cut(server)
            _cut(client)
            self._open -= both

    def _fate(self, message: bytes) -> Lost | None:
        if not (message[:1] == b"Q" and b"COMMIT" in message):
            return None
        with self._lock:
            self.commits += 1
            if self.commits != self._number:
                return None
            self.lost += 1
            return self._what

    def _answers(self, server: socket.socket, client: socket.socket, muted: threading.Event) -> None:
        with suppress(OSError):
            while message := _message(server):
                if not muted.is_set():
                    client.sendall(message)
                elif message[:1] == b"Z":  # ready again: what it was asked for is done
                    return
            _cut(client)

    def _connect(self) -> socket.socket:
        folder, port = self._upstream.query.get("host"), self._upstream.port or 5432
        if folder is None:
            server = socket.create_connection((self._upstream.host or "127.0.0.1", port))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return server
        there = socket.socket(socket.AF_UNIX)
        there.connect(f"{folder}/.s.PGSQL.{port}")
        return there


@contextmanager
def commit_proxy(server: str) -> Iterator[CommitProxy]:
    proxy = CommitProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()


def _message(sock: socket.socket, kinds: int = 1) -> bytes:
    """The next message, empty at the end. The first one of a client has no kind."""
    head = _exactly(sock, kinds + 4)
    return head + _exactly(sock, int.from_bytes(head[kinds:], "big") - 4) if head else b""


def _exactly(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = sock.recv(size - len(found))
        if not more:
            return b""
        found += more
    return found


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
