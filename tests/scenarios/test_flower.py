"""The real Flower on a real system: what an onlooker sees of conversions, and what nobody may see."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from converter.domain.conversions import Conversion, State
from converter.domain.money import plain
from converter.enqueue import TaskSender
from converter.local.stack import Stack, StackOptions
from converter.sandbox.clients import KEYS
from tests.scenarios.world import World, command, last_json, until

CHAIN = {"conversions.start", "rates.query", "rates.select", "conversions.execute", "conversions.settle"}


class Onlooker:
    """Somebody who knows the password of Flower."""

    def __init__(self, url: str, login: tuple[str, str]) -> None:
        self.url = url
        self.login = login

    def read(self, path: str) -> str:
        answer = requests.get(self.url + path, auth=self.login, timeout=10)
        answer.raise_for_status()
        return answer.text

    def tasks(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = requests.get(
            f"{self.url}/api/tasks", {"limit": 1000}, auth=self.login, timeout=10
        ).json()
        return found

    def ended(self, name: str, identity: str) -> dict[str, Any] | None:
        """A task of a conversion that has ended."""
        seen = [one for one in self.tasks().values() if one["name"] == name and identity in str(one["args"])]
        return next((one for one in seen if one["state"] in ("SUCCESS", "FAILURE")), None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    options = StackOptions(sandbox_speed=5.0, services=("changenow", "binance", "btcpay_lightning"), flower_port=0)
    with Stack(tmp_path_factory.mktemp("home"), kept, sandbox=True, options=options) as stack:
        world = World(stack)
        yield world
        world.close()


@pytest.fixture(scope="module")
def onlooker(world: World) -> Onlooker:
    password = (world.stack.home / "flower-password").read_text().strip()
    return Onlooker(str(world.stack.flower_url), ("converter", password))


@pytest.fixture(scope="module")
def converted(world: World, onlooker: Onlooker) -> list[Conversion]:
    """Conversions whose every task Flower has seen, one of them with a refusal and a failover."""
    world.fault("binance", "refuse", operations=["order"], count=1)
    world.convert(3, amount="1.23456")
    ended = world.wait_until_ended()
    assert {one.state for one in ended} == {State.COMPLETED}
    for one in ended:
        until(lambda one=one: all(onlooker.ended(name, one.id) for name in CHAIN), 20, f"Flower saw all of {one.id}")  # type: ignore[misc]
    return ended


def secrets_of(world: World, conversions: list[Conversion]) -> Mapping[str, str]:
    """What must not be seen, by what it is."""
    found = {f"key {name} of {service_id}": key for (service_id, name), key in KEYS.items() if len(key) > 6}
    found["password of Redis"] = str(urlsplit(world.stack.environment["CONVERTER_REDIS_URL"]).password)
    for one in conversions:
        found |= {f"address of {one.id}": one.request.address, f"transaction of {one.id}": str(one.txid)}
        amounts = {"amount": one.request.amount, "promised": one.promised, "delivered": one.delivered}
        found |= {f"{name} of {one.id}": plain(amount) for name, amount in amounts.items() if amount}
    return found


def test_nobody_sees_anything_without_the_password(world: World) -> None:
    url = world.stack.flower_url
    paths = ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/metrics", "/healthcheck")
    assert {path: requests.get(f"{url}{path}", timeout=10).status_code for path in paths} == dict.fromkeys(paths, 401)
    assert requests.get(f"{url}/tasks", auth=("converter", "guessed"), timeout=10).status_code == 401
    assert urlsplit(str(url)).hostname == "127.0.0.1"


def test_the_password_is_for_the_owner_only_and_on_no_command_line(world: World, onlooker: Onlooker) -> None:
    file = world.stack.home / "flower-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(place.read_bytes().decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    assert any("flower" in line for line in lines)
    assert [line for line in lines if onlooker.login[1] in line] == []


def test_a_conversion_is_followed_by_the_names_of_its_tasks(onlooker: Onlooker, converted: list[Conversion]) -> None:
    for conversion in converted:
        names = {one["name"] for one in onlooker.tasks().values() if conversion.id in str(one["args"])}
        assert names == CHAIN
    assert "conversions.sweep" in {one["name"] for one in onlooker.tasks().values()}


def test_no_address_amount_or_key_is_seen(world: World, onlooker: Onlooker, converted: list[Conversion]) -> None:
    workers = requests.get(f"{onlooker.url}/api/workers", {"refresh": "1"}, auth=onlooker.login, timeout=10).json()
    of_conversions = [
        uuid for uuid, one in onlooker.tasks().items() if any(each.id in str(one["args"]) for each in converted)
    ]
    one_of_each = {onlooker.tasks()[uuid]["name"]: uuid for uuid in of_conversions}
    paths = ["/workers", "/tasks", "/broker", "/metrics", "/api/tasks?limit=1000", "/api/queues/length"]
    paths += [f"/worker/{name}" for name in workers] + [f"/task/{uuid}" for uuid in one_of_each.values()]
    paths += [f"/api/task/result/{uuid}" for uuid in of_conversions]
    paths += ["/tasks/datatable?draw=1&start=0&length=1000&order[0][column]=0&columns[0][data]=name"]
    pages = {path: onlooker.read(path) for path in paths}
    assert "conversions.execute" in pages[f"/task/{one_of_each['conversions.execute']}"]
    assert "maintenance" in pages["/broker"]
    seen = [
        (what, path)
        for path, page in pages.items()
        for what, text in secrets_of(world, converted).items()
        if text in page
    ]
    assert seen == []


def test_of_a_task_that_fails_the_kind_of_error_is_seen_but_not_its_text(world: World, onlooker: Onlooker) -> None:
    sender = TaskSender(world.stack.environment["CONVERTER_REDIS_URL"])
    sender.send("conversions.start", "cv_of_nobody")
    sender.close()
    task = until(lambda: onlooker.ended("conversions.start", "cv_of_nobody"), 20, "Flower saw the failure")
    assert task["state"] == "FAILURE"
    page = onlooker.read(f"/task/{task['uuid']}")
    for shown in (task["exception"], task["traceback"], page):
        assert "ConversionNotFound" in shown
        assert "no conversion" not in shown  # the text of this error


def test_who_looks_cannot_send_revoke_or_stop(onlooker: Onlooker, world: World) -> None:
    worker = next(iter(requests.get(f"{onlooker.url}/api/workers?refresh=1", auth=onlooker.login, timeout=10).json()))
    for path in ("task/send-task/conversions.sweep", "task/revoke/some", f"worker/shutdown/{worker}"):
        answer = requests.post(f"{onlooker.url}/api/{path}", json={}, auth=onlooker.login, timeout=10)
        assert answer.status_code == 403, path


def test_a_flower_without_a_broker_or_with_a_broken_name_says_so(tmp_path: Path) -> None:
    told = command(tmp_path, "flower", "--json")
    assert told.returncode == 2
    assert "redisUrl: there is no broker; accepted: " in last_json(told.stdout)["error"]
    environ = {"CONVERTER_REDIS_URL": "redis://127.0.0.1:1/0", "CONVERTER_KEY_FLOWER_USER": "a:b"}
    told = command(tmp_path, "flower", "--json", **environ)
    assert told.returncode == 2
    assert "CONVERTER_KEY_FLOWER_USER: holds a colon" in last_json(told.stdout)["error"]


def test_health_is_told_of_a_worker_by_its_name_of_the_sweep_and_of_an_address(world: World) -> None:
    home, url = world.stack.home, str(world.stack.flower_url)
    well = command(home, "health", "--worker", "worker", "--sweep", "--http", f"{url}/healthcheck", "--json")
    assert (well.returncode, last_json(well.stdout)) == (0, {"http": "ok", "worker": "ok", "sweep": "ok"})
    ill = command(home, "health", "--sweep", "--within", "0", "--http", "http://127.0.0.1:1/", "--json")
    assert ill.returncode == 1
    told = last_json(ill.stdout)
    assert told["http"].startswith("does not answer")
    assert told["sweep"].startswith("the last was")


def test_health_that_asks_nothing_is_a_mistake(tmp_path: Path) -> None:
    assert command(tmp_path, "health").returncode == 2
