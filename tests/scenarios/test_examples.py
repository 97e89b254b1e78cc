"""The examples, run as their first lines say, against one real system."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from converter.local.stack import Stack, StackOptions
from tests.scenarios.world import SERVICES, World

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PAID = re.compile(r"^([\d.]+) ETH -> ([\d.]+) BTC via (\w+), transaction (\S+)$", re.MULTILINE)
ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
OLD, NEW = "whsec_b2xkIHNlY3JldCBvZiAzMiBieXRlcyB0byBzaWdu", "whsec_bmV3IHNlY3JldCBvZiAzMiBieXRlcyB0byBzaWdu"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    options = StackOptions(sandbox_speed=5.0, services=SERVICES, api_port=0)
    with Stack(tmp_path_factory.mktemp("home"), kept, sandbox=True, options=options) as stack:
        world = World(stack)
        yield world
        world.close()


def program(name: str) -> str:
    """A program of this machine; without it the test is not run, and fails where nothing may be left out."""
    found = shutil.which(name)
    if found is None:
        reason = f"no {name} on this machine"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(world: World, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    places = {
        "CONVERTER_HOME": str(world.stack.home),
        "PYTHONPATH": str(EXAMPLES.parent),
        "CONVERTER_URL": str(world.stack.api_url),
    }
    return subprocess.run(
        words, env={**kept, **places, **environ}, capture_output=True, text=True, timeout=100, check=False
    )


def assert_paid_once(world: World, output: str, example: str) -> None:
    """By the word of the outside world: what was printed is what it delivered, and nothing else went there."""
    paid = PAID.findall(output)
    assert sorted(amount for amount, *_ in paid) == ["0.25", "1.5"]
    ours = [f"payout-{key}" for key in re.findall(r"payout-([\w-]+)", (EXAMPLES / example).read_text())]
    for address in re.findall(r"bc1q\w{30,}", (EXAMPLES / example).read_text()):
        mine = [one for one in world.converting_to(address) if one.request.idempotency_key in ours]
        assert mine
        assert {(one.service_id, one.txid) for one in mine} <= {(service, txid) for _, _, service, txid in paid}
        assert len(world.deliveries_to(address)) == len(world.converting_to(address))


def test_the_payout_job_in_python_pays_once_however_often_it_is_started(world: World) -> None:
    first = run(world, sys.executable, str(EXAMPLES / "pool_backend.py"))
    assert first.returncode == 0, first.stdout + first.stderr
    again = run(world, sys.executable, str(EXAMPLES / "pool_backend.py"))
    assert PAID.findall(again.stdout) == PAID.findall(first.stdout)
    assert_paid_once(world, first.stdout, "pool_backend.py")


def test_the_payout_job_in_node_pays_once_however_often_it_is_started(world: World) -> None:
    node = program("node")
    first = run(world, node, str(EXAMPLES / "pool_backend.mjs"))
    assert first.returncode == 0, first.stdout + first.stderr
    again = run(world, node, str(EXAMPLES / "pool_backend.mjs"))
    assert PAID.findall(again.stdout) == PAID.findall(first.stdout)
    assert_paid_once(world, first.stdout, "pool_backend.mjs")


def test_the_script_with_curl_converts_and_repeats_itself(world: World) -> None:
    program("curl")
    words = ("sh", str(EXAMPLES / "convert.sh"), "ETH", "BTC", "0.5", ADDRESS, "curl-1")
    first = run(world, *words)
    assert first.returncode == 0, first.stdout + first.stderr
    again = run(world, *words)
    assert again.stdout == first.stdout
    ((_, _, _, transaction),) = PAID.findall(first.stdout)
    (conversion,) = world.converting_to(ADDRESS)
    assert conversion.txid == transaction
    assert len(world.deliveries_to(ADDRESS)) == 1


def test_the_script_with_curl_says_what_is_wrong(world: World) -> None:
    program("curl")
    refused = run(world, "sh", str(EXAMPLES / "convert.sh"), "ETH", "BTC", "a lot", ADDRESS, "curl-2")
    assert refused.returncode == 2
    assert "amount" in refused.stderr


class Receiver:
    def __init__(self, process: subprocess.Popen[str], port: str) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/"

    def send(self, secret: str, message_id: str, age: float = 0, bend: str = "") -> int:
        body = json.dumps({"id": 1, "name": "conversion:completed", "conversionId": "cv_1", "payload": {}})
        moment = datetime.fromtimestamp(time.time() - age, UTC)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": f"v1,AAAA {Webhook(secret).sign(message_id, moment, body)}",
        }
        return requests.post(self.url, data=body + bend, headers=headers, timeout=5).status_code

    def printed(self) -> list[str]:
        self.process.terminate()
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()


@contextmanager
def receiving(*secrets: str) -> Iterator[Receiver]:
    process = subprocess.Popen(
        [program("node"), str(EXAMPLES / "webhook.mjs")],
        env={**os.environ, "WEBHOOK_SECRET": " ".join(secrets), "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Receiver(process, process.stdout.readline().rpartition(" ")[2].strip())
    finally:
        process.kill()
        process.wait()


def test_the_receiver_of_webhooks_takes_what_is_signed_and_each_event_once() -> None:
    with receiving(OLD, NEW) as receiver:
        assert [receiver.send(OLD, "evt_1"), receiver.send(OLD, "evt_1"), receiver.send(NEW, "evt_2")] == [204] * 3
        assert receiver.printed() == ["conversion:completed cv_1"] * 2


def test_the_receiver_of_webhooks_refuses_what_is_forged_changed_or_old() -> None:
    with receiving(NEW) as receiver:
        assert receiver.send(OLD, "evt_1") == 401
        assert receiver.send(NEW, "evt_2", bend=" ") == 401
        assert receiver.send(NEW, "evt_3", age=600) == 401
        assert requests.post(receiver.url, data="{}", timeout=5).status_code == 401
        assert receiver.printed() == []
