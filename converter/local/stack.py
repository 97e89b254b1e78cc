"""The whole system on this machine: Redis, the sandbox if wanted, the ledger, a worker and beat, watched over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis as redis_client
from redis.exceptions import RedisError

from converter.domain.errors import ConfigurationError
from converter.enqueue import PULSE_KEY, QUEUES
from converter.ledger.repository import open_ledger
from converter.local.home import remove_run_file, write_run_file
from converter.local.processes import Child
from converter.local.redis_server import RedisServer, start_redis
from converter.local.sandbox_config import sandbox_environment, write_sandbox_config
from converter.settings import load_settings

READY_SECONDS = 60.0
_STALL_SECONDS = 45.0
"""Without a sweep for so long, while Redis answers, the worker is taken for wedged."""

_WORKER: tuple[str, ...] = ("worker", "-P", "threads", "-Q", ",".join(QUEUES), "--loglevel", "INFO")
# Workers neither sync with each other at the start nor watch each other: each reads the ledger.
_WORKER += ("--without-gossip", "--without-mingle")
_BEAT = ("beat", "--loglevel", "WARNING", "--pidfile=")


@dataclass(frozen=True)
class StackOptions:
    """What seldom differs: the sandbox' port and speed, which services take part, which module runs as `celery`, how
    many workers, settings of `multiService`.

    `api_port` is where HTTP is served: 0 picks a free port, None serves none. With `api_elsewhere` another port will do
    when that one is taken.
    """

    sandbox_port: int = 0
    sandbox_speed: float = 1.0
    services: Collection[str] | None = None
    celery: tuple[str, ...] = ()
    multi_service: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    api_port: int | None = None
    api_elsewhere: bool = False


class Stack:
    """Starts and stops everything in order; a dead worker, beat or HTTP server is started again by `watch`.

    Use it from the main thread: children end with the thread that started them.
    """

    def __init__(
        self, home: Path, environ: Mapping[str, str], *, sandbox: bool = False, options: StackOptions | None = None
    ) -> None:
        self.home = home.absolute()
        self.sandbox_url: str | None = None
        self.api_url: str | None = None
        self.redis: RedisServer | None = None
        self.workers: list[Child] = []
        self._environ = {**environ, "CONVERTER_HOME": str(self.home)}
        self._with_sandbox = sandbox
        self._options = options or StackOptions()
        self._beat: Child | None = None
        self._sandbox: Child | None = None
        self._api: Child | None = None
        self._taken = (time.monotonic(), -1)

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self._environ["CONVERTER_LEDGER_URL"]

    def start(self, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """Start everything and wait until it is ready; returns the addresses. Stops what it started if that fails."""
        self.home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start(tell)
            undo.pop_all()
        facts = self.addresses()
        write_run_file(self.home, {**facts, "pid": os.getpid(), "config": self._environ.get("CONVERTER_CONFIG")})
        return facts

    def _start(self, tell: Callable[[str], None]) -> None:
        tell("Redis")
        self.redis = start_redis(self.home, self._environ)
        self._environ["CONVERTER_REDIS_URL"] = self.redis.url
        if self._with_sandbox:
            tell("sandbox")
            self.sandbox_url = self._start_sandbox()
            self._environ["CONVERTER_CONFIG"] = str(
                write_sandbox_config(self.home, self.sandbox_url, self._options.services, self._options.multi_service)
            )
            self._environ.update(sandbox_environment())
        tell("ledger")
        config = self._environ.get("CONVERTER_CONFIG")
        settings = load_settings(config=Path(config) if config else None, home=self.home)
        self._environ.setdefault("CONVERTER_LEDGER_URL", settings.ledger)
        open_ledger(self.ledger_url, migrate=True).close()
        if self._options.api_port is not None:
            tell("HTTP server")
            self.api_url = self._start_api_on(self._options.api_port)
        tell("worker and beat")
        self.workers = [self._worker(number, settings.engine.concurrency) for number in range(self._options.workers)]
        self._beat = self._celery("beat", *_BEAT, "-s", str(self.home / "beat-schedule"))
        for child in (*self.workers, self._beat):
            child.start()
        self._wait_until_taken()

    def addresses(self) -> dict[str, Any]:
        """`redis`, `ledger`, `sandbox`, `api`, `home`."""
        redis_url = self.redis.url if self.redis is not None else ""
        return {
            "redis": redis_url,
            "ledger": self.ledger_url,
            "sandbox": self.sandbox_url,
            "api": self.api_url,
            "home": str(self.home),
        }

    @property
    def beat(self) -> Child:
        """The process that sends what is due. ConfigurationError before `start`."""
        if self._beat is None:
            raise ConfigurationError("stack: not started")
        return self._beat

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the children, for one more process of the same system."""
        return self._environ

    def watch(self) -> list[str]:
        """Start again what died, and a worker that stopped taking work; returns what was done, for the operator."""
        done = [f"{child.name} died and was started again" for child in self._children() if child.restart_if_dead()]
        if self.redis is not None and self.redis.restart_if_dead():
            done.append("Redis died and was started again")
        if self._stalled():
            for worker in self.workers:
                worker.kill()
                worker.restart_if_dead()
            self._taken = (time.monotonic(), -1)
            done.append("the worker took no work and was started again")
        return done

    def stop(self) -> None:
        """Stop everything, senders first and the broker last."""
        remove_run_file(self.home)
        for child in (self._api, self._beat, *self.workers, self._sandbox):
            if child is not None:
                child.stop()
        if self.redis is not None:
            self.redis.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _children(self) -> list[Child]:
        return [child for child in (*self.workers, self._beat, self._api) if child is not None]

    def _worker(self, number: int, concurrency: int) -> Child:
        name = f"worker-{number + 1}" if number else "worker"
        return self._celery(name, *_WORKER, "-n", f"{name}@%h", "-c", str(concurrency))

    def _celery(self, name: str, *words: str) -> Child:
        argv = [sys.executable, "-m", *(self._options.celery or ("celery", "-A", "workers.app")), *words]
        return Child(name, argv, self._environ, self.home / "logs" / f"{name}.log")

    def _start_sandbox(self) -> str:
        self._sandbox = self._command(
            "sandbox", "--port", str(self._options.sandbox_port), "--speed", str(self._options.sandbox_speed)
        )
        return _first_line(self._sandbox)["sandbox"]

    def _start_api_on(self, wanted: int) -> str:
        elsewhere = self._options.api_elsewhere
        port = wanted if wanted and not (elsewhere and _is_taken(wanted)) else _free_port()
        try:
            return self._start_api(port)
        except ConfigurationError:
            if not elsewhere or port != wanted:
                raise
            return self._start_api(_free_port())  # somebody took it in this moment

    def _start_api(self, port: int) -> str:
        """Serve HTTP on a port that is known here, so that a server that is started again keeps it."""
        self._api = self._command("api", "--port", str(port))
        return _first_line(self._api)["api"]

    def _command(self, name: str, *words: str) -> Child:
        """A command of ours that says in one line of JSON where it listens."""
        argv = [sys.executable, "-m", "converter.cli.main", name, *words, "--json"]
        return Child(name, argv, self._environ, self.home / "logs" / f"{name}.log")

    def _wait_until_taken(self) -> None:
        """Ready means: beat sent a sweep and a worker ran it."""
        end = time.monotonic() + READY_SECONDS
        while self._pulse() is None:
            for child in self._children():
                if not child.is_alive:
                    raise ConfigurationError(f"{child.name} did not start; its log ends:\n{child.log_tail()}")
            if time.monotonic() > end:
                raise ConfigurationError(f"no sweep ran in {READY_SECONDS:.0f} s; logs are in {self.home / 'logs'}")
            time.sleep(0.05)

    def _pulse(self) -> int | None:
        """When the last sweep ran, by the worker's word; None when there is none or Redis does not answer."""
        if self.redis is None:
            return None
        try:
            with redis_client.Redis.from_url(self.redis.url, socket_timeout=1, socket_connect_timeout=1) as client:
                found = client.get(PULSE_KEY)
        except RedisError:
            self._taken = (time.monotonic(), self._taken[1])  # Redis away is no fault of the worker
            return None
        return int(found) if found is not None else None

    def _stalled(self) -> bool:
        pulse = self._pulse()
        if pulse is not None and pulse != self._taken[1]:
            self._taken = (time.monotonic(), pulse)
        return time.monotonic() - self._taken[0] > _STALL_SECONDS


def _first_line(child: Child) -> dict[str, str]:
    """Start it and wait for its line."""
    process = child.start(stdout=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise ConfigurationError(f"{child.name} did not start; its log ends:\n{child.log_tail()}")
    found: dict[str, str] = json.loads(line)
    if "error" in found:
        raise ConfigurationError(f"{child.name} did not start: {found['error']}")
    return found


def _is_taken(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
