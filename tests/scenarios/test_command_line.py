"""The `converter` command and the façade as a user meets them, on a running system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter import IdempotencyConflict, InvalidRequest
from converter.domain.conversions import State

from .world import World, command, last_json, running_world, until

ADDRESS = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("cli")) as running:
        yield running


BAD = {
    "unknown coin": ({"from_coin": "XYZ"}, "from_coin"),
    "wrong checksum": ({"address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlg"}, "address"),
    "testnet address": ({"address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}, "address"),
    "negative": ({"amount": "-1.5"}, "amount"),
    "zero": ({"amount": "0"}, "amount"),
    "NaN": ({"amount": "NaN"}, "amount"),
    "too many decimals": ({"amount": "1.0000000000000000001"}, "amount"),
    "1e400": ({"amount": "1e400"}, "amount"),
    "from = to": ({"to_coin": "ETH"}, "to_coin"),
    "below every minimum": ({"amount": "0.000001"}, "amount"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_refused_by_the_facade_before_anything_is_written(world: World, case: str) -> None:
    change, field = BAD[case]
    before = world.converter.get_stats()["totalConversions"]
    fields = {"from_coin": "ETH", "to_coin": "BTC", "amount": "1.5", "address": ADDRESS, **change}
    with pytest.raises(InvalidRequest) as refused:
        world.converter.convert(**fields)
    assert refused.value.field == field
    assert refused.value.problem
    assert refused.value.accepted
    assert world.converter.get_stats()["totalConversions"] == before


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_refused_by_the_command_with_field_and_reason(world: World, case: str) -> None:
    change, field = BAD[case]
    fields = {"from_coin": "ETH", "to_coin": "BTC", "amount": "1.5", "address": ADDRESS, **change}
    before = world.converter.get_stats()["totalConversions"]
    words = ["convert", "--json", "--from", fields["from_coin"], "--to", fields["to_coin"]]
    done = command(world.stack.home, *words, f"--amount={fields['amount']}", "--address", fields["address"])
    assert done.returncode == 2
    told = last_json(done.stdout)
    assert told["field"] == field
    assert told["problem"] in told["error"]
    assert world.converter.get_stats()["totalConversions"] == before


@pytest.mark.parametrize("amount", [1.5, float("nan"), True, None, b"1.5"])
def test_an_amount_that_is_not_exact_is_refused(world: World, amount: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.converter.convert(from_coin="ETH", to_coin="BTC", amount=amount, address=ADDRESS)  # type: ignore[arg-type]
    assert refused.value.field == "amount"


def test_the_command_converts_and_shows_the_way(world: World) -> None:
    address = world.address()
    words = ["convert", "--from", "ETH", "--to", "BTC", "--amount", "1.5", "--address", address, "--json"]
    done = command(world.stack.home, *words)
    assert done.returncode == 0, done.stderr
    told = last_json(done.stdout)
    assert told["state"] == "COMPLETED"
    assert told["address"] == address
    paid = world.deliveries_to(address)
    assert [one["amount"] for one in paid] == [told["delivered"]]

    shown = last_json(command(world.stack.home, "conversions", "show", told["id"], "--json").stdout)
    assert {one["service"] for one in shown["quotes"]} == {"binance", "btcpay_lightning", "changenow"}
    assert [one["state"] for one in shown["attempts"]] == ["SETTLED"]

    listed = json.loads(command(world.stack.home, "conversions", "list", "--state", "COMPLETED", "--json").stdout)
    assert told["id"] in [one["id"] for one in listed]

    status = last_json(command(world.stack.home, "status", "--json").stdout)
    assert status["running"] is True
    assert status["totalConversions"] >= 1
    assert set(status["services"]) == {"binance", "btcpay_lightning", "changenow"}
    for words in (["status"], ["conversions", "list"], ["conversions", "show", told["id"]]):
        plain = command(world.stack.home, *words)
        assert plain.returncode == 0, plain.stderr


def test_the_same_idempotency_key_finds_the_same_conversion_and_other_content_is_an_error(world: World) -> None:
    first = world.converter.convert(
        from_coin="ETH", to_coin="BTC", amount="0.5", address=ADDRESS, idempotency_key="payout-1"
    )
    again = world.converter.convert(
        from_coin="eth", to_coin="btc", amount="0.50", address=ADDRESS, idempotency_key="payout-1"
    )
    assert again.id == first.id
    with pytest.raises(IdempotencyConflict) as conflict:
        world.converter.convert(
            from_coin="ETH", to_coin="BTC", amount="0.6", address=ADDRESS, idempotency_key="payout-1"
        )
    assert conflict.value.conversion_id == first.id
    assert first.result(timeout=30).service
    words = ["convert", "--from", "ETH", "--to", "BTC", "--amount", "0.7", "--address", ADDRESS, "--json"]
    done = command(world.stack.home, *words, "--idempotency-key", "payout-1")
    assert (done.returncode, last_json(done.stdout)["field"]) == (2, "idempotency_key")


def test_statistics_have_the_specified_names(world: World) -> None:
    stats = world.converter.get_stats()
    assert {"totalConversions", "serviceUsage", "failovers", "averageResponseTime", "healthyServices"} <= set(stats)
    names = {"available", "priority", "weight", "totalRequests", "successRate", "averageResponseTime", "failures"}
    for one in stats["services"].values():
        assert names | {"lastFailure"} <= set(one)


def test_an_unknown_event_is_refused_by_name(world: World) -> None:
    with pytest.raises(InvalidRequest, match="service:failure"):
        world.converter.on("service:broken", print)


def test_an_unknown_conversion_is_a_plain_error(world: World) -> None:
    done = command(world.stack.home, "conversions", "show", "cv_nothing", "--json")
    assert (done.returncode, last_json(done.stdout)["type"]) == (1, "ConversionNotFound")


def test_a_second_system_in_the_same_folder_is_refused(world: World) -> None:
    done = command(world.stack.home, "up", "--sandbox", "--json")
    assert done.returncode == 2
    assert "in use" in last_json(done.stdout)["error"]


def children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(pid):
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc to see what is left behind")
@pytest.mark.parametrize(
    ("sign", "served"), [(signal.SIGTERM, ()), (signal.SIGINT, ("--no-api",)), (signal.SIGKILL, ("--api-port", "0"))]
)
def test_up_prints_its_addresses_and_leaves_nothing_behind(
    tmp_path: Path, sign: signal.Signals, served: tuple[str, ...]
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    running = subprocess.Popen(
        [sys.executable, "-m", "converter.cli.main", "up", "--sandbox", "--json", *served],
        env={**environ, "CONVERTER_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    addresses = json.loads(running.stdout.readline())
    assert addresses["redis"].startswith("redis://")
    assert addresses["ledger"].startswith("sqlite:///")
    assert addresses["sandbox"].startswith("http://127.0.0.1:")
    assert (addresses["api"] is None) == (served == ("--no-api",))
    assert (tmp_path / "run.json").stat().st_mode & 0o077 == 0
    children = children_of(running.pid)
    assert len(children) >= 4
    running.send_signal(sign)
    code = running.wait(30)
    running.stdout.close()
    assert code == (-sign if sign is signal.SIGKILL else 0)
    until(lambda: not any(is_alive(pid) for pid in children), 10, f"no process left after {sign.name}")


def test_a_conversion_accepted_with_nothing_running_is_made_once_the_system_runs(tmp_path: Path) -> None:
    from converter import MultiServiceConverter

    with MultiServiceConverter(home=tmp_path) as converter:
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=ADDRESS)
        assert handle.state is State.RECEIVED
    with running_world(tmp_path) as world:
        result = world.converter.get(handle.id).result(timeout=30)
        assert len(world.deliveries_to(ADDRESS)) == 1
    assert result.service
