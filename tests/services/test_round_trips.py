"""Each service against its twin in the real sandbox, from the quote to the payout, and what the sandbox says it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AuthenticationFailed,
    ConverterError,
    IntegrityMismatch,
    Outcome,
    OutcomeUnknown,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import OperationKind, Order, OrderRef, OrderRequest, OrderStatus, step_done
from converter.domain.quotes import QuoteRequest
from converter.domain.transfers import Payment
from converter.ports import Deadline
from converter.sandbox import credentials
from converter.sandbox.faults import parse_faults
from converter.sandbox.server import Sandbox
from converter.services.base import ServiceSettings
from converter.services.binance import Binance
from converter.services.btcpay_lightning import BtcPayLightning
from converter.services.changenow import ChangeNow
from converter.wallets.evm import EvmNetwork, EvmWallet

ETH, BTC, LIGHTNING = asset("ETH"), asset("BTC"), asset("BTC", "LIGHTNING")
ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
KEY = "rt7h2m-1"
STEP_KEY = "rt7h2m-1s2"
AMOUNT = Decimal("1.5")
WAIT = 0.4

SERVICES: dict[str, tuple[Any, dict[str, str], dict[str, str]]] = {
    "changenow": (
        ChangeNow,
        {"api_key": credentials.CHANGENOW_API_KEY, "private_key": credentials.CHANGENOW_PRIVATE_KEY},
        {"refundAddress": ETH_ADDRESS},
    ),
    "binance": (
        Binance,
        {"api_key": credentials.BINANCE_API_KEY, "secret_key": credentials.BINANCE_SECRET_KEY},
        {},
    ),
    "btcpay_lightning": (
        BtcPayLightning,
        {"token": credentials.BTCPAY_TOKEN},
        {"storeId": credentials.BTCPAY_STORE_ID},
    ),
}
STEPS = (
    ("changenow", "order"),
    ("binance", "order"),
    ("binance", "withdraw"),
    ("btcpay_lightning", "order"),
    ("btcpay_lightning", "approve"),
)
AFTER = ("reset_after_execute", "5xx_after_execute", "rubbish_after_execute", "half_body", "timeout_after_execute")
BEFORE = ("reset_before_execute", "5xx_before_execute", "rubbish", "down", "hang", "timeout_before_execute")


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def soon() -> Deadline:
    return Deadline.after(5)


def eventually(look: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


@dataclass
class Trip:
    """One conversion at one twin."""

    sandbox: Sandbox
    service_id: str
    from_asset: Asset = ETH
    to_asset: Asset = BTC
    amount: Decimal = AMOUNT
    address: str = ADDRESS

    def __post_init__(self) -> None:
        self.service = self.another_service()
        self.request: OrderRequest
        self.arm: Callable[[], None] = lambda: None

    def another_service(self) -> Any:
        """As another process would make it: nothing is kept from before."""
        kind, keys, options = SERVICES[self.service_id]
        return kind(ServiceSettings(f"{self.sandbox.url}/{self.service_id}", keys, options), SystemClock())

    def quoted(self, *, slack: str = "0.98") -> OrderRequest:
        quote = self.service.quote(QuoteRequest(self.from_asset, self.to_asset, self.amount), soon())
        self.request = OrderRequest(
            key=KEY,
            from_asset=self.from_asset,
            to_asset=self.to_asset,
            amount=self.amount,
            address=self.address,
            net=quote.net,
            minimum_net=(quote.net * Decimal(slack)).quantize(Decimal("1e-8"), ROUND_DOWN),
            quote_reference=quote.reference,
            prepared_at=datetime.now(UTC),
        )
        return self.request

    def placed(self) -> Order:
        return self.service.place_order(self.quoted(), soon())

    def next_step(self, order: Order) -> Order:
        return self.service.advance_order(replace(order, ref=replace(order.ref, step_key=STEP_KEY)), soon())

    def found(self, **changes: Any) -> Order | None:
        """Looked up by somebody who knows our keys only."""
        return self.another_service().find_order(replace(OrderRef(self.request), **changes), soon())

    def settled(self, **changes: Any) -> Order:
        def look() -> Order | None:
            order = self.found(**changes)
            return order if order is not None and order.status is OrderStatus.SETTLED else None

        order = eventually(look)
        assert isinstance(order, Order)
        return order

    def fault(self, kind: str, *operations: str, **more: Any) -> None:
        mount = self.sandbox.mounts[self.service_id]
        described = {"kind": kind, "count": 1, **({"operations": list(operations)} if operations else {}), **more}
        self.sandbox.faults.set(self.service_id, parse_faults(described, mount.operations))

    def executed(self, operation: str) -> list[dict[str, Any]]:
        rows = self.sandbox.truth.executions
        return [row for row in rows if (row["service_id"], row["operation"]) == (self.service_id, operation)]

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        return self.sandbox.truth.deliveries

    def delivered(self) -> dict[str, Any]:
        eventually(lambda: self.deliveries)
        (delivery,) = self.deliveries
        assert (delivery["service_id"], delivery["address"]) == (self.service_id, self.address)
        assert delivery["to_coin"] == self.to_asset.coin
        return delivery

    def tried(self, operation: str) -> tuple[Order | None, ConverterError | None]:
        """Bring the conversion to an operation on good terms, then take it: what came back."""
        order = None if operation == "order" else self.placed()
        if order is None:
            self.quoted()
        self.arm()
        try:
            if order is None:
                return self.service.place_order(self.request, soon()), None
            return self.next_step(order), None
        except ConverterError as error:
            return None, error


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        yield running
        assert running.problems == []


@pytest.fixture
def wallet(sandbox: Sandbox) -> EvmWallet:
    return EvmWallet(f"{sandbox.url}/evm", credentials.EVM_WALLET_KEY, EvmNetwork("ETH", credentials.EVM_CHAIN_ID))


def pay(wallet: EvmWallet, order: Order) -> None:
    assert order.deposit is not None
    _, _, nonce = wallet.account(soon())
    payment = Payment(ETH, order.deposit.address, order.deposit.amount, order.deposit.memo)
    wallet.broadcast(wallet.sign(payment, nonce, wallet.prepare(payment, soon())), soon())


# --- From quote to payout --------------------------------------------------------------------------------------------


def test_changenow_pays_the_promised_net_once_our_deposit_arrived(sandbox: Sandbox, wallet: EvmWallet) -> None:
    trip = Trip(sandbox, "changenow")
    order = trip.placed()
    assert order.status is OrderStatus.AWAITING_DEPOSIT
    assert trip.deliveries == []
    pay(wallet, order)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert (delivery["reference"], delivery["txid"]) == (KEY, settled.txid)
    assert len(trip.executed("order")) == 1
    assert [row["amount"] for row in sandbox.truth.executions if row["service_id"] == "evm"] == ["1.5"]


def test_changenow_takes_eight_decimals_and_the_rest_stays_with_the_pool(sandbox: Sandbox, wallet: EvmWallet) -> None:
    trip = Trip(sandbox, "changenow", amount=Decimal("1.234567899999999999"))
    order = trip.placed()
    assert order.deposit is not None
    assert order.deposit.amount == Decimal("1.23456789")
    pay(wallet, order)
    assert trip.settled(service_order_id=order.ref.service_order_id).delivered == trip.request.net


def test_changenow_works_the_other_way_round(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow", BTC, ETH, Decimal("0.05"), ETH_ADDRESS)
    order = trip.placed()
    sandbox.twins["changenow"].configure({"deposits": {order.ref.service_order_id: "0.05"}})
    settled = trip.settled()
    assert Decimal(trip.delivered()["amount"]) == trip.request.net == settled.delivered


def test_binance_sells_and_withdraws(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    order = trip.placed()
    assert order.status is OrderStatus.FILLED
    assert trip.deliveries == []
    assert trip.next_step(order).status is OrderStatus.PAYING_OUT
    delivery = trip.delivered()
    settled = trip.settled(step_key=STEP_KEY)
    assert order.filled is not None
    assert Decimal(delivery["amount"]) == settled.delivered == order.filled - Decimal("0.0001")
    # The fee rule: a satoshi per fill may fall to rounding, in either direction.
    assert abs(Decimal(delivery["amount"]) - trip.request.net) <= Decimal("0.0000001")
    assert (delivery["reference"], delivery["txid"]) == (STEP_KEY, settled.txid)
    assert (len(trip.executed("order")), len(trip.executed("withdraw"))) == (1, 1)


def test_binance_buys_and_withdraws(sandbox: Sandbox) -> None:
    """On a market that stands still, what was quoted is bought, and for no more than the amount."""
    for amount in ("0.05", "0.31", "1.7"):
        trip = Trip(sandbox, "binance", BTC, ETH, Decimal(amount), ETH_ADDRESS)
        trip.quoted()
        trip.request = replace(trip.request, key=f"{KEY}-{amount.replace('.', '')}")
        order = trip.service.place_order(trip.request, soon())
        assert order.status is OrderStatus.FILLED
        (row,) = [row for row in trip.executed("order") if row["reference"] == trip.request.key]
        assert row["side"] == "BUY"
        assert Decimal(row["quote_qty"]) <= trip.amount
        assert order.filled == trip.request.net + Decimal("0.0008")
    trip.next_step(order)
    assert Decimal(trip.delivered()["amount"]) == trip.request.net == trip.settled(step_key=STEP_KEY).delivered


def test_btcpay_pays_on_chain_after_approval(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    order = trip.placed()
    assert order.status is OrderStatus.AWAITING_APPROVAL
    assert (trip.executed("approve"), trip.deliveries) == ([], [])
    assert trip.next_step(order).status is OrderStatus.PAYING_OUT
    settled = trip.settled()
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert (delivery["reference"], delivery["txid"]) == (KEY, settled.txid)
    assert (delivery["from_coin"], delivery["from_amount"]) == ("ETH", "1.5")
    assert (len(trip.executed("order")), len(trip.executed("approve"))) == (1, 1)


def test_btcpay_pays_an_open_invoice_over_lightning(sandbox: Sandbox) -> None:
    sandbox.twins["btcpay_lightning"].configure({"invoice": "open"})
    (invoice,) = sandbox.twins["btcpay_lightning"].describe()["invoices"]
    trip = Trip(sandbox, "btcpay_lightning", to_asset=LIGHTNING, address=invoice)
    order = trip.placed()
    trip.next_step(order)
    settled = trip.settled()
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert settled.txid == delivery["txid"]
    assert len(settled.txid) == 64


def test_every_twin_is_fit_for_use_and_a_dead_one_is_not(sandbox: Sandbox) -> None:
    for service_id in SERVICES:
        trip = Trip(sandbox, service_id)
        trip.service.check_health(soon())
        trip.fault("down")
        with pytest.raises(ServiceUnavailable):
            trip.service.check_health(soon())


def test_a_wrong_key_is_an_authentication_failure(sandbox: Sandbox) -> None:
    for service_id, (kind, keys, options) in SERVICES.items():
        wrong = dict.fromkeys(keys, "wrongKeyWrongKeyWrongKey")
        service = kind(ServiceSettings(f"{sandbox.url}/{service_id}", wrong, options), SystemClock())
        with pytest.raises(AuthenticationFailed):
            service.quote(QuoteRequest(ETH, BTC, AMOUNT), soon())


# --- Every executing call, every way to lose its answer --------------------------------------------------------------


@pytest.mark.parametrize("kind", AFTER)
@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_what_was_executed_without_an_answer_is_found(
    sandbox: Sandbox, service_id: str, operation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = Trip(sandbox, service_id)

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
    if operation == "withdraw":
        trip.delivered()  # the history may be read once in seven seconds, so it had better be there
    found = trip.found(step_key=None if operation == "order" else STEP_KEY)
    assert found is not None
    kinds = {"approve": OperationKind.APPROVAL, "withdraw": OperationKind.WITHDRAWAL}
    assert step_done(kinds.get(operation, OperationKind.ORDER), found.status)
    assert found.status not in (OrderStatus.REJECTED, OrderStatus.HELD)
    assert len(trip.executed(operation)) == 1


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_what_was_not_executed_without_an_answer_is_not_found(
    sandbox: Sandbox, service_id: str, operation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip = Trip(sandbox, service_id)

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
    expected = {"order": None, "withdraw": OrderStatus.FILLED, "approve": OrderStatus.AWAITING_APPROVAL}[operation]
    assert (found and found.status) == expected
    assert trip.executed(operation) == []
    assert trip.deliveries == []


@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_a_documented_no_is_proof_and_nothing_was_executed(sandbox: Sandbox, service_id: str, operation: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("refuse", operation)
    order, error = trip.tried(operation)
    assert order is None
    assert isinstance(error, ServiceRejected)
    assert policy_of(error).outcome is Outcome.NOT_EXECUTED
    assert trip.executed(operation) == []
    if operation == "approve":
        assert len(trip.executed("cancel")) == 1
        found = trip.found()
        assert found is not None
        assert found.status is OrderStatus.REJECTED


@pytest.mark.parametrize(("service_id", "operation"), STEPS)
def test_a_limit_is_proof_and_tells_when_to_come_again(sandbox: Sandbox, service_id: str, operation: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("429", operation, retry_after_s=7)
    _, error = trip.tried(operation)
    assert isinstance(error, RateLimited)
    assert (error.retry_after, policy_of(error).outcome) == (7, Outcome.NOT_EXECUTED)
    assert trip.executed(operation) == []


@pytest.mark.parametrize("factor", ["0.9", "1.1"])
@pytest.mark.parametrize(("service_id", "operation"), [step for step in STEPS if step[1] != "withdraw"])
def test_a_wrong_amount_is_a_mismatch(sandbox: Sandbox, service_id: str, operation: str, factor: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.arm = lambda: trip.fault("wrong_amount", operation, factor=factor)
    _, error = trip.tried(operation)
    assert isinstance(error, IntegrityMismatch)
    assert policy_of(error).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_slow_answer_in_good_order_is_waited_for(sandbox: Sandbox, service_id: str) -> None:
    """The deadline is for sending; what has left is waited for longer."""
    trip = Trip(sandbox, service_id)
    trip.quoted()
    trip.service.quote(QuoteRequest(ETH, BTC, AMOUNT), soon())
    trip.fault("latency", "order", latency_ms=1200)
    order = trip.service.place_order(trip.request, Deadline.after(1))
    assert order.ref.service_order_id


@pytest.mark.parametrize("service_id", SERVICES)
def test_a_refused_connection_leaves_no_trace(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.quoted()
    sandbox.stop()
    with pytest.raises(ServiceError) as caught:
        trip.service.place_order(trip.request, soon())
    assert type(caught.value) is ServiceUnavailable
    sandbox.start()
    assert trip.found() is None
    assert trip.executed("order") == []


# --- ChangeNOW's own -------------------------------------------------------------------------------------------------


def test_changenow_an_order_of_another_conversion_is_never_taken(sandbox: Sandbox) -> None:
    """Same address, same amount, minutes apart: ours never arrived, and the other's deposit would be paid twice."""
    trip = Trip(sandbox, "changenow")
    trip.placed()
    for row in sandbox.twins["changenow"]._orders:
        row.user_id, row.payload = None, None
    trip.request = replace(trip.request, key="rt7h2m-of-another")
    assert trip.found() is None


def test_changenow_a_closed_list_is_no_absence(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    trip.placed()
    sandbox.twins["changenow"].configure({"enabled_private_list": False})
    with pytest.raises(AuthenticationFailed):
        trip.found()


def test_changenow_a_rate_of_another_amount_is_gone(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    request = replace(trip.quoted(), amount=Decimal("1.6"))
    with pytest.raises(QuoteExpired):
        trip.service.place_order(request, soon())
    assert trip.executed("order") == []


def test_changenow_an_unknown_id_is_an_absence(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    trip.quoted()
    assert trip.found(service_order_id="00000000000000") is None


@pytest.mark.parametrize(
    ("ending", "status"),
    [("refunded", OrderStatus.REFUNDED), ("failed", OrderStatus.HELD), ("verifying", OrderStatus.HELD)],
)
def test_changenow_other_endings_are_told(
    sandbox: Sandbox, wallet: EvmWallet, ending: str, status: OrderStatus
) -> None:
    sandbox.twins["changenow"].configure({"ending": ending})
    trip = Trip(sandbox, "changenow")
    order = trip.placed()
    pay(wallet, order)
    eventually(lambda: (found := trip.found()) is not None and found.status is status)
    assert trip.deliveries == []


def test_changenow_an_order_that_is_never_funded_expires(sandbox: Sandbox) -> None:
    sandbox.twins["changenow"].configure({"ending": "expired"})
    trip = Trip(sandbox, "changenow")
    trip.placed()
    eventually(lambda: (found := trip.found()) is not None and found.status is OrderStatus.EXPIRED)


# --- Binance's own ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pair", "price"), [((ETH, BTC), "3060"), ((BTC, ETH), "3434")], ids=["selling", "buying"])
def test_binance_a_moved_market_refuses_the_whole_order(sandbox: Sandbox, pair: Any, price: str) -> None:
    address = ADDRESS if pair[1] is BTC else ETH_ADDRESS
    trip = Trip(sandbox, "binance", *pair, Decimal("0.7"), address)
    trip.quoted()
    before = sandbox.twins["binance"].describe()["balances"]
    sandbox.market.configure({"prices": {"ETH": price}})
    with pytest.raises(QuoteExpired) as caught:
        trip.service.place_order(trip.request, soon())
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    (row,) = trip.executed("order")
    assert Decimal(row["executed_qty"]) == 0
    assert sandbox.twins["binance"].describe()["balances"] == before
    found = trip.found()
    assert found is not None
    assert found.status is OrderStatus.REJECTED


def test_binance_a_market_that_moved_within_the_bound_is_taken(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    trip.quoted()
    sandbox.market.configure({"prices": {"ETH": "3350"}})
    order = trip.service.place_order(trip.request, soon())
    trip.next_step(order)
    delivered = Decimal(trip.delivered()["amount"])
    assert trip.request.minimum_net <= delivered < trip.request.net


def test_binance_the_same_order_again_would_trade_again(sandbox: Sandbox) -> None:
    """Why an unknown order is looked up and never re-sent; the rule says so."""
    trip = Trip(sandbox, "binance")
    trip.placed()
    trip.service.place_order(trip.request, soon())
    assert len(trip.executed("order")) == 2
    assert not Binance.capabilities.rules[OperationKind.ORDER].repeat_recognised
    assert not Binance.capabilities.rules[OperationKind.WITHDRAWAL].repeat_recognised


def test_binance_a_fresh_order_may_be_hidden_for_a_moment(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    trip.placed()
    sandbox.twins["binance"].configure({"hide_lookups": 1})
    assert trip.found() is None
    found = trip.found()
    assert found is not None
    assert found.status is OrderStatus.FILLED
    assert Binance.capabilities.rules[OperationKind.ORDER].absences == 2


def test_binance_a_clock_that_is_off_is_measured_and_measured_again(sandbox: Sandbox) -> None:
    twin = sandbox.twins["binance"]
    twin.configure({"clock_offset_ms": 40_000})
    trip = Trip(sandbox, "binance")
    trip.quoted()
    twin.configure({"clock_offset_ms": -40_000})
    with pytest.raises(ServiceUnavailable) as caught:
        trip.service.place_order(trip.request, soon())
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert trip.executed("order") == []
    assert trip.service.place_order(trip.request, soon()).status is OrderStatus.FILLED


def test_binance_a_request_that_arrives_late_is_refused_by_the_service(sandbox: Sandbox) -> None:
    """The quiet period rests on this: what is older than `recvWindow` is not executed."""

    class Late(SystemClock):
        def now(self) -> datetime:
            return datetime.now(UTC) - late

    late = timedelta(0)
    trip = Trip(sandbox, "binance")
    kind, keys, options = SERVICES["binance"]
    trip.service = kind(ServiceSettings(f"{sandbox.url}/binance", keys, options), Late())
    trip.quoted()
    late = timedelta(seconds=5.5)
    with pytest.raises(ServiceUnavailable, match="-1021"):
        trip.service.place_order(trip.request, soon())
    assert trip.executed("order") == []


def test_binance_closed_withdrawals_refuse_the_next_step(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    order = trip.placed()
    sandbox.twins["binance"].configure({"withdraw_enabled": {"BTC": False}})
    with pytest.raises(ServiceRejected) as caught:
        trip.next_step(order)
    assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
    assert trip.executed("withdraw") == []


@pytest.mark.parametrize("ending", ["rejected", "failed", "cancelled"])
def test_binance_a_returned_withdrawal_waits_for_a_person(sandbox: Sandbox, ending: str) -> None:
    sandbox.twins["binance"].configure({"withdraw_ending": ending})
    trip = Trip(sandbox, "binance")
    trip.next_step(trip.placed())
    eventually(lambda: not sandbox.twins["binance"].describe()["open_withdrawals"])
    found = trip.found(step_key=STEP_KEY)
    assert found is not None
    assert (found.status, ending in found.detail) == (OrderStatus.HELD, True)
    assert trip.deliveries == []


def test_binance_a_withdrawal_made_by_hand_is_not_taken_for_ours(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    order = trip.placed()
    by_hand = {"coin": "BTC", "network": "BTC", "address": ADDRESS, "amount": "0.5", "walletType": "0"}
    call = trip.service._signed("withdraw", "POST", "/sapi/v1/capital/withdraw/apply", by_hand, soon())
    trip.service._execute(call, soon())
    found = trip.found(step_key=STEP_KEY)
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, order.filled)


def test_binance_too_little_in_the_account_is_a_refusal(sandbox: Sandbox) -> None:
    sandbox.twins["binance"].configure({"balances": {"ETH": "1.4"}})
    trip = Trip(sandbox, "binance")
    with pytest.raises(ServiceRejected, match="-2010"):
        trip.placed()
    assert trip.executed("order") == []


# --- BTCPay's own ----------------------------------------------------------------------------------------------------


def test_btcpay_approving_again_pays_once(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    order = trip.placed()
    for _ in range(3):
        assert step_done(OperationKind.APPROVAL, trip.next_step(order).status)
    trip.settled()
    assert trip.next_step(order).status is OrderStatus.SETTLED
    assert len(trip.executed("approve")) == 1
    trip.delivered()


def test_btcpay_two_approvals_at_once_pay_once(sandbox: Sandbox) -> None:
    """The second one was read before the first was executed, and is answered `invalid-state`."""
    trip = Trip(sandbox, "btcpay_lightning")
    order = trip.placed()
    path = f"/payouts/{order.ref.service_order_id}"
    late = trip.service._call("approve", "POST", path, content={"revision": 0})
    trip.next_step(order)
    with pytest.raises(OutcomeUnknown):
        trip.service._execute(late, soon())
    trip.settled()
    trip.delivered()


def test_btcpay_a_second_payout_to_the_same_place_proves_nothing(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    trip.placed()
    trip.request = replace(trip.request, key="rt7h2m-2")
    with pytest.raises(OutcomeUnknown):
        trip.service.place_order(trip.request, soon())
    assert trip.found() is None
    assert len(trip.executed("order")) == 1


def test_btcpay_a_payout_cancelled_before_its_approval_is_rejected(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    order = trip.placed()
    cancel = trip.service._call("cancel", "DELETE", f"/payouts/{order.ref.service_order_id}")
    trip.service._execute(cancel, soon())
    for found in (trip.found(), trip.next_step(order)):
        assert found is not None
        assert found.status is OrderStatus.REJECTED
    assert trip.deliveries == []


def test_btcpay_a_payout_cancelled_by_the_processor_is_told(sandbox: Sandbox) -> None:
    sandbox.twins["btcpay_lightning"].configure({"ending": "cancelled"})
    trip = Trip(sandbox, "btcpay_lightning")
    trip.next_step(trip.placed())
    eventually(lambda: (found := trip.found()) is not None and found.status is OrderStatus.REJECTED)
    assert trip.deliveries == []


def test_btcpay_an_empty_wallet_makes_no_offer(sandbox: Sandbox) -> None:
    sandbox.twins["btcpay_lightning"].configure({"balance": "0.01", "lightning_balance": "0.01"})
    for to_asset in (BTC, LIGHTNING):
        with pytest.raises(ServiceRejected):
            Trip(sandbox, "btcpay_lightning", to_asset=to_asset).quoted()


def test_btcpay_an_invoice_with_an_amount_of_its_own_is_refused(sandbox: Sandbox) -> None:
    sandbox.twins["btcpay_lightning"].configure({"invoice": "0.5"})
    (invoice,) = sandbox.twins["btcpay_lightning"].describe()["invoices"]
    trip = Trip(sandbox, "btcpay_lightning", to_asset=LIGHTNING, address=invoice)
    with pytest.raises(ServiceRejected):
        trip.placed()
    assert trip.executed("order") == []


def test_btcpay_a_rate_that_fell_refuses_before_anything_is_created(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    trip.quoted()
    sandbox.market.configure({"prices": {"ETH": "3000"}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(trip.request, soon())
    assert trip.executed("order") == []
