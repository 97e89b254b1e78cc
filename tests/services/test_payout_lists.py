"""The services' own lists of what they paid, against their twins: nothing more, nothing less, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest

from converter.domain.errors import AuthenticationFailed, MalformedResponse, ServiceRejected
from converter.domain.orders import NEXT_STEP, OperationKind, Order
from converter.domain.payouts import Payout, PayoutState
from converter.ports import PayoutList
from converter.sandbox.server import Sandbox
from converter.sandbox.twins import kraken_auth
from converter.services import REGISTRY
from converter.services.lists import Page, Row, gathered, state_of
from tests.services.test_new_round_trips import Trip, fund
from tests.services.test_round_trips import ADDRESS, BTC, ETH, ETH_ADDRESS, eventually, soon

LISTING = ("binance", "btcpay_lightning", "changenow", "coingate", "coinpayments", "kraken", "simpleswap")
BY_STEP_KEY, BY_KEY = ("binance",), ("btcpay_lightning", "changenow", "coingate", "coinpayments")
FAILURES = {
    "binance": {"withdraw_ending": "rejected"},
    "changenow": {"ending": "failed"},
    "coingate": {"ending": "failed"},
    "coinpayments": {"ending": "failed"},
    "kraken": {"withdraw_ending": "canceled"},
    "simpleswap": {"ending": "failed"},
}
"""Service -> a setting with which its payouts come to nothing."""
BEGAN = timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def speed() -> float:
    return 20


@pytest.fixture
def sandbox(speed: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Calls at Kraken are counted off at once: these tests look far more often than anybody may."""
    quick = {tier: ("10000", engine) for tier, (_, engine) in kraken_auth._DECAYS.items()}
    monkeypatch.setattr(kraken_auth, "_DECAYS", quick)
    with Sandbox(speed=speed) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        saved = {"pool": {"asset": "XBT", "address": ADDRESS}, "other": {"asset": "ETH", "address": ETH_ADDRESS}}
        running.twins["kraken"].configure({"withdraw_keys": saved})
        yield running
        assert running.problems == []


def ordered(trip: Trip, number: int) -> Order:
    """A new order under a key of its own, which moves nothing yet, or has been filled."""
    key = f"lst{number}k-1"
    trip.request = replace(trip.quoted(), key=key)
    order: Order = trip.service.place_order(trip.request, soon())
    return replace(order, ref=replace(order.ref, step_key=f"{key}s2"))


def set_going(trip: Trip, order: Order) -> None:
    """Take its next step: approve, withdraw, or pay the deposit."""
    if NEXT_STEP[order.status] is OperationKind.DEPOSIT:
        fund(trip.sandbox, order)
    else:
        trip.service.advance_order(order, soon())


def paid(trip: Trip, number: int) -> Order:
    """The number-th conversion of a test, delivered."""
    order = ordered(trip, number)
    set_going(trip, order)
    eventually(lambda: len(trip.deliveries) == number)
    return order


def listed(trip: Trip, since: datetime | None = None) -> list[Payout]:
    """By somebody who knows nothing yet."""
    rows: list[Payout] = trip.another_service().payouts(since or datetime.now(UTC) - BEGAN, soon())
    return rows


def all_paid(trip: Trip, count: int) -> list[Payout]:
    def look() -> list[Payout]:
        rows = listed(trip)
        return rows if len(rows) == count and {row.state for row in rows} == {PayoutState.PAID} else []

    rows: list[Payout] = eventually(look)
    return rows


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_who_keeps_a_list_says_so(sandbox: Sandbox, service_id: str) -> None:
    service = Trip(sandbox, service_id).service
    assert isinstance(service, PayoutList) is (service_id in LISTING)
    assert service_id not in LISTING or service.lists is True


@pytest.mark.parametrize("service_id", LISTING)
def test_a_list_shows_what_was_paid_with_our_key_where_it_travels(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    assert listed(trip) == []
    order = paid(trip, 1)
    (row,), delivery = all_paid(trip, 1), trip.delivered()
    assert (row.service_id, row.coin, row.address) == (service_id, "BTC", ADDRESS)
    assert (row.amount, row.txid) == (Decimal(delivery["amount"]), delivery["txid"])
    keys = {**dict.fromkeys(BY_STEP_KEY, order.ref.step_key), **dict.fromkeys(BY_KEY, order.ref.request.key)}
    assert row.reference == keys.get(service_id, "")
    assert delivery["order_id"] in row.order_id
    if order.status in NEXT_STEP and NEXT_STEP[order.status] is not OperationKind.WITHDRAWAL:
        assert row.order_id == order.ref.service_order_id, "the ledger knows it by this"
    assert row.at is not None
    assert abs(datetime.now(UTC) - row.at) < BEGAN


@pytest.mark.parametrize("service_id", LISTING)
def test_what_nobody_set_going_is_on_no_list(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    if service_id == "coinpayments":
        (wallet,) = (one for one in trip.twin.wallets if one.currency.symbol == "BTC")
        sandbox.utxo["BTC"].pay(wallet.address, Decimal("0.5"))  # what comes in is no payment
        eventually(lambda: list(trip.twin.spends))
    ordered(trip, 1)
    assert listed(trip) == []


@pytest.mark.parametrize("speed", [0.5])
@pytest.mark.parametrize("service_id", LISTING)
def test_a_payment_on_its_way_is_on_the_list_before_it_is_paid(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    set_going(trip, ordered(trip, 1))
    eventually(lambda: is_moving(trip))
    (row,) = listed(trip)
    assert (row.state, row.txid, trip.deliveries) == (PayoutState.UNDER_WAY, "", [])


def is_moving(trip: Trip) -> bool:
    """Whether the twin has seen the deposit, where it waits for one."""
    orders = {"changenow": "_orders", "simpleswap": "orders"}.get(trip.service_id)
    return orders is None or all(order.status not in ("new", "waiting") for order in getattr(trip.twin, orders))


@pytest.mark.parametrize("service_id", sorted(FAILURES))
def test_what_came_to_nothing_is_told_as_failed(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    trip.twin.configure(FAILURES[service_id])
    set_going(trip, ordered(trip, 1))
    (row,) = eventually(lambda: [row for row in listed(trip) if row.state is not PayoutState.UNDER_WAY])
    assert (row.state, trip.deliveries) == (PayoutState.FAILED, [])


def test_a_payout_of_btcpay_that_was_cancelled_after_its_approval_proves_nothing(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "btcpay_lightning")
    trip.twin.configure({"ending": "cancelled"})
    set_going(trip, ordered(trip, 1))
    (row,) = eventually(lambda: [row for row in listed(trip) if row.state is not PayoutState.UNDER_WAY])
    assert (row.state, row.reference) == (PayoutState.UNKNOWN, trip.request.key)


@pytest.mark.parametrize("service_id", LISTING)
def test_what_was_before_is_not_listed(sandbox: Sandbox, service_id: str) -> None:
    trip = Trip(sandbox, service_id)
    paid(trip, 1)
    all_paid(trip, 1)
    assert listed(trip, datetime.now(UTC) + timedelta(seconds=2)) == []


@pytest.mark.parametrize("service_id", LISTING)
def test_a_list_of_several_pages_is_read_to_its_end_and_each_row_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, service_id: str
) -> None:
    trip, module = Trip(sandbox, service_id), import_module(f"converter.services.{service_id}_lists")
    count, page = (4, 3) if service_id == "kraken" else (3, 2)
    for number in range(1, count + 1):
        paid(trip, number)
    if service_id == "kraken":  # its pages go by whole seconds, of which one may lie on two pages
        newest = int(datetime.now(UTC).timestamp())
        for row, ago in zip(trip.twin.funding._all, (20, 20, 15, 10), strict=True):
            row.time = newest - ago
    if service_id != "btcpay_lightning":  # one answer, without pages
        monkeypatch.setattr(module, "PAGE", page)
        monkeypatch.setattr(module, "SHORT", 1, raising=False)
    rows = all_paid(trip, count)
    assert len({row.order_id for row in rows}) == count
    assert {row.txid for row in rows} == {delivery["txid"] for delivery in trip.deliveries}
    if service_id != "btcpay_lightning":
        monkeypatch.setattr(module, "PAGES", 1)
        with pytest.raises(MalformedResponse, match="longer than 1 pages"):
            listed(trip)


@pytest.mark.parametrize("service_id", ["binance", "kraken"])
def test_what_is_too_long_ago_to_be_shown_is_refused(sandbox: Sandbox, service_id: str) -> None:
    with pytest.raises(ServiceRejected, match="90 days"):
        listed(Trip(sandbox, service_id), datetime.now(UTC) - timedelta(days=90))


def test_a_second_payment_under_one_key_is_a_second_row(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "binance")
    order = paid(trip, 1)
    assert order.filled is not None
    trip.service.advance_order(replace(order, filled=order.filled / 2), soon())
    first, second = all_paid(trip, 2)
    assert first.reference == second.reference == order.ref.step_key
    assert first.order_id != second.order_id


def test_a_further_deposit_to_changenow_is_a_second_row_with_the_same_key(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    fund(sandbox, paid(trip, 1))
    first, second = all_paid(trip, 2)
    assert first.reference == second.reference == trip.request.key
    assert first.order_id != second.order_id


def test_changenow_lists_an_old_order_that_pays_only_now(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    order = ordered(trip, 1)
    (twins_order,) = trip.twin._orders
    twins_order.created -= 3600
    fund(sandbox, order)
    (row,) = all_paid(trip, 1)
    assert row.order_id == order.ref.service_order_id


def test_changenow_keeps_no_list_without_a_private_key(sandbox: Sandbox) -> None:
    trip = Trip(sandbox, "changenow")
    public = {name: key for name, key in trip.service._settings.keys.items() if name != "private_key"}
    service = trip.another_service(public)
    assert service.lists is False
    with pytest.raises(AuthenticationFailed, match="no private key"):
        service.payouts(datetime.now(UTC) - BEGAN, soon())


def test_coinpayments_tells_no_amount_in_a_unit_that_is_not_clear_and_no_coin_that_may_be_another(
    sandbox: Sandbox,
) -> None:
    trip = Trip(sandbox, "coinpayments", BTC, ETH, Decimal("0.05"), ETH_ADDRESS)
    trip.twin.configure({"amount_unit": "smallest"})
    paid(trip, 1)
    (row,) = all_paid(trip, 1)
    assert (row.coin, row.amount, row.reference) == ("", None, trip.request.key)


# --- Pages -----------------------------------------------------------------------------------------------------------


def a_row(number: int, second: float | None) -> Row:
    at = None if second is None else START + timedelta(seconds=second)
    payout = Payout("any", "", str(number), "BTC", Decimal(1), "somewhere", "", at, PayoutState.PAID)
    return Row(str(number), at, payout)


def pages(*rows: list[Row], read: list[int] | None = None) -> Iterator[Page]:
    for number, page in enumerate(rows, 1):
        if read is not None:
            read.append(number)
        yield page, number == len(rows)


def numbers(payouts: list[Payout]) -> list[str]:
    return [payout.order_id for payout in payouts]


def test_reading_ends_where_a_whole_page_of_a_list_from_new_to_old_is_older_than_asked_for() -> None:
    read: list[int] = []
    told = pages([a_row(4, 40), a_row(3, 10)], [a_row(2, 9), a_row(1, 8)], [a_row(0, 0)], read=read)
    assert numbers(gathered("any", told, START + timedelta(seconds=20), 5)) == ["4"]
    assert read == [1, 2]


def test_rows_of_one_moment_tell_no_direction() -> None:
    told = pages([a_row(1, 10), a_row(2, 10)], [a_row(3, 40)])
    assert numbers(gathered("any", told, START + timedelta(seconds=20), 5)) == ["3"]
    assert numbers(gathered("any", pages([a_row(1, 10)], [a_row(2, 40)]), START + timedelta(seconds=20), 5)) == ["2"]


@pytest.mark.parametrize("rows", [[1, 2, 3, 4, 5, 6], [6, 1, 5, 2, 4, 3], [5, 1, 6, 2, 4, 3]])
def test_a_list_in_any_other_order_is_read_to_its_end(rows: list[int]) -> None:
    told = [[a_row(number, number * 10) for number in rows[start : start + 2]] for start in (0, 2, 4)]
    found = gathered("any", pages(*told), START + timedelta(seconds=40), 3)
    assert sorted(numbers(found)) == ["4", "5", "6"]


def test_a_row_without_a_moment_is_always_on_the_list_and_ends_nothing() -> None:
    told = pages([a_row(3, 30), a_row(2, None)], [a_row(1, -10)], [a_row(0, 40)])
    assert numbers(gathered("any", told, START, 5)) == ["3", "2", "0"]


def test_rows_that_move_to_the_next_page_while_it_is_read_count_once() -> None:
    told = pages([a_row(3, 30), a_row(2, 20)], [a_row(2, 20), a_row(1, 10)])
    assert numbers(gathered("any", told, START, 5)) == ["3", "2", "1"]


def test_a_page_that_brings_nothing_new_is_not_the_end() -> None:
    same = [a_row(2, 20), a_row(1, 10)]
    with pytest.raises(MalformedResponse, match="do not go on"):
        gathered("any", pages(same, same, []), START, 5)


def test_half_a_list_is_none() -> None:
    told = pages([a_row(3, 30)], [a_row(2, 20)], [a_row(1, 10)])
    with pytest.raises(MalformedResponse, match="longer than 2 pages"):
        gathered("any", told, START, 2)
    whole = pages([a_row(3, 30)], [a_row(2, 20)])
    assert numbers(gathered("any", whole, START, 2)) == ["3", "2"]


@pytest.mark.parametrize("word", [None, True, [], {}, 1.5, "Paid", ""])
def test_what_is_no_documented_word_is_unknown(word: Any) -> None:
    assert state_of({1: PayoutState.PAID, "paid": PayoutState.PAID}, word) is PayoutState.UNKNOWN
