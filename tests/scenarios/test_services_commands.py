"""`converter services` and `converter convert --service` as a person meets them, against the outside world in a box."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from converter.cli import output
from converter.cli.main import main
from converter.domain.errors import AuthenticationFailed
from converter.local.sandbox_config import sandbox_environment, write_sandbox_config
from converter.ports import Deadline
from converter.sandbox.faults import parse_faults
from converter.sandbox.server import Sandbox
from converter.services import REGISTRY
from converter.services.changenow import ChangeNow

from .world import SERVICES, World, command, last_json, running_world

ADDRESS = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"
PAIR = ("--from", "ETH", "--to", "BTC", "--amount", "1.5")
FIELDS = {"service", "gross", "fees", "net", "rate", "firm", "expiresIn", "ms"}


class TrustedChangeNow(ChangeNow):
    """Its keys are good."""

    def check_credentials(self, deadline: Deadline) -> None:
        """Nothing is wrong."""


class RefusedChangeNow(ChangeNow):
    """Its keys are refused."""

    def check_credentials(self, deadline: Deadline) -> None:
        raise AuthenticationFailed("changenow", "credentials", code="401")


class Desk:
    """A person's shell beside a sandbox, with a configuration and keys and nothing running."""

    def __init__(self, sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from os import environ

        for name in [name for name in environ if name.startswith("CONVERTER_")]:
            monkeypatch.delenv(name)
        self.sandbox = sandbox
        self.home = home
        self.config = write_sandbox_config(home, sandbox.url, SERVICES)
        self.environ: dict[str, str | None] = {
            "CONVERTER_HOME": str(home),
            "CONVERTER_CONFIG": str(self.config),
            **sandbox_environment(),
        }

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, words, env=self.environ, catch_exceptions=False)

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def configure(self, service_id: str, **changes: Any) -> None:
        content = json.loads(self.config.read_text())
        for entry in content["services"]:
            if entry["id"] == service_id:
                entry.update(changes)
        self.config.write_text(json.dumps(content))

    def set(self, **section: Any) -> None:
        content = json.loads(self.config.read_text())
        content["multiService"] = section
        self.config.write_text(json.dumps(content))

    def fault(self, service_id: str, kind: str, **more: Any) -> None:
        mount = self.sandbox.mounts[service_id]
        self.sandbox.faults.set(service_id, parse_faults({"kind": kind, **more}, mount.operations))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(services=SERVICES) as running:
        yield running


@pytest.fixture
def desk(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(sandbox, tmp_path, monkeypatch)


# --- services list ---------------------------------------------------------------------------------------------------


def test_every_configured_service_has_one_row(desk: Desk) -> None:
    listed = desk.json("services", "list")
    configured = json.loads(desk.config.read_text())["services"]
    assert sorted(one["id"] for one in listed) == sorted(one["id"] for one in configured)
    assert [one["priority"] for one in listed] == sorted(one["priority"] for one in listed)
    found = {one["id"]: one for one in listed}
    changenow = found["changenow"]
    assert (changenow["title"], changenow["weight"], changenow["enabled"]) == ("ChangeNOW", "0.3", True)
    assert (changenow["state"], changenow["reason"], changenow["missing"]) == ("unknown", "Redis did not answer", [])
    assert {"ETH"} <= set(changenow["takes"])
    assert {"BTC"} <= set(changenow["pays"])
    assert changenow["baseUrl"] == f"{desk.sandbox.url}/changenow"
    assert "BTC on LIGHTNING" in found["btcpay_lightning"]["pays"]
    assert "BTC" not in found["btcpay_lightning"]["takes"]
    assert {found[name]["state"] for name in found if name not in SERVICES} == {"disabled"}


def test_missing_variables_are_named_and_no_key_is_shown(desk: Desk) -> None:
    desk.environ["CONVERTER_KEY_BINANCE_SECRET_KEY"] = None
    found = {one["id"]: one for one in desk.json("services", "list")}
    assert found["binance"]["missing"] == ["CONVERTER_KEY_BINANCE_SECRET_KEY"]
    assert found["binance"]["state"] == "not_asked"
    assert found["binance"]["reason"] == "CONVERTER_KEY_BINANCE_SECRET_KEY missing"
    shown = desk.run("services", "list").output + json.dumps(found)
    for name, key in sandbox_environment().items():
        assert key not in shown, name


def test_the_tables_of_a_terminal_say_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.console, "width", 250)
    desk.environ["CONVERTER_KEY_CHANGENOW_API_KEY"] = None
    listed = desk.run("services", "list")
    assert listed.exit_code == 0
    assert f"{desk.sandbox.url}/binance" in listed.output
    assert "missing: CONVERTER_KEY_CHANGENOW_API_KEY" in listed.output
    assert "BTC on LIGHTNING" in listed.output
    quoted = desk.run("services", "quote", *PAIR)
    assert quoted.exit_code == 0
    assert "1.5 ETH -> BTC" in quoted.output
    assert "not asked: CONVERTER_KEY_CHANGENOW_API_KEY missing" in quoted.output


# --- services check --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_service_in_order_is_well(desk: Desk, service_id: str) -> None:
    told = desk.json("services", "check", service_id)
    assert told["ok"] is True
    health = next(one for one in told["steps"] if one["step"] == "health")
    assert health["ok"] is True
    assert health["ms"] >= 0
    assert desk.run("services", "check", service_id).exit_code == 0


def test_a_missing_key_is_named_and_nothing_is_asked(desk: Desk) -> None:
    desk.environ["CONVERTER_KEY_CHANGENOW_API_KEY"] = None
    told = desk.json("services", "check", "changenow", code=1)
    assert told["ok"] is False
    assert told["steps"] == [
        {"step": "settings", "ok": False, "detail": "CONVERTER_KEY_CHANGENOW_API_KEY missing", "ms": None}
    ]


def test_a_refused_key_is_called_unauthorised(desk: Desk) -> None:
    desk.environ["CONVERTER_KEY_CHANGENOW_API_KEY"] = "of-somebody-else"
    done = desk.run("services", "check", "changenow")
    assert done.exit_code == 1
    assert "unauthorised" in done.output
    assert "of-somebody-else" not in done.output


def test_a_service_that_is_away_is_called_unavailable(desk: Desk) -> None:
    desk.fault("changenow", "down")
    told = desk.json("services", "check", "changenow", code=1)
    health = next(one for one in told["steps"] if one["step"] == "health")
    assert health["ok"] is False
    assert health["detail"].startswith("unavailable")


@pytest.mark.parametrize(
    ("kind", "ok", "detail", "code"),
    [
        (TrustedChangeNow, True, None, 0),
        (RefusedChangeNow, False, "unauthorised: it refuses our key, signature or clock (401)", 1),
    ],
)
def test_keys_are_proven_by_a_signed_read_where_the_service_has_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: type, ok: bool, detail: str | None, code: int
) -> None:
    monkeypatch.setitem(REGISTRY, "changenow", f"{__name__}:{kind.__name__}")
    told = desk.json("services", "check", "changenow", code=code)
    step = next(one for one in told["steps"] if one["step"] == "credentials")
    assert (step["ok"], step["detail"]) == (ok, detail)
    assert step["ms"] is not None


# --- services quote --------------------------------------------------------------------------------------------------


def test_all_enabled_services_are_compared_best_first_and_nothing_is_created(desk: Desk) -> None:
    told = desk.json("services", "quote", *PAIR)
    assert {one["service"] for one in told["quotes"]} == set(SERVICES)
    assert told["refusals"] == []
    nets = [Decimal(one["net"]) for one in told["quotes"]]
    assert nets == sorted(nets, reverse=True)
    for one in told["quotes"]:
        assert set(one) == FIELDS
        fees = sum(Decimal(fee["amount"]) for fee in one["fees"])
        assert isinstance(one["net"], str)
        assert 0 <= Decimal(one["gross"]) - fees - Decimal(one["net"]) < Decimal("0.00000001")
        assert Decimal(one["rate"]) <= Decimal(one["net"]) / Decimal("1.5")
        assert one["expiresIn"] >= 0
    assert {one["service"]: one["firm"] for one in told["quotes"]}["changenow"] is True
    assert desk.sandbox.truth.executions == []
    assert not (desk.home / "ledger.db").exists()


def test_one_service_can_be_asked_alone_on_a_named_network(desk: Desk) -> None:
    told = desk.json("services", "quote", "btcpay_lightning", *PAIR, "--to-network", "lightning")
    assert told["toNetwork"] == "LIGHTNING"
    assert [one["service"] for one in told["quotes"]] == ["btcpay_lightning"]
    refused = desk.json("services", "quote", "changenow", *PAIR, "--to-network", "LIGHTNING", code=1)
    assert refused["quotes"] == []
    assert refused["refusals"] == [{"service": "changenow", "reason": "does not convert this pair", "ms": None}]


def test_who_is_slow_or_away_does_not_hold_the_others_up(desk: Desk) -> None:
    desk.set(requestTimeout=700)
    desk.fault("binance", "hang")
    desk.fault("changenow", "down")
    told = desk.json("services", "quote", *PAIR)
    assert {one["service"] for one in told["quotes"]} == set(SERVICES) - {"binance", "changenow"}
    refusals = {one["service"]: one for one in told["refusals"]}
    assert all(refusals[name]["reason"].startswith("unavailable") for name in ("binance", "changenow"))
    assert 600 <= refusals["binance"]["ms"] < 5000


def test_a_service_that_is_switched_off_can_be_asked_by_name_only(desk: Desk) -> None:
    desk.configure("changenow", enabled=False)
    assert "changenow" not in [one["service"] for one in desk.json("services", "quote", *PAIR)["quotes"]]
    told = desk.json("services", "quote", "changenow", *PAIR)
    assert [one["service"] for one in told["quotes"]] == ["changenow"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("nobody", *PAIR), "service"),
        (("--from", "XYZ", "--to", "BTC", "--amount", "1"), "from_coin"),
        (("--from", "ETH", "--to", "ETH", "--amount", "1"), "to_coin"),
        (("--from", "ETH", "--to", "BTC", "--amount", "1e3"), "amount"),
        ((*PAIR, "--to-network", "NOWHERE"), "to_network"),
    ],
)
def test_a_bad_question_names_the_field(desk: Desk, words: tuple[str, ...], field: str) -> None:
    told = desk.json("services", "quote", *words, code=2)
    assert told["field"] == field
    assert told["accepted"]


def test_the_address_in_the_configuration_is_the_one_that_is_called(desk: Desk) -> None:
    """Two outside worlds: away in the first, and the file is then pointed at the second."""
    desk.fault("changenow", "down")
    with Sandbox(services=("changenow",)) as other:
        assert desk.json("services", "quote", "changenow", *PAIR, code=1)["quotes"] == []
        desk.configure("changenow", baseUrl=f"{other.url}/changenow")
        assert len(desk.json("services", "quote", "changenow", *PAIR)["quotes"]) == 1
        told = desk.json("services", "check", "changenow")
        assert (told["ok"], told["baseUrl"]) == (True, f"{other.url}/changenow")
        listed = {one["id"]: one for one in desk.json("services", "list")}
        assert listed["changenow"]["baseUrl"] == f"{other.url}/changenow"


def test_an_address_that_is_none_is_named(desk: Desk) -> None:
    desk.configure("changenow", baseUrl="ftp://changenow")
    told = desk.json("services", "quote", "changenow", *PAIR, code=2)
    assert told["error"].startswith("services[changenow]")


# --- convert --service -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service_id", "problem"),
    [
        ("nobody", "'nobody' is not configured"),
        ("coingate", "'coingate' is switched off"),
        ("binance", "'binance' has no baseUrl"),
    ],
)
def test_a_service_that_cannot_be_forced_is_refused_and_nothing_is_written(
    desk: Desk, service_id: str, problem: str
) -> None:
    if service_id == "binance":
        desk.configure("binance", baseUrl="")
    words = ["convert", "--service", service_id, *PAIR, "--address", ADDRESS]
    told = desk.json(*words, code=2)
    assert (told["field"], told["problem"]) == ("service", problem)
    accepted = told["accepted"].removeprefix("one of ").split(", ")
    assert set(accepted) == set(SERVICES) - {service_id}
    assert desk.json("conversions", "list") == []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_forced_service_is_the_only_one_that_is_asked_and_used(world: World, service_id: str) -> None:
    address = world.address()
    words = ["convert", "--service", service_id, *PAIR, "--address", address, "--json"]
    done = command(world.stack.home, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    told = last_json(done.stdout)
    assert (told["state"], told["service"]) == ("COMPLETED", service_id)
    shown = last_json(command(world.stack.home, "conversions", "show", told["id"], "--json").stdout)
    assert {one["service"] for one in shown["quotes"]} == {service_id}
    assert [one["amount"] for one in world.deliveries_to(address)] == [told["delivered"]]


def test_beside_a_running_sandbox_the_commands_find_its_addresses_and_keys(world: World) -> None:
    told = last_json(command(world.stack.home, "services", "quote", *PAIR, "--json").stdout)
    assert {one["service"] for one in told["quotes"]} == set(SERVICES)
    checked = command(world.stack.home, "services", "check", "binance", "--json")
    assert (checked.returncode, last_json(checked.stdout)["ok"]) == (0, True)
