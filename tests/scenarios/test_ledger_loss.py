"""PostgreSQL is killed (-9, with all its children) around a send, and started again on its data.

What was committed before is there again; what the worker learnt meanwhile it could not record. The conversion is
executed once, at the service at which it was, and completed by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from converter.domain.conversions import AttemptState
from tests.own_postgres import OwnPostgres, own_postgres

from .world import World, running_world, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

POINTS = {
    "btcpay_lightning": ["before order", "after order", "before step", "after step"],
    "changenow": ["before order", "after order", "before broadcast", "after broadcast"],
    "binance": ["before order", "after order", "before step", "after step"],
}
CASES = [(service_id, point) for service_id, points in POINTS.items() for point in points]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def lasting(server: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environ = {
        "CONVERTER_LEDGER_URL": server.url(),
        "CONVERTER_ENGINE__LEASE": "3000",
        "CONVERTER_ENGINE__QUOTING": "2000",
    }
    celery = ("tests.scenarios.holding", "-A", "workers.app")
    with running_world(tmp_path_factory.mktemp("ledger-loss"), celery=celery, environ=environ) as running:
        yield running


@pytest.fixture
def world(lasting: World) -> World:
    lasting.handles.clear()
    lasting.mend()
    lasting.recover()
    return lasting


def convert_at(world: World, service_id: str) -> str:
    """A conversion that is attempted there first."""
    with world.preferring(service_id) as converter:
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
    world.handles += [world.converter.get(handle.id)]
    return handle.id


def held_at(world: World, service_id: str, point: str) -> str:
    """A conversion whose worker's thread waits at this point until `let_go`."""
    (world.stack.home / "hold-at").write_text(point)
    conversion_id = convert_at(world, service_id)
    until((world.stack.home / "held").exists, 40, f"held {point}", pause=0.02)
    return conversion_id


def let_go(world: World) -> None:
    (world.stack.home / "held").unlink()


def executions(world: World) -> int:
    """How many operations were executed, by the outside world's own record."""
    return len(world.truth()["executions"])


def completed_once_at(world: World, conversion_id: str, service_id: str) -> None:
    world.wait_until_ended(120)
    world.assert_all_completed_once()
    assert world.asked_to_execute(conversion_id) <= {service_id}
    assert [one.service_id for one in world.attempts(conversion_id) if one.is_open] == [service_id]


@pytest.mark.parametrize(("service_id", "point"), CASES)
def test_a_ledger_killed_around_a_send_leaves_the_conversion_executed_once(
    world: World, server: OwnPostgres, service_id: str, point: str
) -> None:
    conversion_id = held_at(world, service_id, point)
    server.kill()
    try:
        before = executions(world)
        let_go(world)
        if point.startswith("before"):  # prepared and committed: it is sent, whatever becomes of the ledger
            until(lambda: executions(world) > before, 10, f"executed without a ledger, {point}")
    finally:
        server.start()
    completed_once_at(world, conversion_id, service_id)


def test_a_ledger_killed_while_an_order_is_on_its_way_leaves_the_conversion_executed_once(
    world: World, server: OwnPostgres
) -> None:
    world.fault("binance", "latency", latency_ms=1500, operations=["order"])
    conversion_id = held_at(world, "binance", "before order")
    let_go(world)
    until(lambda: any(one["struck"] for one in world.faults("binance")), 10, "the order is on its way", pause=0.02)
    before = executions(world)
    server.kill()
    try:
        until(lambda: executions(world) > before, 10, "executed without a ledger")
    finally:
        server.start()
    completed_once_at(world, conversion_id, "binance")


def test_what_was_prepared_and_not_sent_in_time_is_not_sent_later(world: World, server: OwnPostgres) -> None:
    """The ledger and the worker are away for longer than `send_before` allows: another attempt is made instead."""
    conversion_id = held_at(world, "changenow", "before order")
    server.kill()
    try:
        late = time.monotonic() + 6  # more than the service's `send_within`
        until(lambda: time.monotonic() > late, 7, "too late to send")
        before = executions(world)
        let_go(world)
        settled = time.monotonic() + 1
        until(lambda: time.monotonic() > settled, 2, "time enough to send")
        assert executions(world) == before
    finally:
        server.start()
    world.wait_until_ended(120)
    world.assert_all_completed_once()
    first, *others = world.attempts(conversion_id)
    assert (first.service_id, first.state) == ("changenow", AttemptState.NOT_EXECUTED)
    assert others
