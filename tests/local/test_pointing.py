"""Where a system of containers converts, and that it does not change sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from converter.domain.errors import ConfigurationError
from converter.local.pointing import OUTSIDE, SANDBOX, point
from converter.sandbox.clients import KEYS
from converter.sandbox.server import Sandbox
from converter.security.keys import EnvironmentKeys
from converter.settings import load_settings
from tests.scenarios.world import command

NOWHERE = "http://sandbox.invalid:8099"


class Operator:
    """The folders of an operator."""

    def __init__(self, folder: Path) -> None:
        self.into, self.config, self.keys = folder / "settings", folder / "config.json", folder / "keys"
        self.keys.mkdir()
        self.config.write_text('{"multiService": {"maxParallelRequests": 4}}')
        (self.keys / "kraken_api_key").write_text("real\n")

    def point(self, url: str) -> str:
        return point(self.into, self.config, self.keys, url)

    def key(self, service_id: str, name: str) -> str | None:
        return EnvironmentKeys({"CONVERTER_KEYS": str(self.into / "keys")}).get(service_id, name)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("127.0.0.1", 0, 7, 1.0) as box:
        yield box


def test_without_a_sandbox_the_operators_settings_and_keys_are_read_where_they_are(operator: Operator) -> None:
    assert operator.point(NOWHERE) == OUTSIDE
    assert load_settings(config=operator.into / "config.json").multi_service.max_parallel_requests == 4
    assert operator.key("kraken", "api_key") == "real"
    (operator.keys / "kraken_api_key").write_text("rotated\n")
    assert operator.key("kraken", "api_key") == "rotated"
    assert [path for path in operator.into.rglob("*") if path.is_file() and not path.is_symlink()] == [
        operator.into / "converts"
    ]


def test_beside_a_sandbox_every_service_is_asked_there_with_its_keys(operator: Operator, sandbox: Sandbox) -> None:
    assert operator.point(sandbox.url) == SANDBOX
    settings = load_settings(config=operator.into / "config.json")
    assert {one.base_url.startswith(sandbox.url) for one in settings.enabled_services} == {True}
    assert {operator.key(service, name) == key for (service, name), key in KEYS.items()} == {True}
    assert operator.point(sandbox.url) == SANDBOX  # and once more


def test_a_system_that_converted_outside_is_never_pointed_at_a_sandbox(operator: Operator, sandbox: Sandbox) -> None:
    operator.point(NOWHERE)
    with pytest.raises(ConfigurationError, match="this system converts outside, and now it would in the sandbox; acc"):
        operator.point(sandbox.url)
    assert operator.key("kraken", "api_key") == "real"


def test_a_system_that_converted_in_a_sandbox_is_never_pointed_outside(operator: Operator, sandbox: Sandbox) -> None:
    operator.point(sandbox.url)
    with pytest.raises(ConfigurationError, match="this system converts in the sandbox, and now it would outside; acc"):
        operator.point(NOWHERE)
    assert json.loads((operator.into / "config.json").read_text())["services"][0]["baseUrl"].startswith(sandbox.url)


def test_a_sandbox_that_is_known_and_does_not_answer_is_no_outside(operator: Operator) -> None:
    with pytest.raises(requests.ConnectionError):
        operator.point("http://127.0.0.1:1")
    assert not (operator.into / "config.json").exists()
    assert operator.point(NOWHERE) == OUTSIDE  # nothing was decided


def test_what_is_missing_is_named(operator: Operator, tmp_path: Path) -> None:
    operator.config.unlink()
    with pytest.raises(ConfigurationError, match=r"^config, keys: .*config.json .* is not there; accepted: "):
        operator.point(NOWHERE)
    with pytest.raises(ConfigurationError, match=r"^sandbox: 'sandbox' is no address; accepted: such as http"):
        operator.point("sandbox")


def test_the_command_says_where_the_system_converts(operator: Operator, tmp_path: Path) -> None:
    words = ["point", "--into", str(operator.into), "--config", str(operator.config), "--keys", str(operator.keys)]
    told = command(tmp_path, *words, "--sandbox", NOWHERE, "--json")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"converts": "outside"})
    told = command(tmp_path, *words, "--sandbox", "http://127.0.0.1:1", "--json")
    assert told.returncode == 2
