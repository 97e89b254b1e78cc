"""Kraken against its twin in the real sandbox, and what the sandbox says it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    AuthenticationFailed,
    IntegrityMismatch,
    Outcome,
    OutcomeUnknown,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import OperationKind, Order, OrderRef, OrderStatus, step_done
from converter.domain.quotes import QuoteRequest
from converter.sandbox import clients
from converter.sandbox.server import Sandbox
from converter.services.base import ServiceSettings
from converter.services.kraken import Kraken
from converter.services.kraken_orders import client_id
from converter.services.kraken_payouts import MARKS
from tests.services import test_round_trips as trips
from tests.services.test_round_trips import (
    ADDRESS,
    AFTER,
    BEFORE,
    BTC,
    ETH,
    ETH_ADDRESS,
    KEY,
    STEP_KEY,
    WAIT,
    SystemClock,
    eventually,
    soon,
)

LTC, DOGE, BCH = Asset("LTC", "LTC", 8), Asset("DOGE", "DOGE", 8), Asset("BCH", "BCH", 8)
TETHER = Asset("USDT", "ETH", 6)
TRADE_KEY = f"{KEY}t2"
STEPS = ("order", "withdraw")
MOST_OF_MARK = Decimal("1e-8") * (MARKS - 1)


class Trip(trips.Trip):
    """One conversion at Kraken."""

    def another_service(self, keys: dict[str, str] | None = None) -> Any:
        known = {name: key for (service_id, name), key in clients.KEYS.items() if service_id == "kraken"}
        return Kraken(ServiceSettings(f"{self.sandbox.url}/kraken", keys or known), SystemClock())

    @property
    def twin(self) -> Any:
        return self.sandbox.twins["kraken"]

    def traded(self, order: Order) -> Order:
        """The second trade of a route."""
        return self.service.advance_order(replace(order, ref=replace(order.ref, trade_key=TRADE_KEY)), soon())

    def looked(self, **changes: Any) -> Order:
        found = self.found(**changes)
        assert found is not None
        return found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    saved = {
        "pool-btc": {"asset": "XBT", "address": ADDRESS},
        "pool-eth": {"asset": "ETH", "address": ETH_ADDRESS},
        "pool-usdt": {"asset": "USDT", "address": ETH_ADDRESS, "method": "Tether USD (ERC20)"},
    }
    with Sandbox(speed=500, services=["kraken"]) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        running.twins["kraken"].configure({"withdraw_keys": saved})
        yield running
        assert running.problems == []


# --- From quote to payout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_asset", "to_asset", "amount"),
    [(ETH, BTC, "1.5"), (LTC, BTC, "40"), (BCH, BTC, "9"), (BTC, ETH, "0.31"), (ETH, TETHER, "0.7")],
)
def test_a_pair_is_traded_and_withdrawn(sandbox: Sandbox, from_asset: Asset, to_asset: Asset, amount: str) -> None:
    address = ADDRESS if to_asset is BTC else ETH_ADDRESS
    trip = Trip(sandbox, "kraken", from_asset, to_asset, Decimal(amount), address)
    order = trip.placed()
    assert (order.status, trip.deliveries) == (OrderStatus.FILLED, [])
    assert trip.next_step(order).status is OrderStatus.PAYING_OUT
    settled, delivery = trip.settled(step_key=STEP_KEY), trip.delivered()
    assert Decimal(delivery["amount"]) == settled.delivered
    assert settled.delivered is not None
    spread = Decimal(MARKS).scaleb(-min(8, to_asset.decimals))
    assert trip.request.net <= settled.delivered <= trip.request.net + spread
    assert delivery["txid"] == settled.txid
    (traded,) = trip.executed("order")
    assert (traded["reference"], traded["status"]) == (client_id(KEY), "closed")
    assert len(trip.executed("withdraw")) == 1


def test_a_route_over_a_middle_coin_takes_two_trades(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken", DOGE, ETH, Decimal(20000), ETH_ADDRESS)
    order = trip.placed()
    assert trip.request.quote_reference in ("via XXBT", "via USDT")
    assert order.status is OrderStatus.HALFWAY
    assert trip.looked() == order
    traded = trip.traded(order)
    assert traded.status is OrderStatus.FILLED
    assert trip.looked(trade_key=TRADE_KEY) == traded
    assert trip.next_step(traded).status is OrderStatus.PAYING_OUT
    settled = trip.settled(trade_key=TRADE_KEY, step_key=STEP_KEY)
    assert settled.delivered is not None
    assert trip.request.net - MOST_OF_MARK <= settled.delivered
    assert Decimal(trip.delivered()["amount"]) == settled.delivered
    first, second = trip.executed("order")
    assert (first["reference"], second["reference"]) == (client_id(KEY), client_id(TRADE_KEY))
    assert order.filled is not None
    spent = Decimal(second["cost"] if second["side"] == "buy" else second["executed_volume"])
    assert order.filled * Decimal("0.99") < spent <= order.filled


def test_buying_never_costs_more_than_the_amount(sandbox: Sandbox) -> None:
    for amount in ("0.05", "0.31", "1.7"):
        trip = Trip(sandbox, "kraken", BTC, ETH, Decimal(amount), ETH_ADDRESS)
        trip.quoted()
        trip.request = replace(trip.request, key=f"{KEY}-{amount.replace('.', '')}")
        assert trip.service.place_order(trip.request, soon()).status is OrderStatus.FILLED
        (row,) = [row for row in trip.executed("order") if row["reference"] == client_id(trip.request.key)]
        assert trip.amount * Decimal("0.999") < Decimal(row["cost"]) <= trip.amount


def test_credentials_are_checked_without_a_trace(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.service.check_credentials(soon())
    trip.service.check_health(soon())
    wrong = trip.another_service({"api_key": "wrong", "private_key": "wrongKeyWrongKeyWrongKey"})
    with pytest.raises(AuthenticationFailed):
        wrong.check_credentials(soon())
    with pytest.raises(AuthenticationFailed):
        wrong.quote(QuoteRequest(ETH, BTC, Decimal(1)), soon())
    assert sandbox.truth.executions == []


# --- Every way to lose an answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", AFTER)
@pytest.mark.parametrize("operation", STEPS)
def test_what_was_executed_without_an_answer_is_found(
    sandbox: Sandbox, operation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = Trip(sandbox, "kraken")

    def arm() -> None:
        trip.fault(kind, operation)
        if kind.startswith("timeout"):
            monkeypatch.setattr("converter.services.base.ANSWER_WITHIN", WAIT)

    trip.arm = arm
    order, error = trip.tried(operation)
    assert order is None
    assert error is not None
    assert policy_of(error).outcome is Outcome.UNKNOWN
    eventually(lambda: trip.executed(operation))
    found = trip.looked(step_key=None if operation == "order" else STEP_KEY)
    kind_of = OperationKind.ORDER if operation == "order" else OperationKind.WITHDRAWAL
    assert step_done(kind_of, found.status)
    assert found.status not in (OrderStatus.REJECTED, OrderStatus.HELD)
    assert len(trip.executed(operation)) == 1


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("operation", STEPS)
def test_what_was_not_executed_without_an_answer_is_not_found(
    sandbox: Sandbox, operation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = Trip(sandbox, "kraken")

    def arm() -> None:
        trip.fault(kind, operation)
        if kind in ("hang", "timeout_before_execute"):
            monkeypatch.setattr("converter.services.base.ANSWER_WITHIN", WAIT)

    trip.arm = arm
    order, error = trip.tried(operation)
    assert order is None
    assert error is not None
    assert policy_of(error).outcome is Outcome.UNKNOWN, "the client cannot know"
    found = trip.found(step_key=None if operation == "order" else STEP_KEY)
    assert (found and found.status) == (None if operation == "order" else OrderStatus.FILLED)
    assert trip.executed(operation) == []


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("text", ["EService:Deadline elapsed", "EGeneral:Internal error:5", "EService: Busy"])
@pytest.mark.parametrize("operation", STEPS)
def test_an_ambiguous_error_is_looked_into(sandbox: Sandbox, operation: str, text: str, executed: bool) -> None:
    trip = Trip(sandbox, "kraken")
    puzzle = {"operation": operation, "error": text, "executed": executed}
    trip.arm = lambda: trip.twin.configure({"ambiguous": [puzzle]})
    _, error = trip.tried(operation)
    assert isinstance(error, OutcomeUnknown)
    found = trip.found(step_key=None if operation == "order" else STEP_KEY)
    if operation == "order":
        assert (found and found.status) == (OrderStatus.FILLED if executed else None)
    else:
        assert found is not None
        assert (found.status is OrderStatus.FILLED) != executed
    assert len(trip.executed(operation)) == int(executed)


@pytest.mark.parametrize("executed", [True, False])
def test_a_second_trade_without_an_answer_is_looked_into(sandbox: Sandbox, executed: bool) -> None:
    trip = Trip(sandbox, "kraken", DOGE, ETH, Decimal(20000), ETH_ADDRESS)
    order = trip.placed()
    trip.twin.configure(
        {"ambiguous": [{"operation": "order", "error": "EService:Timeout", "executed": executed, "count": 1}]}
    )
    with pytest.raises(OutcomeUnknown):
        trip.traded(order)
    found = trip.looked(trade_key=TRADE_KEY)
    assert found.status is (OrderStatus.FILLED if executed else OrderStatus.HALFWAY)
    assert step_done(OperationKind.TRADE, found.status) == executed


def test_a_documented_no_is_proof_and_nothing_was_executed(sandbox: Sandbox) -> None:
    for operation in STEPS:
        trip = Trip(sandbox, "kraken")
        order = None if operation == "order" else trip.placed()
        trip.quoted() if order is None else None
        executed = len(sandbox.truth.executions)
        trip.fault("refuse", operation)
        with pytest.raises(ServiceRejected) as caught:
            _ = trip.service.place_order(trip.request, soon()) if order is None else trip.next_step(order)
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert len(sandbox.truth.executions) == executed


def test_a_wrong_amount_is_a_mismatch(sandbox: Sandbox) -> None:
    for factor in ("0.9", "1.1"):
        trip = Trip(sandbox, "kraken")
        trip.placed()
        trip.fault("wrong_amount", "status", factor=factor, count=4)
        with pytest.raises(IntegrityMismatch):
            print(trip.found())
        sandbox.faults.clear("kraken")


# --- Its own ---------------------------------------------------------------------------------------------------------


def test_an_address_that_is_not_saved_is_refused_before_the_trade(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken", address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    with pytest.raises(ServiceRejected, match="not saved"):
        trip.placed()
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"withdraw_keys": {"pool-btc": {"asset": "XBT", "address": ADDRESS, "verified": False}}})
    with pytest.raises(ServiceRejected, match="not saved"):
        trip.placed()
    assert sandbox.truth.executions == []


@pytest.mark.parametrize(("pair", "price"), [((ETH, BTC), "3060"), ((BTC, ETH), "3500")], ids=["selling", "buying"])
def test_a_moved_market_refuses_before_anything_is_sent(sandbox: Sandbox, pair: Any, price: str) -> None:
    trip = Trip(sandbox, "kraken", *pair, Decimal("0.7"), ADDRESS if pair[1] is BTC else ETH_ADDRESS)
    trip.quoted()
    sandbox.market.configure({"prices": {"ETH": price}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(trip.request, soon())
    assert trip.executed("order") == []


def test_an_order_that_the_engine_refuses_is_a_proven_refusal(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"engine_refuses": 1})
    with pytest.raises(QuoteExpired) as caught:
        trip.placed()
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert trip.looked().status is OrderStatus.REJECTED


def test_an_order_that_is_pending_when_it_is_looked_at_is_open_until_it_has_ended(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"pending_lookups": 2, "engine_refuses": 1})
    order = trip.placed()
    assert (order.status, trip.looked().status) == (OrderStatus.OPEN, OrderStatus.OPEN)
    assert trip.looked().status is OrderStatus.REJECTED


def test_an_order_filled_in_part_waits_for_a_person(sandbox: Sandbox) -> None:
    """FOK is not in the reference: if it were not honoured, nothing more would be sent."""
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"fill_share": "0.4"})
    order = trip.placed()
    assert order.status is OrderStatus.HELD
    assert trip.looked().status is OrderStatus.HELD


def test_an_order_that_surfaces_late_is_found_among_the_closed_ones(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.quoted()
    trip.twin.configure({"surface_after_ms": 500_000})
    order = trip.service.place_order(trip.request, soon())
    assert (order.status, trip.found()) == (OrderStatus.OPEN, None)
    eventually(lambda: trip.found(service_order_id=order.ref.service_order_id))
    assert trip.looked().status is OrderStatus.FILLED


def test_the_same_order_again_would_trade_again(sandbox: Sandbox) -> None:
    """Why an unknown order is looked up and never re-sent; and two with our id are nobody's."""
    trip = Trip(sandbox, "kraken")
    trip.placed()
    trip.service.place_order(trip.request, soon())
    assert len(trip.executed("order")) == 2
    with pytest.raises(IntegrityMismatch):
        print(trip.found())


def test_a_second_trade_that_is_killed_is_tried_again_under_another_key(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken", DOGE, ETH, Decimal(20000), ETH_ADDRESS)
    order = trip.placed()
    trip.twin.configure({"engine_refuses": 1})
    with pytest.raises(QuoteExpired) as caught:
        trip.traded(order)
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert trip.looked(trade_key=TRADE_KEY).status is OrderStatus.HALFWAY
    again = trip.service.advance_order(replace(order, ref=replace(order.ref, trade_key=f"{KEY}t3")), soon())
    assert again.status is OrderStatus.FILLED
    assert trip.looked(trade_key=f"{KEY}t3") == again


@pytest.mark.parametrize("ending", ["failure", "canceled", "stuck"])
def test_a_withdrawal_that_does_not_go_through_waits_for_a_person(sandbox: Sandbox, ending: str) -> None:
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"withdraw_ending": ending})
    trip.next_step(trip.placed())
    eventually(lambda: trip.looked(step_key=STEP_KEY).status is OrderStatus.HELD)
    assert trip.deliveries == []


def test_equal_withdrawals_of_two_conversions_are_told_apart(sandbox: Sandbox) -> None:
    trips_of_two = [Trip(sandbox, "kraken") for _ in range(2)]
    orders = []
    for number, trip in enumerate(trips_of_two):
        trip.request = replace(trip.quoted(), key=f"rt7h2m-{number}")
        orders.append(trip.service.place_order(trip.request, soon()))
    assert orders[0].filled == orders[1].filled
    for number, order in enumerate(orders):
        step = replace(order, ref=replace(order.ref, step_key=f"rt7h2m-{number}w2"))
        trips_of_two[number].service.advance_order(step, soon())
    for number, trip in enumerate(trips_of_two):
        assert trip.settled(step_key=f"rt7h2m-{number}w2").delivered is not None
        assert trip.looked(step_key=f"rt7h2m-{number}w9").status is OrderStatus.FILLED
    assert len({row["amount"] for row in trips_of_two[0].deliveries}) == 2


def test_a_fee_that_jumped_refuses_the_withdrawal(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    trip = Trip(sandbox, "kraken")
    order = trip.placed()
    (saved,) = [one for one in trip.twin.funding.keys.values() if one.name == "pool-btc"]
    dear = replace(saved.method, fee=Decimal("0.01"))
    monkeypatch.setitem(trip.twin.funding.keys, "pool-btc", replace(saved, method=dear))
    with pytest.raises(ServiceRejected, match="Max fee exceeded"):
        trip.next_step(order)
    assert trip.executed("withdraw") == []


def test_a_refused_nonce_is_not_executed(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.quoted()
    trip.twin.gate.last_nonce = 2**62
    with pytest.raises(ServiceUnavailable, match="Invalid nonce") as caught:
        trip.service.place_order(trip.request, soon())
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert trip.executed("order") == []


def test_a_halted_market_makes_no_offer_and_maintenance_is_not_fit_for_use(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.twin.configure({"status": "maintenance"})
    with pytest.raises(ServiceUnavailable):
        trip.service.check_health(soon())
    with pytest.raises(ServiceError):
        trip.quoted()


def test_a_refused_connection_leaves_no_trace(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "kraken")
    trip.quoted()
    sandbox.stop()
    with pytest.raises(ServiceError) as caught:
        trip.service.place_order(trip.request, soon())
    assert type(caught.value) is ServiceUnavailable
    sandbox.start()
    assert trip.service.find_order(OrderRef(trip.request), soon()) is None
