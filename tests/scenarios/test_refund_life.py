"""A deposit that a swap holds, sends back or never takes: followed on the chain, and only then paid elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from converter.client import ConversionHandle
from converter.domain import events
from converter.domain.conversions import Attempt, AttemptState, State
from converter.domain.orders import OperationKind
from converter.sandbox import credentials

from .world import ALL_SERVICES, ENDED, World, running_world, until

pytestmark = pytest.mark.timeout(150)

AMOUNTS = {"ETH": "1.5", "LTC": "60"}
NODES = {"ETH": "evm", "LTC": "ltc"}
CASES = [(service_id, coin) for service_id in ("changenow", "simpleswap") for coin in AMOUNTS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    quick = {"CONVERTER_ENGINE__POLL_LIMIT": "1000"}  # an order that its service holds is looked at so often
    with running_world(tmp_path_factory.mktemp("refunds"), only=ALL_SERVICES, environ=quick) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """A conversion that prefers a deposit swap."""

    world: World
    service_id: str
    coin: str
    handle: ConversionHandle

    @classmethod
    def start(cls, world: World, service_id: str, coin: str) -> Case:
        with world.preferring(service_id, ALL_SERVICES) as converter:
            handle = converter.convert(from_coin=coin, to_coin="BTC", amount=AMOUNTS[coin], address=world.address())
        return cls(world, service_id, coin, handle)

    @property
    def attempts(self) -> list[Attempt]:
        """All but those that came to nothing."""
        return [one for one in self.world.attempts(self.handle.id) if one.state is not AttemptState.NOT_EXECUTED]

    @property
    def payers(self) -> list[str]:
        """Services that delivered."""
        return [one["service_id"] for one in self.world.deliveries_to(self.handle.details().request.address)]

    def told(self, name: str) -> list[dict[str, Any]]:
        return [one.payload for one in self.world.events(self.handle.id) if one.name == name]

    def refunds(self) -> list[dict[str, Any]]:
        """What the service says in the sandbox's truth that it sent back."""
        found = self.world.truth()["executions"]
        mine = [one for one in found if (one["service_id"], one["operation"]) == (self.service_id, "refund")]
        attempt = self.world.attempts(self.handle.id)[0]
        return [one for one in mine if one["order_id"] == attempt.service_order_id]

    def assert_waits_for_its_service(self) -> None:
        """The deposit is there, nobody was paid, and no second service was attempted."""
        assert self.handle.state is State.SETTLING
        assert [(one.service_id, one.state) for one in self.attempts] == [(self.service_id, AttemptState.EXECUTED)]
        assert self.payers == []

    def assert_refunded_and_paid_elsewhere(self) -> None:
        conversion, (first, second) = self.handle.details(), self.attempts
        assert (first.service_id, first.state) == (self.service_id, AttemptState.REFUNDED)
        assert second.state is AttemptState.SETTLED
        assert second.service_id != self.service_id
        assert (conversion.service_id, self.payers) == (second.service_id, [second.service_id])
        (told,) = self.told(events.CONVERSION_REFUNDED)
        assert (told["serviceId"], told["txid"]) == (self.service_id, first.refund_txid)
        back = Decimal(told["amount"])
        assert Decimal("0.9") * conversion.request.amount < back < conversion.request.amount


def refund_address(world: World, coin: str) -> str:
    """The pool's own, where the services were told to send refunds."""
    if coin == "ETH":
        return credentials.EVM_WALLET_ADDRESS
    content = json.loads((world.stack.home / "sandbox.json").read_text())
    options = next(one["options"] for one in content["services"] if one["id"] == "changenow")
    return str(options[f"refundAddress{coin}"])


def set_endings(world: World, ending: str) -> None:
    world.configure("changenow", ending=ending)
    world.configure("simpleswap", ending=ending, tells_refund=True)


def set_mining(world: World, *, mining: bool) -> None:
    for node in NODES.values():
        world.configure(node, mining=mining)


def looked_at(cases: list[Case], times: int) -> None:
    """Wait until each was looked at so often from now."""
    before = {case.handle.id: case.handle.details().fence for case in cases}
    until(
        lambda: all(case.handle.details().fence >= before[case.handle.id] + times for case in cases),
        30,
        f"looked at {times} times",
    )


def test_a_held_deposit_waits_and_one_that_comes_back_is_paid_elsewhere_only_when_its_chain_confirms_it(
    world: World,
) -> None:
    set_endings(world, "verifying")
    cases = [Case.start(world, *case) for case in CASES]
    until(lambda: all(case.told(events.CONVERSION_HELD) for case in cases), 40, "all held")
    looked_at(cases, 2)
    for case in cases:
        case.assert_waits_for_its_service()
        (told,) = case.told(events.CONVERSION_HELD)  # once, however often it is looked at
        assert told["serviceId"] == case.service_id
        assert datetime.fromisoformat(told["deadline"]) > datetime.now(UTC)

    set_mining(world, mining=False)
    set_endings(world, "refunded")
    until(lambda: all(case.refunds() for case in cases), 20, "all sent back")
    set_endings(world, "finished")
    until(lambda: all("not confirmed" in case.handle.details().reason for case in cases), 20, "all refunds seen")
    looked_at(cases, 2)
    for case in cases:
        case.assert_waits_for_its_service()
        assert [one["address"] for one in case.refunds()] == [refund_address(world, case.coin)]
        assert case.told(events.CONVERSION_REFUNDED) == []

    set_mining(world, mining=True)
    until(lambda: all(case.handle.state in ENDED for case in cases), 60, "all ended")
    for case in cases:
        assert case.handle.state is State.COMPLETED, case.handle.details().reason
        case.assert_refunded_and_paid_elsewhere()


def test_a_hold_that_is_lifted_completes_at_the_same_service(world: World) -> None:
    set_endings(world, "verifying")
    cases = [Case.start(world, "changenow", "ETH"), Case.start(world, "simpleswap", "LTC")]
    until(lambda: all(case.told(events.CONVERSION_HELD) for case in cases), 40, "all held")
    set_endings(world, "finished")
    until(lambda: all(case.handle.state in ENDED for case in cases), 30, "all ended")
    for case in cases:
        assert case.handle.state is State.COMPLETED
        assert [(one.service_id, one.state) for one in case.attempts] == [(case.service_id, AttemptState.SETTLED)]
        assert case.payers == [case.service_id]


def test_an_order_that_expires_before_the_deposit_fails_over_and_nothing_is_deposited(world: World) -> None:
    """Its answer is lost, so that it is found again, and by then it has expired."""
    set_endings(world, "expired")
    world.fault("changenow", "reset_after_execute", operations=["order"], count=1)
    before = sends(world)
    case = Case.start(world, "changenow", "ETH")
    until(lambda: case.handle.state in ENDED, 40, "ended")
    set_endings(world, "finished")
    assert [one["struck"] for one in world.faults("changenow")] == [1]
    world.mend()
    assert case.handle.state is State.COMPLETED, case.handle.details().reason
    first, *_, last = world.attempts(case.handle.id)
    assert (first.service_id, first.state) == ("changenow", AttemptState.NOT_EXECUTED)
    assert "expired" in first.error
    assert [one.kind for one in world.operations(first)] == [OperationKind.ORDER]
    assert sends(world) - before == any(one.kind is OperationKind.DEPOSIT for one in world.operations(last))
    assert case.payers == [case.handle.details().service_id] != ["changenow"]


def sends(world: World) -> int:
    """Payments that the pool's wallet made on Ethereum."""
    return sum((one["service_id"], one["operation"]) == ("evm", "send") for one in world.truth()["executions"])


def test_a_refused_order_fails_over_at_once_and_says_so(world: World) -> None:
    heard: list[dict[str, Any]] = []
    world.fault("changenow", "refuse", operations=["order"])
    world.converter.on(events.FAILOVER_SUCCESS, heard.append)
    case = Case.start(world, "changenow", "ETH")
    result = case.handle.result(timeout=30)
    until(lambda: any(one["conversionId"] == result.id for one in heard), 5, "the event arrived")
    world.mend()
    assert result.failovers == 1
    event = next(one for one in heard if one["conversionId"] == result.id)
    assert (event["from"], event["to"]) == ("changenow", result.service)
    assert case.payers == [result.service] != ["changenow"]


def test_a_service_that_confirms_another_amount_is_not_funded(world: World) -> None:
    world.fault("changenow", "wrong_amount", operations=["order"])
    case = Case.start(world, "changenow", "ETH")
    result = case.handle.result(timeout=30)
    world.mend()
    first = world.attempts(result.id)[0]
    assert (first.service_id, first.state) == ("changenow", AttemptState.NOT_EXECUTED)
    assert [one.kind for one in world.operations(first)] == [OperationKind.ORDER]
    assert case.payers == [result.service] != ["changenow"]


def test_a_swap_whose_price_moved_away_sends_the_deposit_back_and_another_service_completes(world: World) -> None:
    world.configure("ltc", mining=False)
    case = Case.start(world, "thorchain", "LTC")
    until(lambda: any(one.state is AttemptState.EXECUTED for one in case.attempts), 30, "the deposit left")
    price = Decimal(world.market()["prices"]["LTC"])
    world.set_market(prices={"LTC": format(price / 2, "f")})
    world.configure("ltc", mining=True)
    until(lambda: case.handle.state in ENDED, 60, "ended")
    world.set_market(prices={"LTC": format(price, "f")})
    assert case.handle.state is State.COMPLETED, case.handle.details().reason
    case.assert_refunded_and_paid_elsewhere()
