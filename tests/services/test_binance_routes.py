"""Binance over a middle coin, against its twin: two trades and a withdrawal, each found again by its own key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AmountOutOfRange,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import Order, OrderStatus
from converter.domain.quotes import QuoteRequest
from converter.sandbox.server import Sandbox
from tests.services.test_round_trips import ADDRESS, STEP_KEY, Trip, eventually, soon

RVN, BTC, DOGE, LTC = (asset(coin) for coin in ("RVN", "BTC", "DOGE", "LTC"))
LTC_ADDRESS = "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"
TRADE_KEY = "rt7h2m-1t2"
PAIRS = {"buys the last coin": (RVN, BTC, "20000", ADDRESS), "sells for the middle": (DOGE, LTC, "9000", LTC_ADDRESS)}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20, services=["binance"]) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        yield running
        assert running.problems == []


@pytest.fixture
def trip(sandbox: Sandbox) -> Trip:
    return a_trip(sandbox, *PAIRS["buys the last coin"])


def a_trip(sandbox: Sandbox, from_asset: Asset, to_asset: Asset, amount: str, address: str) -> Trip:
    return Trip(sandbox, "binance", from_asset, to_asset, Decimal(amount), address)


def second(trip: Trip, order: Order) -> Order:
    return trip.service.advance_order(replace(order, ref=replace(order.ref, trade_key=TRADE_KEY)), soon())


def sides(trip: Trip) -> list[str]:
    return [row["symbol"] for row in trip.executed("order")]


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_two_trades_and_a_withdrawal_deliver_what_was_promised(
    sandbox: Sandbox, pair: tuple[Asset, Asset, str, str]
) -> None:
    trip = a_trip(sandbox, *pair)
    halfway = trip.placed()
    assert halfway.status is OrderStatus.HALFWAY
    filled = second(trip, halfway)
    assert filled.status is OrderStatus.FILLED
    trip.next_step(filled)
    delivered = Decimal(trip.delivered()["amount"])
    assert trip.request.minimum_net <= delivered
    assert delivered <= trip.request.net * Decimal("1.0001")
    settled = trip.settled(trade_key=TRADE_KEY, step_key=STEP_KEY)
    assert settled.delivered == delivered


def test_the_reference_tells_the_route_and_what_the_first_trade_should_bring(trip: Trip) -> None:
    order = trip.quoted()
    via, middle, expected = order.quote_reference.split(" ")
    assert (via, middle) == ("via", "USDT")
    halfway = trip.service.place_order(order, soon())
    assert halfway.filled is not None
    assert Decimal(expected) * Decimal("0.99") <= halfway.filled


def test_a_pair_that_exists_is_traded_at_once(sandbox: Sandbox) -> None:
    assert a_trip(sandbox, LTC, BTC, "20", ADDRESS).quoted().quote_reference == ""


def test_between_the_trades_the_order_is_found_halfway_with_the_middle_coin(trip: Trip) -> None:
    placed = trip.placed()
    found = trip.found()
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.HALFWAY, placed.filled)
    sought = trip.found(trade_key=TRADE_KEY)
    assert sought is not None
    assert sought.status is OrderStatus.HALFWAY


@pytest.mark.parametrize("kind", ["reset_after_execute", "timeout_after_execute", "5xx_after_execute"])
def test_a_second_trade_whose_answer_was_lost_is_found_by_its_own_key(trip: Trip, kind: str) -> None:
    halfway = trip.placed()
    more = {"latency_ms": 1000} if kind == "timeout_after_execute" else {}
    trip.fault(kind, "order", **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.services.base.ANSWER_WITHIN", 0.4)
        with pytest.raises(OutcomeUnknown):
            second(trip, halfway)

    def look() -> Order | None:
        seen = trip.found(trade_key=TRADE_KEY)
        return seen if seen is not None and seen.status is OrderStatus.FILLED else None

    found = eventually(look)
    assert found.ref.service_order_id == halfway.ref.service_order_id, "it is named by its first trade"
    trip.next_step(found)
    assert Decimal(trip.delivered()["amount"]) >= trip.request.minimum_net
    assert len(trip.executed("order")) == 2


@pytest.mark.parametrize("prices", [{"BTC": "90000000"}])
def test_a_market_that_moved_away_after_the_first_trade_leaves_the_order_halfway(
    trip: Trip, prices: dict[str, str]
) -> None:
    halfway = trip.placed()
    trip.sandbox.market.configure({"prices": prices})
    with pytest.raises((QuoteExpired, ServiceRejected)):
        second(trip, halfway)
    found = trip.found(trade_key=TRADE_KEY)
    assert found is not None
    assert found.status is OrderStatus.HALFWAY


def test_a_moved_market_refuses_the_first_trade(trip: Trip) -> None:
    trip.quoted()
    trip.sandbox.market.configure({"prices": {"RVN": "0.001"}})
    with pytest.raises(QuoteExpired):
        trip.service.place_order(trip.request, soon())
    found = trip.found()
    assert found is not None
    assert found.status is OrderStatus.REJECTED


def test_a_small_amount_is_refused_with_the_limit_in_its_own_coin(trip: Trip) -> None:
    with pytest.raises(AmountOutOfRange) as caught:
        trip.service.quote(QuoteRequest(RVN, BTC, Decimal(600)), soon())
    least = caught.value.minimum
    assert least is not None
    assert trip.service.quote(QuoteRequest(RVN, BTC, least * Decimal("1.01")), soon()).net > 0


def test_a_reference_of_no_route_is_refused_before_anything_is_sent(trip: Trip) -> None:
    order = replace(trip.quoted(), quote_reference="via XYZ 12")
    with pytest.raises(ServiceRejected):
        trip.service.place_order(order, soon())
    assert trip.executed("order") == []


def test_what_has_no_network_there_is_not_supported(trip: Trip) -> None:
    with pytest.raises(PairNotSupported):
        trip.service.quote(QuoteRequest(RVN, asset("BTC", "LIGHTNING"), Decimal(20000)), soon())


def test_near_the_limit_of_weight_quotes_are_not_asked_and_orders_still_go_out(trip: Trip) -> None:
    order = trip.quoted()
    trip.service._quiet_until = time.monotonic() + 30
    with pytest.raises(RateLimited):
        trip.service.quote(QuoteRequest(RVN, BTC, Decimal(20000)), soon())
    assert trip.service.place_order(order, soon()).status is OrderStatus.HALFWAY


def test_after_a_429_no_quote_is_asked_until_the_service_wants_one(trip: Trip) -> None:
    trip.quoted()
    trip.fault("429", "quote", retry_after_s=30)
    with pytest.raises(RateLimited):
        trip.service.quote(QuoteRequest(RVN, BTC, Decimal(20000)), soon())
    with pytest.raises(RateLimited) as caught:
        trip.service.quote(QuoteRequest(RVN, BTC, Decimal(20000)), soon())
    assert caught.value.code == "own limit"
    assert 0 < (caught.value.retry_after or 0) <= 30


def test_the_account_is_read_to_check_the_keys(trip: Trip) -> None:
    trip.service.check_credentials(soon())
    trip.fault("down")
    with pytest.raises(ServiceUnavailable):
        trip.service.check_credentials(soon())


def test_more_than_one_order_may_take_is_refused_with_the_limit(sandbox: Sandbox) -> None:
    trip = a_trip(sandbox, RVN, BTC, "200000", ADDRESS)
    request = QuoteRequest(trip.from_asset, trip.to_asset, trip.amount)
    with pytest.raises(AmountOutOfRange) as caught:
        trip.service.quote(request, soon())
    most = caught.value.maximum
    assert most is not None
    assert trip.service.quote(replace(request, amount=most), soon()).net > 0
