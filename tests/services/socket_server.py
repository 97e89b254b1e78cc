"""A real server on a real socket that follows a script, connection by connection, and remembers what it saw."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

CERTIFICATE = Path(__file__).with_suffix(".pem")
"""Self-signed for 127.0.0.1, valid for a hundred years; the key inside protects nothing."""


class Peer:
    """One accepted connection, as a script uses it."""

    def __init__(self, sock: socket.socket, server: SocketServer) -> None:
        self._sock = sock
        self._server = server

    def read_request(self) -> bytes | None:
        """Read one whole request and remember it; None when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := self._sock.recv(65536)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while len(body) < int(lengths[0] if lengths else 0):
            body += self._sock.recv(65536)
        request = head + b"\r\n\r\n" + body
        self._server.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._sock.sendall(data)

    def drip(self, data: bytes, every: float = 0.02) -> None:
        """Send one byte at a time until the client has gone or the test is over."""
        for position in range(len(data)):
            self._sock.sendall(data[position : position + 1])
            if self._server.over.wait(every):
                return

    def hold(self) -> None:
        """Say nothing until the client has gone or the test is over."""
        with contextlib.suppress(OSError):
            while self._sock.recv(65536):
                pass

    def wait_for_end(self, seconds: float) -> None:
        """Do nothing, not even read, until the time or the test is over."""
        self._server.over.wait(seconds)

    def wait_for_bytes(self) -> None:
        """Wait until something has arrived, and leave it unread."""
        select.select([self._sock], [], [], 20)

    def reset(self) -> None:
        """Close with a TCP reset instead of an orderly end."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def start_tls(self) -> None:
        """Answer a TLS handshake with the test certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._sock = context.wrap_socket(self._sock, server_side=True)

    def close(self) -> None:
        """Close in an orderly way."""
        self._sock.close()


Script = Callable[[Peer], None]


class SocketServer:
    """Listens on 127.0.0.1; the n-th connection runs the n-th script, and the last script serves all later ones."""

    def __init__(self, *scripts: Script) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = 0
        self.over = threading.Event()
        self.changed = threading.Condition()
        self._scripts = scripts
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def wait_until_closed(self, connections: int) -> None:
        """Wait until so many connections are closed at the server's side."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.closed >= connections, timeout=10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._socks.append(sock)
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
                threading.Thread(target=self._serve, args=(Peer(sock, self), script), daemon=True).start()

    def _serve(self, peer: Peer, script: Script) -> None:
        with contextlib.suppress(OSError):
            script(peer)
        with contextlib.suppress(OSError):
            peer.close()
        with self.changed:
            self.closed += 1
            self.changed.notify_all()


@contextlib.contextmanager
def full_backlog() -> Iterator[int | None]:
    """A port of 127.0.0.1 where connecting hangs: nobody accepts and the queue is full. None where that fails."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(16):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.3)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                yield port
                return
        yield None


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    """A whole answer with its length."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def answering(data: bytes) -> Script:
    """Answer every request of the connection with these bytes."""

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.send(data)

    return script


def answering_once(data: bytes) -> Script:
    """Answer one request with these bytes, then close."""

    def script(peer: Peer) -> None:
        if peer.read_request() is not None:
            peer.send(data)

    return script


def silent(peer: Peer) -> None:
    """Take the request and never answer."""
    peer.read_request()
    peer.hold()


def over_tls(script: Script) -> Script:
    """The same script behind a TLS handshake."""

    def secured(peer: Peer) -> None:
        peer.start_tls()
        script(peer)

    return secured
