"""HTTP/1.1 on a bare socket: whoever injects faults must own every byte and the way in which a connection ends."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from converter.sandbox.twin import Response

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024
NO_BODY_PROMISES = 64  # half of an answer without a body must still promise something
HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


class BadRequest(Exception):
    """Bytes that are no HTTP request; the connection is answered with 400 and closed."""


@dataclass(frozen=True)
class Incoming:
    """A request as read from the socket. `target` is the request line's path and query, untouched."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to send another request on this connection."""
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.version == "HTTP/1.0" else wish != "close"


def to_json(value: Any) -> str:
    """Write JSON with exact numbers: a Decimal becomes a plain number, a float is refused."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        raise TypeError(f"a float has no place in an answer: {value!r}")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def encode(response: Response) -> tuple[bytes, bytes]:
    """Head (without Content-Length and the closing empty line) and body of an answer."""
    headers = dict(response.headers)
    if isinstance(response.body, bytes):
        body = response.body
    else:
        body = to_json(response.body).encode()
        headers = JSON | headers
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n", body


class Connection:
    """One accepted connection: reads requests, writes answers, and misbehaves when asked to."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        with suppress(OSError):  # some systems refuse it on a connection that is already gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._stopping = stopping
        self._buffer = bytearray()

    def read(self) -> Incoming | None:
        """The next request; None when the client has left."""
        head = self._read_head()
        if head is None:
            return None
        request_line, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, target, version = request_line.split(" ")
            if not version.startswith("HTTP/1."):
                raise BadRequest(f"no HTTP/1 request: {request_line!r:.80}")
            headers = dict(_header(line) for line in lines)
            if headers.get("expect", "").lower() == "100-continue":
                self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._read_body(headers)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return Incoming(method, target, version, headers, body)

    def send(self, response: Response) -> None:
        """Write an answer at once."""
        head, body = encode(response)
        self._sock.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def send_half(self, response: Response) -> None:
        """Write the head of an answer and half of the body that it promises."""
        head, body = encode(response)
        promised = len(body) or NO_BODY_PROMISES
        self._sock.sendall(head + f"Content-Length: {promised}\r\n\r\n".encode() + body[: len(body) // 2])

    def drip(self, response: Response, pause: float, *, headers: bool) -> None:
        """Write an answer whose body, or whose head, comes one byte at a time."""
        head, body = encode(response)
        head += f"Content-Length: {len(body)}\r\n\r\n".encode()
        quick, slow, rest = (b"", head, body) if headers else (head, body, b"")
        self._sock.sendall(quick)
        for byte in _bytes_of(slow):
            self._sock.sendall(byte)
            if self._stopping.wait(pause):
                return
        self._sock.sendall(rest)

    def hold(self, seconds: float) -> None:
        """Say nothing until the client leaves, the sandbox stops, or the time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stopping.is_set():
            readable, _, _ = select.select([self._sock], [], [], left)
            if readable and not self._sock.recv(1, socket.MSG_PEEK):
                return
            if readable:  # a client that goes on talking is left unread, without spinning
                self._stopping.wait(0.05)

    def reset(self) -> None:
        """End the connection with RST: unsent data is thrown away and the client sees a reset."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def interrupt(self) -> None:
        """Wake whoever waits on this connection; safe from another thread."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection in good order."""
        self._sock.close()

    def _read_head(self) -> bytes | None:
        start = 0
        while (end := self._buffer.find(b"\r\n\r\n", max(0, start - 3))) < 0:
            start = len(self._buffer)
            if start > MAX_HEAD:
                raise BadRequest("the head is too long")
            if not self._receive():
                return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY:
            raise BadRequest("the body is too long")
        return self._take(length)

    def _chunks(self) -> Iterator[bytes]:
        total = 0
        while size := int(self._line().split(b";")[0], 16):
            total += size
            if total > MAX_BODY:
                raise BadRequest("the body is too long")
            yield self._take(size)
            self._line()
        while self._line():  # trailers
            pass

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD or not self._receive():
                raise BadRequest("the request ends too early")
        return self._take(end + 2)[:-2]

    def _take(self, length: int) -> bytes:
        while len(self._buffer) < length:
            if not self._receive():
                raise BadRequest("the request ends too early")
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _receive(self) -> bool:
        data = self._sock.recv(65536)
        self._buffer += data
        return bool(data)


def _header(line: str) -> tuple[str, str]:
    name, colon, text = line.partition(":")
    if not colon:
        raise ValueError(f"no header: {line!r}")
    return name.strip().lower(), text.strip()


def _bytes_of(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))
