"""What can be read over HTTP, and that nobody can read it from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.testclient import TestClient

from converter.api.app import create_app
from converter.api.wiring import make_door, make_parts
from converter.explaining import explain
from converter.security.keys import EnvironmentKeys
from converter.settings import Service, Settings
from tests.app.conftest import Kept, emptied, kept_ledger
from tests.app.house import APPROVAL, House
from tests.builders import an_id
from tests.scenarios.world import until

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
SETTINGS = Settings(services=(Service(id="coingate", priority=1, weight="1"),))
STATUS = "/api/v1/multi-service/status"


def explained(conversion_id: str) -> str:
    return f"/api/v1/conversions/{conversion_id}/explain"


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('reading') / 'ledger.db'}")


@pytest.fixture
def house(kept: Kept) -> House:
    return emptied(kept)


def client(house: House, *, loopback: bool = True, host: str = "127.0.0.1:8080") -> TestClient:
    parts = make_parts(SETTINGS, EnvironmentKeys({}), house.ledger, lambda task, conversion_id: True)
    door = make_door(SETTINGS, EnvironmentKeys({}), "127.0.0.1" if loopback else "10.0.0.1")
    return TestClient(create_app(parts, door), base_url=f"http://{host}")


def completed(house: House) -> str:
    house.add("coingate", APPROVAL)
    conversion_id = house.receive()
    house.begin(conversion_id)
    house.finish(conversion_id)
    return conversion_id


def test_a_conversion_is_explained_as_the_record_has_it(house: House) -> None:
    conversion_id = completed(house)
    answer = client(house).get(explained(conversion_id))
    assert answer.status_code == 200
    assert answer.json() == explain(house.ledger, conversion_id)
    assert answer.json()["delivered"] == "0.09"


@pytest.mark.parametrize("conversion_id", [an_id(9), "nonsense", "%00", "a" * 4000, "'"])
def test_an_unknown_conversion_is_not_found_and_named(house: House, conversion_id: str) -> None:
    answer = client(house).get(explained(conversion_id))
    assert answer.status_code == 404
    assert answer.json()["error"] == "ConversionNotFound"
    assert answer.json()["detail"].startswith("no conversion ")


def test_the_status_has_the_specified_names(house: House) -> None:
    completed(house)
    answer = client(house).get(STATUS)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    assert {"services", "healthyServices", "totalConversions", "failovers", "loadBalancing"} <= set(found)
    assert set(found["services"]) == {"coingate"}
    assert found["totalConversions"] == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080"])
def test_this_machine_may_ask_by_any_of_its_names(house: House, host: str) -> None:
    assert client(house).get(STATUS, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "[::2]"])
def test_a_page_or_proxy_that_names_another_host_finds_nothing(house: House, host: str) -> None:
    conversion_id = completed(house)
    for path in (STATUS, explained(conversion_id)):
        answer = client(house).get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


def test_where_others_can_reach_the_server_there_is_nothing_to_read(house: House) -> None:
    conversion_id = completed(house)
    for path in (STATUS, explained(conversion_id)):
        assert client(house, loopback=False).get(path).status_code == 404
    assert client(house, loopback=False).get("/healthz").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed_here(house: House, method: str) -> None:
    for path in (STATUS, explained(an_id())):
        assert client(house).request(method, path).status_code == 405


@contextmanager
def serving(home: Path, host: str) -> Iterator[int]:
    """`converter serve` on a free port of this host."""
    words = [sys.executable, "-m", "converter.cli.main", "serve", "--host", host, "--port", "0", "--json"]
    process = subprocess.Popen(
        words, env={**ENVIRON, "CONVERTER_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["api"].rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("localhost", 200), ("0.0.0.0", 404)])
def test_serve_lets_itself_be_read_on_loopback_only(tmp_path: Path, host: str, status: int) -> None:
    with serving(tmp_path, host) as port:
        url = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            try:
                return requests.get(f"{url}/healthz", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        until(is_up, 20, "it answers")
        assert requests.get(url + STATUS, timeout=20).status_code == status
