"""How often services may be called: by the figures of their fact sheets, and by what a call really sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import Asset
from converter.domain.limits import CAUTIOUS, Limits, admit
from converter.domain.orders import NEXT_STEP, OperationKind, Order, OrderStatus
from converter.ports import PayoutList
from converter.sandbox.server import Sandbox
from converter.services import REGISTRY, service_class
from converter.transport.http import HttpClient
from tests.services.test_new_round_trips import Trip
from tests.services.test_round_trips import ADDRESS, BTC, ETH, ETH_ADDRESS, KEY, STEP_KEY, soon

OPERATIONS = ("quote", "order", "advance", "find", "health", "list")
LONG_AGO = 10**12
SECOND, MINUTE, HOUR = 1, 60, 3600

PUBLISHED = [
    ("binance", "quote", 6000 // 20, MINUTE),  # weight; four books of 5 each
    ("binance", "order", 6000 // 5, MINUTE),
    ("binance", "advance", 200, MINUTE),  # withdrawals
    ("binance", "find", 10, MINUTE),  # looks at the history
    ("changenow", "order", 30, SECOND),
    ("changenow", "find", 1800 // 2, MINUTE),
    ("changenow", "list", 30 // 4, SECOND),
    ("coingate", "quote", 200 // 2, MINUTE),
    ("coingate", "order", 500, HOUR),
    ("coingate", "list", 200 // 5, MINUTE),
    ("coinpayments", "quote", 70 * 60 // 4, MINUTE),
    ("coinpayments", "order", 70 // 2, SECOND),
    ("coinpayments", "list", 70 // 16, SECOND),
    ("kraken", "quote", (15 + 20) // 3, MINUTE),  # a counter of 15 that forgets 20 a minute
    ("kraken", "order", (15 + 20) // 3, MINUTE),
    ("kraken", "advance", (15 + 20) // 3, MINUTE),
    ("kraken", "find", (15 + 20) // 4, MINUTE),
    ("thorchain", "quote", 60, MINUTE),
    ("thorchain", "order", 60 // 3, MINUTE),
]
"""Service, operation, most calls in so many seconds: the published figure, by the requests of a call."""

UNPUBLISHED = [
    ("btcpay_lightning", "find", 1500, MINUTE),  # the pool's own server
    ("simpleswap", "order", 60, MINUTE),  # what a public client keeps to
]

COURSES = {
    "binance": (Asset("RVN", "RVN", 8), BTC, "60000", ADDRESS),  # no direct pair
    "kraken": (Asset("DOGE", "DOGE", 8), ETH, "20000", ETH_ADDRESS),  # no direct pair
}
STEPS = (OperationKind.APPROVAL, OperationKind.TRADE, OperationKind.WITHDRAWAL)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        running.market.configure({"volatility": "0", "step_ms": 10**9})
        running.twins["kraken"].configure({"withdraw_keys": {"pool": {"asset": "ETH", "address": ETH_ADDRESS}}})
        yield running
        assert running.problems == []


def limits() -> Limits:
    return Limits(services={one: service_class(one).capabilities.budget for one in REGISTRY})


def busiest(service_id: str, operation: str, seconds: int) -> int:
    """Calls that pass in so many seconds to one who asks all the time, and begins with every burst whole."""
    arrivals: dict[str, int] = {}
    passed, scopes = 0, limits().scopes(service_id, operation)
    for moment in range(600):
        now = LONG_AGO + moment * seconds * 1_000_000 // 600
        admission, arrivals = admit(arrivals, scopes, 0, now)
        while admission.admitted:
            passed += 1
            admission, arrivals = admit(arrivals, scopes, 0, now)
    return passed


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_every_service_says_how_often_it_may_be_called(service_id: str) -> None:
    budget = service_class(service_id).capabilities.budget
    assert budget not in (CAUTIOUS, replace(CAUTIOUS))
    assert set(budget.operations) | set(budget.requests) <= set(OPERATIONS)


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_single_call_fits_into_every_burst(service_id: str, operation: str) -> None:
    admission, _ = admit({}, limits().scopes(service_id, operation), 0, LONG_AGO)
    assert admission.admitted, admission.scope


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_a_quote_its_order_and_the_next_step_may_follow_each_other_at_once(service_id: str) -> None:
    arrivals: dict[str, int] = {}
    for operation in ("quote", "order", "advance"):
        admission, arrivals = admit(arrivals, limits().scopes(service_id, operation), 0, LONG_AGO)
        assert admission.admitted, (operation, admission.scope)


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
@pytest.mark.parametrize("operation", ["quote", "order", "advance", "health", "list"])
def test_look_ups_of_many_open_conversions_leave_room_for_the_rest(service_id: str, operation: str) -> None:
    """Ten look-ups a second, as 300 open conversions ask for; and one other call every ten seconds. Every second health
    check passes; of the others, one a minute at least; a list every five minutes, which is how often it is wanted."""
    arrivals: dict[str, int] = {}
    looks, scopes = limits().scopes(service_id, "find"), limits().scopes(service_id, operation)
    passed = 0
    for tenth in range(6000):
        now = LONG_AGO + tenth * 100_000
        _, arrivals = admit(arrivals, looks, 0, now)
        if tenth % 100 == 0:
            admission, arrivals = admit(arrivals, scopes, 0, now)
            passed += admission.admitted
    assert passed >= {"health": 30, "list": 2}.get(operation, 10)


@pytest.mark.parametrize(("service_id", "operation", "most", "seconds"), PUBLISHED + UNPUBLISHED)
def test_no_more_is_asked_than_is_allowed_and_enough_to_work(
    service_id: str, operation: str, most: int, seconds: int
) -> None:
    passed = busiest(service_id, operation, seconds)
    assert most / 4 < passed <= most


def test_look_ups_and_lists_at_binance_read_the_one_history_no_more_often_than_it_may_be_read() -> None:
    pages = service_class("binance").capabilities.budget.requests["list"]
    assert busiest("binance", "list", MINUTE) == 1
    assert busiest("binance", "find", MINUTE) + pages == 10


def test_a_list_at_kraken_takes_a_small_part_of_the_counter() -> None:
    assert (
        1 <= busiest("kraken", "list", 5 * MINUTE) * service_class("kraken").capabilities.budget.requests["list"] <= 6
    )


def test_every_service_has_a_figure() -> None:
    assert {service_id for service_id, *_ in PUBLISHED + UNPUBLISHED} == set(REGISTRY)


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_a_call_sends_no_more_requests_than_are_counted(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, service_id: str
) -> None:
    sent = watched(monkeypatch)
    trip = traveller(sandbox, service_id)
    trip.quoted()  # what is kept for a while is known from now on
    counted: dict[str, list[int]] = {}
    sent.clear()

    def told(operation: str) -> None:
        counted.setdefault(operation, []).append(sum(is_counted(path) for path in sent))
        sent.clear()

    trip.quoted()
    told("quote")
    order: Order = trip.service.place_order(trip.request, soon())
    told("order")
    while NEXT_STEP.get(order.status) in STEPS:
        order = trip.service.advance_order(replace(order, ref=keyed(order)), soon())
        told("advance")
    assert order.status in (OrderStatus.AWAITING_DEPOSIT, OrderStatus.OPEN, OrderStatus.PAYING_OUT, OrderStatus.SETTLED)
    assert trip.service.find_order(replace(order.ref, deposit_txid="AB" * 32), soon()) is not None
    told("find")
    trip.service.check_health(soon())
    told("health")
    if isinstance(trip.service, PayoutList):
        trip.service.payouts(trip.request.prepared_at, soon())
        told("list")
    requests = service_class(service_id).capabilities.budget.requests
    more = {one: found for one, found in counted.items() if max(found) > requests.get(one, 1)}
    assert more == {}
    assert counted["find"] != [0]


def keyed(order: Order) -> Any:
    """The order's reference with our key of its next step."""
    name = "trade_key" if order.status is OrderStatus.HALFWAY else "step_key"
    return replace(order.ref, **{name: f"{KEY}t2" if name == "trade_key" else STEP_KEY})


def traveller(sandbox: Sandbox, service_id: str) -> Trip:
    if service_id not in COURSES:
        return Trip(sandbox, service_id)
    from_asset, to_asset, amount, address = COURSES[service_id]
    return Trip(sandbox, service_id, from_asset, to_asset, Decimal(amount), address)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of all requests from now on."""
    sent: list[str] = []
    send = HttpClient.send

    def noted(client: HttpClient, method: str, path: str, **more: Any) -> Any:
        sent.append(path)
        return send(client, method, path, **more)

    monkeypatch.setattr(HttpClient, "send", noted)
    return sent


def is_counted(path: str) -> bool:
    """Whether it counts in what the service limits: Kraken counts private calls, and no orders."""
    return not path.startswith("/0/public/") and path != "/0/private/AddOrder"
