"""SimpleSwap, CoinGate and CoinPayments against their twins in the real sandbox, and what the sandbox says it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    IntegrityMismatch,
    Outcome,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import OperationKind, Order, OrderStatus, Refund, step_done
from converter.domain.quotes import QuoteRequest
from converter.sandbox import clients, credentials
from converter.sandbox.server import Sandbox
from converter.services import service_class
from converter.services.base import ServiceSettings
from tests.services import test_round_trips as trips
from tests.services.test_round_trips import (
    ADDRESS,
    AMOUNT,
    BTC,
    ETH,
    ETH_ADDRESS,
    KEY,
    WAIT,
    SystemClock,
    eventually,
    soon,
)

SERVICES = ("simpleswap", "coingate", "coinpayments")
STEPS = (
    ("simpleswap", "order"),
    ("coingate", "order"),
    ("coingate", "approve"),
    ("coinpayments", "order"),
    ("coinpayments", "approve"),
)
CONFIRMED = ("coingate", "coinpayments")
LTC, RVN, USDT = Asset("LTC", "LTC", 8), Asset("RVN", "RVN", 8), Asset("USDT", "ETH", 6)
MINED = ((LTC, Decimal("20.12345678")), (RVN, Decimal("90000.5")))
"""Coins with a chain of their own in the sandbox, and what is converted of them."""
KINDS = {"order": OperationKind.ORDER, "approve": OperationKind.APPROVAL}


class Trip(trips.Trip):
    """One conversion at one twin, with what the sandbox tells its clients, and `more` options."""

    more: dict[str, str] = {}  # noqa: RUF012

    def another_service(self, keys: dict[str, str] | None = None, clock: Any = None) -> Any:
        known = {name: key for (service_id, name), key in clients.KEYS.items() if service_id == self.service_id}
        place = f"{self.sandbox.url}/{self.service_id}"
        options = {**clients.OPTIONS.get(self.service_id, {}), **self.more}
        kind = service_class(self.service_id)
        return kind(ServiceSettings(place, known if keys is None else keys, options), clock or SystemClock())

    @property
    def twin(self) -> Any:
        return self.sandbox.twins[self.service_id]

    def lost(self, kind: str, operation: str) -> Order | None:
        """Lose the answer of an operation; then look it up as the ledger would, which knows an order that it saw."""
        order = None if operation == "order" else self.placed()
        request = self.quoted() if order is None else self.request
        self.fault(kind, operation)
        with pytest.raises(OutcomeUnknown) as caught:
            _ = self.service.place_order(request, soon()) if order is None else self.next_step(order)
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN
        if order is None:
            return self.found()
        if self.service_id == "coingate":  # a confirmation that was sent is told by an expired draft, not by a draft
            self.twin.configure({"draft_seconds": 0})
        return self.found(service_order_id=order.ref.service_order_id, step_key=trips.STEP_KEY)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        yield running
        assert running.problems == []


def fund(sandbox: Sandbox, order: Order) -> str:
    """Pay an order's deposit on the coin's chain, from outside; the transaction's id."""
    assert order.deposit is not None
    coin = order.ref.request.from_asset.coin
    chain = sandbox.chain if coin == "ETH" else sandbox.utxo[coin]
    return chain.pay(order.deposit.address, order.deposit.amount)


# --- From quote to payout --------------------------------------------------------------------------------------------


def test_simpleswap_pays_the_promised_net_once_our_deposit_arrived(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    order = trip.placed()
    assert (order.status, trip.deliveries) == (OrderStatus.AWAITING_DEPOSIT, [])
    fund(sandbox, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert (delivery["order_id"], delivery["txid"]) == (order.ref.service_order_id, settled.txid)
    assert len(trip.executed("order")) == 1
    assert order.deposit is not None
    assert [amount for _, amount in sandbox.chain.received(order.deposit.address)] == [AMOUNT]


def test_simpleswap_works_the_other_way_round(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap", BTC, ETH, Decimal("0.05"), ETH_ADDRESS)
    order = trip.placed()
    fund(sandbox, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    assert Decimal(trip.delivered()["amount"]) == trip.request.net == settled.delivered


@pytest.mark.parametrize(
    ("from_asset", "to_asset", "amount", "address"),
    [(ETH, BTC, AMOUNT, ADDRESS), (BTC, ETH, Decimal("0.05"), ETH_ADDRESS)],
    ids=["to BTC", "to ETH"],
)
@pytest.mark.parametrize("service_id", CONFIRMED)
def test_a_confirmed_request_is_paid_once(
    sandbox: Sandbox, service_id: str, from_asset: Any, to_asset: Any, amount: Decimal, address: str
) -> None:
    trip = Trip(sandbox, service_id, from_asset, to_asset, amount, address)
    order = trip.placed()
    assert order.status is OrderStatus.AWAITING_APPROVAL
    assert (trip.executed("approve"), trip.deliveries) == ([], [])
    assert step_done(OperationKind.APPROVAL, trip.next_step(order).status)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == settled.delivered
    assert trip.request.minimum_net <= Decimal(delivery["amount"])
    assert (delivery["reference"], delivery["txid"]) == (KEY, settled.txid)
    assert delivery["from_coin"] == from_asset.coin
    assert Decimal(delivery["from_amount"]) <= amount * trip.request.net / trip.request.minimum_net
    assert (len(trip.executed("order")), len(trip.executed("approve"))) == (1, 1)


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_quote_is_near_what_is_delivered_on_a_market_that_stands_still(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    request = trip.quoted(slack="0.9999")
    order = trip.service.place_order(request, soon())
    assert order.status in (OrderStatus.AWAITING_APPROVAL, OrderStatus.AWAITING_DEPOSIT)


@pytest.mark.parametrize("service_id", SERVICES)
def test_every_twin_is_fit_for_use_and_a_dead_one_is_not(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.service.check_health(soon())
    trip.fault("down")
    with pytest.raises(ServiceUnavailable):
        trip.service.check_health(soon())


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_wrong_key_is_an_authentication_failure(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    wrong = {name: "wrongKeyWrongKey" for service, name in clients.KEYS if service == service_id}
    with pytest.raises(AuthenticationFailed):
        trip.another_service(wrong).quote(QuoteRequest(ETH, BTC, AMOUNT), soon())


# --- Every executing call, and its answer lost -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service_id", "operation", "kind"),
    [
        (*step, kind)
        for step in STEPS
        for kind in ("reset_after_execute", "5xx_after_execute", "half_body", "rubbish_after_execute")
        if (step, kind) != (("coinpayments", "approve"), "half_body")  # it has no body that could be cut
    ],
)
def test_what_was_executed_without_an_answer_is_found(
    sandbox: Sandbox, service_id: str, operation: str, kind: str
) -> None:
    trip = Trip(sandbox, service_id)
    found = trip.lost(kind, operation)
    assert len(trip.executed(operation)) == 1
    if operation == "order" and service_id != "coingate":
        assert found is None, "nothing is funded or confirmed that has no name, so it is abandoned"
        return
    assert found is not None
    assert step_done(KINDS[operation], found.status)
    if operation == "order":
        trip.next_step(found)
    settled = trip.settled(service_order_id=found.ref.service_order_id)
    assert settled.delivered == Decimal(trip.delivered()["amount"])


@pytest.mark.parametrize("kind", ["reset_before_execute", "5xx_before_execute", "down", "rubbish"])
@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_what_was_not_executed_without_an_answer_is_not_found(
    sandbox: Sandbox, service_id: str, operation: str, kind: str
) -> None:
    trip = Trip(sandbox, service_id)
    found = trip.lost(kind, operation)
    expected = None if operation == "order" else OrderStatus.AWAITING_APPROVAL
    assert (found and found.status) == expected
    assert (trip.executed(operation), trip.deliveries) == ([], [])


@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_an_answer_that_comes_too_late_is_unknown(
    sandbox: Sandbox, service_id: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converter.services.base.ANSWER_WITHIN", WAIT)
    trip = Trip(sandbox, service_id)
    found = trip.lost("timeout_after_execute", operation)
    assert len(eventually(lambda: trip.executed(operation))) == 1
    if operation == "approve":
        assert found is not None
        assert step_done(OperationKind.APPROVAL, found.status)


@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_a_documented_no_is_proof_and_nothing_was_executed(sandbox: Sandbox, service_id: str, operation: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("refuse", operation)
    _, error = trip.tried(operation)
    assert isinstance(error, ServiceRejected)
    assert policy_of(error).outcome is Outcome.NOT_EXECUTED
    assert trip.executed(operation) == []


@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_a_limit_is_proof_and_tells_when_to_come_again(sandbox: Sandbox, service_id: str, operation: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("429", operation, retry_after_s=7)
    _, error = trip.tried(operation)
    assert trip.executed(operation) == []
    if operation == "approve":  # the page of what stands before the service: no word of its own
        assert isinstance(error, OutcomeUnknown)
        return
    assert isinstance(error, RateLimited)
    assert (error.retry_after, policy_of(error).outcome) == (7, Outcome.NOT_EXECUTED)


@pytest.mark.parametrize("factor", ["0.9", "1.1"])
@pytest.mark.parametrize(("service_id", "operation"), [step for step in STEPS if step != ("coinpayments", "approve")])
def test_a_wrong_amount_is_a_mismatch(sandbox: Sandbox, service_id: str, operation: str, factor: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("wrong_amount", operation, factor=factor)
    _, error = trip.tried(operation)
    assert isinstance(error, IntegrityMismatch)


# --- SimpleSwap's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_asset", "amount"), MINED, ids=str)
def test_simpleswap_takes_a_deposit_on_the_coin_s_own_chain(
    sandbox: Sandbox, from_asset: Asset, amount: Decimal
) -> None:
    trip = Trip(sandbox, "simpleswap", from_asset, BTC, amount, ADDRESS)
    order = trip.placed()
    assert order.deposit is not None
    assert order.deposit.amount == amount
    paid = fund(sandbox, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert (delivery["from_coin"], Decimal(delivery["from_amount"])) == (from_asset.coin, amount)
    assert delivery["txid"] == settled.txid
    (arrived,) = sandbox.utxo[from_asset.network].received(order.deposit.address)
    assert arrived == (paid, amount)
    payouts = eventually(lambda: sandbox.utxo["BTC"].received(ADDRESS))
    assert payouts == [(settled.txid, settled.delivered)]


def test_simpleswap_pays_out_a_token_that_its_list_knows_by_our_contract(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap", ETH, USDT, AMOUNT, ETH_ADDRESS)
    order = trip.placed()
    fund(sandbox, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    trip.delivered()
    eventually(lambda: sandbox.chain.received_token(ETH_ADDRESS))
    assert sandbox.chain.received_token(ETH_ADDRESS) == [(settled.txid, settled.delivered)]


@pytest.mark.parametrize("tells", [True, False])
def test_simpleswap_a_refund_goes_to_our_address_of_the_coin(sandbox: Sandbox, tells: bool) -> None:
    chain = sandbox.utxo["LTC"]
    ours = chain.new_address("pool")
    trip = Trip(sandbox, "simpleswap", LTC, BTC, Decimal(20), ADDRESS)
    trip.more = {"refundAddressLTC": ours}
    trip.service = trip.another_service()
    trip.twin.configure({"ending": "refunded", "tells_refund": tells})
    order = trip.placed()
    fund(sandbox, order)

    def look() -> Refund | None:
        found = trip.found(service_order_id=order.ref.service_order_id)
        return found.refund if found is not None and found.status is OrderStatus.REFUNDED else None

    refund = eventually(look)
    ((txid, amount),) = eventually(lambda: chain.received(ours))
    assert refund == Refund(ours, None, txid if tells else "")
    assert amount < trip.amount
    assert trip.deliveries == []


def test_simpleswap_a_deposit_has_the_end_of_its_rate(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    quote = trip.service.quote(QuoteRequest(ETH, BTC, AMOUNT), soon())
    order = trip.service.place_order(replace(trip.quoted(), quote_reference=quote.reference), soon())
    assert order.deposit is not None
    assert order.deposit.valid_until == quote.expires_at > datetime.now(UTC) + timedelta(minutes=5)


def test_simpleswap_what_arrives_is_told_though_it_is_less_than_the_fixed_rate_promised(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure({"final_factor": "0.9"})
    order = trip.placed()
    fund(sandbox, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    assert settled.delivered == Decimal(trip.delivered()["amount"]) < trip.request.minimum_net


def test_simpleswap_a_minimum_above_the_published_one_is_told(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure({"minimum": {"ETH": "1"}, "minimum_factor": "1.01"})
    with pytest.raises(AmountOutOfRange) as caught:
        trip.quoted()
    assert caught.value.minimum == Decimal("2.02")


@pytest.mark.parametrize("setting", [{"wrapped": False}, {"id_field": "publicId"}])
def test_simpleswap_in_its_other_clothes(sandbox: Sandbox, setting: dict[str, Any]) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure(setting)
    order = trip.placed()
    fund(sandbox, order)
    trip.settled(service_order_id=order.ref.service_order_id)
    trip.delivered()


def test_simpleswap_without_a_fixed_rate_is_not_used(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure({"fixed_available": False})
    with pytest.raises(PairNotSupported):
        trip.quoted()


@pytest.mark.parametrize(
    ("ending", "status"),
    [("refunded", OrderStatus.REFUNDED), ("failed", OrderStatus.HELD), ("verifying", OrderStatus.HELD)],
)
def test_simpleswap_other_endings_are_told(sandbox: Sandbox, ending: str, status: OrderStatus) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure({"ending": ending})
    order = trip.placed()
    fund(sandbox, order)
    seen = {"service_order_id": order.ref.service_order_id}
    eventually(lambda: (found := trip.found(**seen)) is not None and found.status is status)
    assert trip.deliveries == []


def test_simpleswap_an_order_that_is_never_funded_expires(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    trip.twin.configure({"ending": "expired"})
    seen = {"service_order_id": trip.placed().ref.service_order_id}
    eventually(lambda: (found := trip.found(**seen)) is not None and found.status is OrderStatus.EXPIRED)
    assert trip.found(service_order_id="0000000000000000") is None


def test_simpleswap_a_rate_of_another_amount_is_refused(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "simpleswap")
    request = replace(trip.quoted(), amount=Decimal("1.6"))
    with pytest.raises(QuoteExpired):
        trip.service.place_order(request, soon())
    assert trip.executed("order") == []


# --- CoinGate's own --------------------------------------------------------------------------------------------------


def test_coingate_confirming_again_confirms_once(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    order = trip.placed()
    for _ in range(3):
        assert step_done(OperationKind.APPROVAL, trip.next_step(order).status)
    trip.settled()
    assert trip.next_step(order).status is OrderStatus.SETTLED
    assert len(trip.executed("approve")) == 1
    trip.delivered()


def test_coingate_a_lapsed_draft_is_still_unapproved_and_is_refused(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    order = trip.placed()
    trip.twin.configure({"draft_seconds": 0})
    found = trip.found()
    assert found is not None
    assert (found.status, found.detail) == (OrderStatus.AWAITING_APPROVAL, "expired")
    with pytest.raises(QuoteExpired):
        trip.next_step(order)
    assert (trip.executed("approve"), trip.deliveries) == ([], [])


def test_coingate_a_draft_leaves_a_lost_confirmation_unknown(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    order = trip.placed()
    trip.fault("reset_before_execute", "approve")
    with pytest.raises(OutcomeUnknown):
        trip.next_step(order)
    seen = {"service_order_id": order.ref.service_order_id, "step_key": trips.STEP_KEY}
    for missing in (seen, seen | {"service_order_id": "1"}, {"step_key": trips.STEP_KEY}):
        with pytest.raises(OutcomeUnknown):
            print(trip.found(**missing))
    trip.twin.configure({"draft_seconds": 0})
    found = trip.found(**seen)
    assert found is not None
    assert (found.status, found.detail) == (OrderStatus.AWAITING_APPROVAL, "expired")


def test_coingate_a_second_draft_of_the_same_key_proves_nothing(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    trip.placed()
    with pytest.raises(OutcomeUnknown):
        trip.service.place_order(trip.request, soon())
    assert len(trip.executed("order")) == 1


def test_coingate_a_draft_that_costs_too_much_is_cancelled(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    trip.quoted()
    sandbox.market.configure({"prices": {"ETH": "3000"}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(trip.request, soon())
    assert (len(trip.executed("cancel")), trip.deliveries) == (1, [])
    found = trip.found()
    assert found is not None
    assert found.status is OrderStatus.REJECTED


def test_coingate_a_second_factor_is_refused(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    trip.twin.configure({"requires_2fa": True})
    with pytest.raises(ServiceRejected, match="second factor"):
        trip.placed()
    assert len(trip.executed("cancel")) == 1


def test_coingate_too_little_in_the_account_is_refused_at_every_step(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    order = trip.placed()
    trip.twin.configure({"balances": {"ETH": "1.4"}})
    with pytest.raises(ServiceRejected):
        trip.next_step(order)
    assert (trip.executed("approve"), len(trip.executed("cancel"))) == ([], 1)
    with pytest.raises(ServiceRejected):
        Trip(sandbox, "coingate").quoted()


def test_coingate_an_address_is_registered_once(sandbox: Sandbox) -> None:
    for key in ("rt7h2m-1", "rt7h2m-2"):
        trip = Trip(sandbox, "coingate")
        trip.service.place_order(replace(trip.quoted(), key=key), soon())
    rows = list(trip.twin._beneficiaries._settings.values())
    assert [row.address for row in rows] == [ADDRESS]


def test_coingate_a_stranger_to_the_account_is_refused_without_an_owner(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coingate")
    trip.quoted()
    bare = service_class("coingate")(
        ServiceSettings(f"{sandbox.url}/coingate", {"token": credentials.COINGATE_TOKEN}), SystemClock()
    )
    with pytest.raises(ServiceRejected, match="not registered"):
        bare.place_order(trip.request, soon())
    assert trip.executed("order") == []


@pytest.mark.parametrize(("ending", "status"), [("failed", OrderStatus.HELD), ("canceled", OrderStatus.REJECTED)])
def test_coingate_other_endings_are_told(sandbox: Sandbox, ending: str, status: OrderStatus) -> None:
    trip = Trip(sandbox, "coingate")
    trip.twin.configure({"ending": ending})
    trip.next_step(trip.placed())
    eventually(lambda: (found := trip.found()) is not None and found.status is status)
    assert trip.deliveries == []


# --- CoinPayments' own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_asset", "amount"), MINED, ids=str)
def test_coinpayments_converts_mined_coins_out_of_their_wallets(
    sandbox: Sandbox, from_asset: Asset, amount: Decimal
) -> None:
    trip = Trip(sandbox, "coinpayments", from_asset, BTC, amount, ADDRESS)
    order = trip.placed()
    assert (order.status, trip.deliveries) == (OrderStatus.AWAITING_APPROVAL, [])
    assert step_done(OperationKind.APPROVAL, trip.next_step(order).status)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == settled.delivered
    assert (delivery["from_coin"], Decimal(delivery["from_amount"])) == (from_asset.coin, amount)
    assert sandbox.utxo["BTC"].received(ADDRESS) == [(settled.txid, settled.delivered)]


def test_coinpayments_pays_out_a_token_by_its_contract(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coinpayments", LTC, USDT, Decimal(20), ETH_ADDRESS)
    order = trip.placed()
    trip.next_step(order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    trip.delivered()
    assert sandbox.chain.received_token(ETH_ADDRESS) == [(settled.txid, settled.delivered)]


@pytest.mark.parametrize(
    "setting", [{"exponent_numbers": True}, {"amount_unit": "smallest"}, {"no_match": "empty"}], ids=str
)
def test_coinpayments_in_its_other_clothes(sandbox: Sandbox, setting: dict[str, Any]) -> None:
    trip = Trip(sandbox, "coinpayments")
    trip.twin.configure(setting)
    order = trip.placed()
    seen = {"service_order_id": order.ref.service_order_id}
    found = trip.found(**seen)
    assert found is not None
    assert found.status is OrderStatus.AWAITING_APPROVAL
    trip.next_step(order)
    assert trip.settled(**seen).delivered == Decimal(trip.delivered()["amount"])


def test_coinpayments_a_second_confirmation_is_refused_like_one_that_lapsed(sandbox: Sandbox) -> None:
    """Why a repeat is never sent: the refusal would say that nothing was executed."""
    trip = Trip(sandbox, "coinpayments")
    order = trip.placed()
    trip.next_step(order)
    with pytest.raises(ServiceRejected, match="404"):
        trip.next_step(order)
    rule = trip.service.capabilities.rules[OperationKind.APPROVAL]
    assert (rule.repeat_recognised, rule.quiet) == (False, None)
    trip.settled(service_order_id=order.ref.service_order_id)
    trip.delivered()


def test_coinpayments_a_lapsed_preview_is_a_refusal(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coinpayments")
    order = trip.placed()
    trip.twin.configure({"preview_seconds": 0})
    with pytest.raises(ServiceRejected):
        trip.next_step(order)
    assert (trip.executed("approve"), trip.deliveries) == ([], [])


def test_coinpayments_what_arrives_is_told_as_it_is(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coinpayments")
    trip.twin.configure({"final_factor": "0.97"})
    order = trip.placed()
    trip.next_step(order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    assert settled.delivered == Decimal(trip.delivered()["amount"])
    assert settled.delivered < trip.request.minimum_net


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("failedOnBlockchain", OrderStatus.HELD),
        ("completed", OrderStatus.PAYING_OUT),
        *((word, OrderStatus.HELD) for word in ("failed", "cancelled", "rejected", "expired")),
    ],
)
def test_coinpayments_other_endings_are_told(sandbox: Sandbox, ending: str, status: OrderStatus) -> None:
    trip = Trip(sandbox, "coinpayments")
    trip.twin.configure({"ending": ending})
    order = trip.placed()
    trip.next_step(order)
    seen = {"service_order_id": order.ref.service_order_id}
    eventually(lambda: (found := trip.found(**seen)) is not None and found.status is status)


def test_coinpayments_a_preview_that_brings_too_little_is_not_confirmed(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "coinpayments")
    trip.quoted()
    sandbox.market.configure({"prices": {"ETH": "3000"}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(trip.request, soon())


@pytest.mark.parametrize("state", [{"balances": {"ETH": "1.4"}}, {"locked": ["ETH"]}], ids=str)
def test_coinpayments_a_wallet_that_cannot_pay_makes_no_offer(sandbox: Sandbox, state: dict[str, Any]) -> None:
    trip = Trip(sandbox, "coinpayments")
    trip.twin.configure(state)
    with pytest.raises(ServiceRejected):
        trip.quoted()


def test_coinpayments_a_request_that_was_signed_a_minute_ago_is_refused_by_the_service(sandbox: Sandbox) -> None:
    class Late(SystemClock):
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=63)

    trip = Trip(sandbox, "coinpayments")
    order = trip.placed()
    with pytest.raises(AuthenticationFailed):
        trip.another_service(clock=Late()).advance_order(order, soon())
    assert trip.executed("approve") == []
