"""A service executes and the answer is lost: proven by asking, never by paying elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from converter import MultiServiceConverter
from converter.domain.conversions import State

from .world import ENDED, SERVICES, World, running_world, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("lost")) as running:
        yield running


def preferring(world: World, service_id: str) -> MultiServiceConverter:
    """A converter that attempts one service first, with the others ready behind it."""
    tiers = {service_id: 1} | {other: 2 + n for n, other in enumerate(one for one in SERVICES if one != service_id)}
    services = [{"id": one, "priority": tier, "weight": 1} for one, tier in tiers.items()]
    return MultiServiceConverter(services=services, home=world.stack.home, max_rate_difference="0.5")


def until_chosen(world: World, converter: MultiServiceConverter, service_id: str) -> None:
    """Convert until the preferred service is chosen again: the faults of the test before opened its breaker."""

    def chosen() -> bool:
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
        return handle.result(timeout=30).service == service_id

    until(chosen, 30, f"{service_id} is chosen again")


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("service_id", "faulty", "kind"),
    [
        ("btcpay_lightning", "btcpay_lightning", "reset_after_execute"),
        ("changenow", "changenow", "reset_after_execute"),
        ("changenow", "evm", "reset_after_execute"),
        ("binance", "binance", "reset_after_execute"),
        ("binance", "binance", "5xx_after_execute"),
    ],
)
def test_an_executed_operation_with_a_lost_answer_is_paid_once_and_nobody_else_is_asked(
    world: World, service_id: str, faulty: str, kind: str
) -> None:
    with preferring(world, service_id) as converter:
        until_chosen(world, converter, service_id)
        world.fault(faulty, kind)
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
        until(lambda: handle.state in ENDED, 60, f"{service_id} {kind}: ended, is {handle.details().reason}")
        world.mend()
        conversion = handle.details()
    assert conversion.state in (State.COMPLETED, State.NEEDS_REVIEW)
    assert len(world.deliveries_to(conversion.request.address)) == 1
    assert world.asked_to_execute(conversion.id) == {service_id}


@pytest.mark.timeout(120)
def test_a_refused_order_fails_over_at_once_and_says_so(world: World) -> None:
    heard: list[dict[str, object]] = []
    with preferring(world, "changenow") as converter:
        until_chosen(world, converter, "changenow")
        world.fault("changenow", "refuse", operations=["order"])
        converter.on("failover:success", heard.append)
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
        result = handle.result(timeout=30)
        until(lambda: any(one["conversionId"] == handle.id for one in heard), 5, "the event arrived")
    world.mend()
    assert result.service != "changenow"
    assert result.failovers == 1
    event = next(one for one in heard if one["conversionId"] == handle.id)
    assert (event["from"], event["to"]) == ("changenow", result.service)
    assert len(world.deliveries_to(result.address)) == 1


@pytest.mark.timeout(120)
def test_a_service_that_confirms_another_amount_is_not_funded(world: World) -> None:
    with preferring(world, "changenow") as converter:
        until_chosen(world, converter, "changenow")
        world.fault("changenow", "wrong_amount", operations=["order"])
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
        result = handle.result(timeout=30)
    world.mend()
    assert result.service != "changenow"
    assert len(world.deliveries_to(result.address)) == 1
