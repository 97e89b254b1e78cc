"""`converter serve`, alone and as a process of `converter up`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from converter.local.stack import Stack, StackOptions
from tests.scenarios.world import command, until

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "converter.cli.main", "serve", "--port", "0", "--json"]
    given = {"CONVERTER_HOME": str(tmp_path), "CONVERTER_KEY_COINGATE_CALLBACK_TOKEN": "unguessable"}
    process = subprocess.Popen(words, env={**ENVIRON, **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_callbacks_until_it_is_told_to_end(serving: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    assert serving.stdout is not None
    url = json.loads(serving.stdout.readline())["api"]
    until(lambda: is_up(url), 20, "it answers")
    answers = [
        requests.post(f"{url}/callbacks/{path}", b'{"id":1}', timeout=5).status_code
        for path in ("coingate/unguessable", "coingate/guess", "coingate", "btcpay_lightning", "kraken")
    ]
    assert answers == [200, 401, 401, 401, 404]
    serving.send_signal(sign)
    _, said = serving.communicate(timeout=20)
    assert serving.returncode == 0
    assert b"callback_secret is missing" in said
    assert b"unguessable" not in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command(tmp_path, "serve", "--port", port, "--json")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in json.loads(done.stdout)["error"]


def test_up_serves_too_and_starts_a_dead_server_again_in_its_place(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = Stack(tmp_path, ENVIRON, options=StackOptions(api_port=port, api_elsewhere=True))
        try:
            url = stack.start()["api"]
        except BaseException:
            stack.stop()
            raise
    try:
        assert not url.endswith(f":{port}"), "somebody else has that one"
        assert is_up(url)
        assert stack._api is not None
        stack._api.kill()
        assert not is_up(url)
        assert stack.watch() == ["api died and was started again"]
        until(lambda: is_up(url), 20, "it answers again")
    finally:
        stack.stop()
    assert not is_up(url)
