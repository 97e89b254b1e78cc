"""A real Redis for tests: one for a module, and ways to damage one of one's own."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from converter.local.redis_server import RedisServer, start_redis

ENVIRON = {"PATH": os.environ.get("PATH", "")}
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with start_redis(tmp_path_factory.mktemp("redis"), ENVIRON) as running:
        yield running


@pytest.fixture(scope="module")
def redis_url(server: RedisServer) -> str:
    return server.url


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(server.url, decode_responses=True) as found:
        found.flushall()
        yield found


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop, freeze and spoil."""
    with start_redis(tmp_path / "redis", ENVIRON) as running:
        yield running


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    """It accepts connections and never answers."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def server_that_says(error: str) -> Iterator[str]:
    """The URL of something that answers every command with this error."""

    class Refusing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    self.rfile.read(size + 2)
                self.wfile.write(f"-{error}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"redis://127.0.0.1:{running.server_address[1]}/0"
        running.shutdown()
