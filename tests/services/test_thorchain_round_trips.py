"""THORChain against its twin in the real sandbox: our own wallets pay the vaults on the coins' chains, with memos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import Order, OrderStatus
from converter.domain.quotes import QuoteRequest
from converter.domain.transfers import Payment
from converter.sandbox import credentials
from converter.sandbox.server import Sandbox
from converter.services.base import ServiceSettings
from converter.services.thorchain import STUCK, ThorChain
from converter.wallets.bitcoind import BitcoindWallet
from converter.wallets.evm import EvmNetwork, EvmWallet
from tests.services import test_round_trips as trips
from tests.services.test_round_trips import ADDRESS, AMOUNT, BTC, ETH, ETH_ADDRESS, SystemClock, eventually, soon

LTC, DOGE, BCH = Asset("LTC", "LTC", 8), Asset("DOGE", "DOGE", 8), Asset("BCH", "BCH", 8)
USDT, XMR = Asset("USDT", "ETH", 6), Asset("XMR", "XMR", 12)
CASH = "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"

PAIRS = (
    (ETH, BTC, AMOUNT, ADDRESS),
    (LTC, BTC, Decimal("20.12345678"), ADDRESS),
    (DOGE, ETH, Decimal(20_000), ETH_ADDRESS),
    (BTC, ETH, Decimal("0.05"), ETH_ADDRESS),
    (BTC, USDT, Decimal("0.05"), ETH_ADDRESS),
    (BCH, BTC, Decimal(3), ADDRESS),
    (ETH, BCH, AMOUNT, CASH),
    (LTC, BCH, Decimal(20), f"bitcoincash:{CASH}"),
)


@dataclass
class Trip(trips.Trip):
    """A conversion by THORChain, whose deposit a real wallet pays."""

    service_id: str = "thorchain"
    seen: dict[str, Any] = field(default_factory=dict)
    """What the ledger would know: the deposit asked for, and our payment of it."""

    def another_service(self, clock: Any = None) -> ThorChain:
        return ThorChain(ServiceSettings(f"{self.sandbox.url}/thorchain", {}), clock or SystemClock())

    @property
    def twin(self) -> Any:
        return self.sandbox.twins["thorchain"]

    def wallet(self) -> Any:
        coin, url = self.from_asset.coin, self.sandbox.url
        if coin == "ETH":
            return EvmWallet(f"{url}/evm", credentials.EVM_WALLET_KEY, EvmNetwork("ETH", credentials.EVM_CHAIN_ID, 1))
        login = f"{credentials.BITCOIND_USER}:{credentials.BITCOIND_PASSWORD}"
        return BitcoindWallet(f"{url}/{coin.lower()}", login, coin, 1, Decimal(10) if coin == "DOGE" else None)

    def placed(self) -> Order:
        order = super().placed()
        self.seen = {"deposit": order.deposit}
        return order

    def paid(self) -> str:
        """Pay the deposit as the ledger would have it paid."""
        deposit, wallet = self.seen["deposit"], self.wallet()
        payment = Payment(self.from_asset, deposit.address, deposit.amount, deposit.memo)
        nonce = wallet.account(soon())[2]
        transfer = wallet.sign(payment, nonce, wallet.prepare(payment, soon()))
        wallet.broadcast(transfer, soon())
        self.seen["deposit_txid"] = transfer.txid
        return str(transfer.txid)

    def reached(self, status: OrderStatus) -> Order:
        def look() -> Order | None:
            order = self.found(**self.seen)
            return order if order is not None and order.status is status else None

        order = eventually(look)
        assert isinstance(order, Order)
        return order

    def arrivals(self) -> list[tuple[str, Decimal]]:
        if self.to_asset == USDT:
            return self.sandbox.chain.received_token(self.address)
        chain = self.sandbox.chain if self.to_asset == ETH else self.sandbox.utxo[self.to_asset.coin]
        return chain.received(self.address)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        yield running
        assert running.problems == []


# --- From quote to payout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_asset", "to_asset", "amount", "address"), PAIRS, ids=str)
def test_a_deposit_with_the_memo_is_swapped_and_paid_out(
    sandbox: Sandbox, from_asset: Asset, to_asset: Asset, amount: Decimal, address: str
) -> None:
    trip = Trip(sandbox, from_asset=from_asset, to_asset=to_asset, amount=amount, address=address)
    order = trip.placed()
    assert (order.status, trip.executed("observed"), trip.deliveries) == (OrderStatus.AWAITING_DEPOSIT, [], [])
    trip.paid()
    settled = trip.reached(OrderStatus.SETTLED)
    assert settled.delivered is not None
    assert settled.delivered >= trip.request.minimum_net
    assert eventually(trip.arrivals) == [(settled.txid, settled.delivered)]
    (delivery,) = trip.deliveries
    assert (delivery["from_coin"], Decimal(delivery["from_amount"])) == (from_asset.coin, amount)
    assert len(trip.executed("observed")) == 1


def test_what_is_delivered_is_what_was_quoted_on_a_market_that_stands_still(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.placed()
    trip.paid()
    settled = trip.reached(OrderStatus.SETTLED)
    assert settled.delivered is not None
    assert abs(settled.delivered / trip.request.net - 1) < Decimal("0.001")


def test_a_deposit_is_asked_for_in_time_for_the_network_s_own_end(sandbox: Sandbox) -> None:
    order = Trip(sandbox).placed()
    assert order.deposit is not None
    assert order.deposit.valid_until is not None
    left = order.deposit.valid_until - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


def test_nothing_is_known_of_a_deposit_that_was_not_paid(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.placed()
    assert trip.found() is None
    trip.reached(OrderStatus.AWAITING_DEPOSIT)
    trip.seen["deposit_txid"] = "0x" + "ab" * 32
    trip.reached(OrderStatus.AWAITING_DEPOSIT)


# --- The price moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_asset", "amount"), [(ETH, AMOUNT), (LTC, Decimal(20))], ids=str)
def test_a_price_that_fell_after_the_memo_is_refunded_to_who_paid(
    sandbox: Sandbox, from_asset: Asset, amount: Decimal
) -> None:
    trip = Trip(sandbox, from_asset=from_asset, amount=amount)
    trip.placed()
    sandbox.market.configure({"prices": {from_asset.coin: "1"}})
    trip.paid()
    refunded = trip.reached(OrderStatus.REFUNDED)
    refund, wallet = refunded.refund, trip.wallet()
    assert refund is not None
    assert refund.amount is not None
    assert Decimal("0.9") * amount < refund.amount < amount
    assert eventually(lambda: wallet.received(from_asset, refund, soon())) == refund.amount
    assert (refunded.delivered, trip.deliveries) == (None, [])


def test_a_price_below_the_bound_is_refused_before_anything_is_paid(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    request = trip.quoted()
    sandbox.market.configure({"prices": {"ETH": "3000"}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(request, soon())


def test_a_price_that_moved_a_little_still_has_our_limit(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    request = trip.quoted()
    rate = sandbox.market.rate("ETH", "USDT")
    sandbox.market.configure({"prices": {"ETH": str(rate * Decimal("0.985"))}})
    order = trip.service.place_order(request, soon())
    assert order.deposit is not None
    limit = Decimal(order.deposit.memo.rpartition(":")[2]).scaleb(-8)
    assert request.minimum_net <= limit < request.net
    trip.seen = {"deposit": order.deposit}
    trip.paid()
    assert (trip.reached(OrderStatus.SETTLED).delivered or 0) >= request.minimum_net


def test_a_quote_that_is_too_good_gives_a_memo_that_is_refunded(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.fault("wrong_rate", factor="1.1")
    trip.quoted()
    trip.fault("wrong_rate", factor="1.1")
    trip.seen = {"deposit": trip.service.place_order(trip.request, soon()).deposit}
    trip.paid()
    trip.reached(OrderStatus.REFUNDED)
    assert trip.deliveries == []


# --- Vaults and halts ------------------------------------------------------------------------------------------------


def test_the_old_vault_is_watched_for_a_while_after_a_churn(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.placed()
    trip.twin.configure({"churn": True})
    trip.paid()
    trip.reached(OrderStatus.SETTLED)


def test_an_order_names_the_vault_of_the_moment(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, from_asset=LTC, amount=Decimal(20))
    first = trip.placed()
    trip.twin.configure({"churn": True})
    second = trip.placed()
    assert first.deposit is not None
    assert second.deposit is not None
    assert first.deposit.address != second.deposit.address


def test_a_deposit_to_a_vault_that_nobody_watches_is_never_called_arrived(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, from_asset=LTC, amount=Decimal(20))
    order = trip.placed()
    trip.twin.configure({"churn": True, "old_vault_ms": 0})
    paid = trip.paid()
    assert order.deposit is not None
    address = order.deposit.address
    assert eventually(lambda: sandbox.utxo["LTC"].received(address)) == [(paid, Decimal(20))]
    other = Trip(sandbox)
    other.placed()
    other.paid()
    other.reached(OrderStatus.SETTLED)  # so much later
    trip.reached(OrderStatus.AWAITING_DEPOSIT)


@pytest.mark.parametrize("shape", ["grpc", "old"])
@pytest.mark.parametrize(
    "setting", [{"halted": ["ETH"]}, {"halted": ["BTC"]}, {"paused": ["BTC"]}, {"global_paused": True}]
)
def test_a_halt_refuses_quotes_and_orders(sandbox: Sandbox, setting: dict[str, Any], shape: str) -> None:
    trip = Trip(sandbox)
    request = trip.quoted()
    trip.twin.configure({**setting, "error_shape": shape})
    with pytest.raises(ServiceRejected):
        trip.service.place_order(request, soon())
    with pytest.raises(ServiceRejected):
        trip.service.quote(QuoteRequest(ETH, BTC, AMOUNT), soon())


def test_a_halt_after_the_deposit_only_delays_it(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.placed()
    trip.twin.configure({"halted": ["ETH"]})
    trip.paid()
    address = trip.seen["deposit"].address
    eventually(lambda: sandbox.chain.received(address))
    trip.reached(OrderStatus.AWAITING_DEPOSIT)
    trip.twin.configure({"halted": [], "slow_outbound": True})
    planned = trip.reached(OrderStatus.PAYING_OUT)
    assert (planned.delivered, trip.deliveries) == (None, [])
    trip.twin.configure({"slow_outbound": False})
    trip.reached(OrderStatus.SETTLED)


# --- Other endings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "status"),
    [("refund", OrderStatus.REFUNDED), ("partial", OrderStatus.HELD), ("lost", OrderStatus.HELD)],
)
def test_other_endings_are_told(sandbox: Sandbox, ending: str, status: OrderStatus) -> None:
    trip = Trip(sandbox)
    trip.twin.configure({"ending": ending})
    trip.placed()
    trip.paid()
    trip.reached(status)


def test_a_deposit_that_is_not_observed_is_awaited(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)
    trip.twin.configure({"unseen": True})
    trip.placed()
    trip.paid()
    deposit = trip.seen["deposit"]
    eventually(lambda: sandbox.chain.received(deposit.address))
    trip.reached(OrderStatus.AWAITING_DEPOSIT)
    trip.twin.configure({"unseen": False})
    trip.reached(OrderStatus.SETTLED)


def test_a_deposit_of_another_payment_is_not_taken_for_ours(sandbox: Sandbox) -> None:
    first, second = (Trip(sandbox, amount=amount) for amount in (AMOUNT, AMOUNT * 2))
    first.placed()
    second.placed()
    first.paid()
    first.reached(OrderStatus.SETTLED)
    with pytest.raises(ServiceError, match="not ours"):
        second.found(**second.seen, deposit_txid=first.seen["deposit_txid"])


# --- Amounts, pairs, faults, health ----------------------------------------------------------------------------------


def test_too_little_is_refused_with_the_least(sandbox: Sandbox) -> None:
    for amount, told in (("0.002", True), ("0.00001", False), ("0.00000001", False)):
        with pytest.raises(AmountOutOfRange) as caught:
            Trip(sandbox, amount=Decimal(amount)).quoted()
        assert (caught.value.minimum is not None) is told


def test_what_has_no_pool_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(PairNotSupported):
        Trip(sandbox, from_asset=XMR).quoted()
    with pytest.raises(PairNotSupported):
        Trip(sandbox, from_asset=USDT, amount=Decimal(5000)).quoted()


@pytest.mark.parametrize(
    ("kind", "error"),
    [("429", RateLimited), ("down", ServiceUnavailable), ("5xx_before_execute", ServiceUnavailable)],
)
def test_a_gateway_s_trouble_is_told_and_no_order_is_made(
    sandbox: Sandbox, kind: str, error: type[ServiceError]
) -> None:
    trip = Trip(sandbox)
    request = trip.quoted()
    trip.fault(kind, "quote")
    with pytest.raises(error):
        trip.service.place_order(request, soon())
    trip.fault(kind, "info")
    with pytest.raises(error):
        trip.service.place_order(request, soon())
    trip.placed()
    trip.paid()
    trip.fault(kind, "status")
    with pytest.raises(error):
        trip.found(**trip.seen)
    trip.reached(OrderStatus.SETTLED)


def test_a_network_that_stands_still_is_not_fit_for_use(sandbox: Sandbox) -> None:
    class Clock(SystemClock):
        ahead = timedelta(0)

        def now(self) -> datetime:
            return super().now() + self.ahead

    trip, clock = Trip(sandbox), Clock()
    trip.twin.configure({"frozen": True})
    service = trip.another_service(clock)
    service.check_health(soon())
    clock.ahead = STUCK + timedelta(seconds=1)
    with pytest.raises(ServiceUnavailable):
        service.check_health(soon())
    trip.fault("down")
    with pytest.raises(ServiceUnavailable):
        trip.another_service().check_health(soon())
