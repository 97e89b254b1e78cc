"""Double entry: where the coins of an attempt are at each step, and that nothing of them is missing at the end."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.coins import asset
from converter.domain.conversions import Attempt, Conversion
from converter.domain.postings import (
    CONVERTED,
    NETWORK_FEE,
    PAYOUT,
    POOL,
    SERVICE_FEE,
    SLIPPAGE,
    SUSPENSE,
    Posting,
    balances,
    holder,
    opened,
    parked,
    resumed,
    returned,
    settled,
    transit_of,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest
from tests.builders import START, a_conversion, an_attempt

TRANSIT = transit_of("alpha")
AMOUNTS = st.decimals("0.00000001", "1000", places=8)


def the_quote(conversion: Conversion, gross: str, *fees: tuple[str, str]) -> Quote:
    request = conversion.request
    taken = tuple(Fee(kind, Decimal(amount)) for kind, amount in fees)
    net = Decimal(gross) - sum(fee.amount for fee in taken)
    asked = QuoteRequest(request.from_asset, request.to_asset, request.amount)
    return Quote("alpha", asked, Decimal(gross), taken, net, True, START)


def begun() -> tuple[Conversion, Attempt, list[Posting]]:
    conversion = a_conversion()
    attempt = an_attempt(conversion)
    return conversion, attempt, opened(conversion, attempt)


def test_a_prepared_attempt_takes_its_coins_out_of_the_pool() -> None:
    conversion, _, books = begun()
    assert holder([]) is None
    assert holder(books) == TRANSIT
    assert balances(books) == {(POOL, "ETH"): -conversion.request.amount, (TRANSIT, "ETH"): conversion.request.amount}


def test_a_proven_refusal_gives_all_of_them_back() -> None:
    conversion, attempt, books = begun()
    books += returned(conversion, attempt, books)
    assert holder(books) is None
    assert set(balances(books).values()) == {Decimal(0)}


def test_a_deposit_that_comes_back_with_less_has_paid_the_network() -> None:
    conversion, attempt, books = begun()
    books += returned(conversion, attempt, books, arrived=conversion.request.amount - Decimal("0.01"))
    found = balances(books)
    assert (found[POOL, "ETH"], found[NETWORK_FEE, "ETH"]) == (Decimal("-0.01"), Decimal("0.01"))
    assert found[TRANSIT, "ETH"] == 0


def test_a_payout_is_told_apart_into_what_arrived_the_fees_and_the_slippage() -> None:
    conversion, attempt, books = begun()
    quote = the_quote(conversion, "0.1", ("service", "0.002"), ("withdrawal", "0.001"), ("network", "0.0005"))
    books += settled(conversion, replace(attempt, promised=quote.net), books, quote, Decimal("0.0960"))
    found = balances(books)
    assert found[CONVERTED, "ETH"] == conversion.request.amount
    assert {name: found[name, "BTC"] for name in (PAYOUT, SERVICE_FEE, NETWORK_FEE, SLIPPAGE, CONVERTED)} == {
        PAYOUT: Decimal("0.0960"),
        SERVICE_FEE: Decimal("0.002"),
        NETWORK_FEE: Decimal("0.0015"),
        SLIPPAGE: Decimal("0.0005"),
        CONVERTED: Decimal("-0.1"),
    }
    assert holder(books) is None


def test_more_than_promised_is_negative_slippage() -> None:
    conversion, attempt, books = begun()
    books += settled(conversion, attempt, books, the_quote(conversion, "0.1"), Decimal("0.101"))
    found = balances(books)
    assert found[SLIPPAGE, "BTC"] == Decimal("-0.001")
    assert found[CONVERTED, "BTC"] == Decimal("-0.1")


def test_what_is_finer_than_the_service_takes_goes_back_to_the_pool() -> None:
    conversion, attempt, books = begun()
    sent = conversion.request.amount - Decimal("0.000000001")
    books += settled(conversion, replace(attempt, deposit_amount=sent), books, None, None)
    found = balances(books)
    assert (found[POOL, "ETH"], found[CONVERTED, "ETH"]) == (-sent, sent)


def test_coins_are_in_suspense_while_a_person_is_asked() -> None:
    conversion, attempt, books = begun()
    books += parked(conversion, attempt, books)
    assert (holder(books), parked(conversion, attempt, books)) == (SUSPENSE, [])
    books += resumed(conversion, attempt, books)
    assert (holder(books), resumed(conversion, attempt, books)) == (TRANSIT, [])
    books += parked(conversion, attempt, books)
    books += settled(conversion, attempt, books, None, None)
    assert holder(books) is None
    assert balances(books)[SUSPENSE, "ETH"] == 0
    assert len({(one.key, one.line) for one in books}) == len(books)


@pytest.mark.parametrize("end", ["settled", "returned"])
def test_an_attempt_ends_once_in_the_books(end: str) -> None:
    conversion, attempt, books = begun()
    first = (
        settled(conversion, attempt, books, None, None) if end == "settled" else returned(conversion, attempt, books)
    )
    books += first
    assert first
    assert settled(conversion, attempt, books, None, None) == []
    assert returned(conversion, attempt, books) == []
    assert parked(conversion, attempt, books) == []


@given(
    moves=st.lists(st.sampled_from(["park", "resume"]), max_size=6),
    delivered=st.none() | AMOUNTS,
    fees=st.lists(st.tuples(st.sampled_from(["service", "network"]), AMOUNTS), max_size=3),
    gross=AMOUNTS,
)
def test_whatever_happens_every_coin_sums_to_zero_and_nothing_stays_on_the_way(
    moves: list[str], delivered: Decimal | None, fees: list[tuple[str, Decimal]], gross: Decimal
) -> None:
    conversion, attempt, books = begun()
    for move in moves:
        change = parked if move == "park" else resumed
        books += change(conversion, attempt, books)
    taken = tuple(Fee(kind, amount) for kind, amount in fees)
    asked = QuoteRequest(asset("ETH"), asset("BTC"), conversion.request.amount)
    quote = Quote("alpha", asked, gross, taken, gross, True, START)
    books += settled(conversion, attempt, books, quote, delivered)
    found = balances(books)
    for coin in ("ETH", "BTC"):
        assert sum(amount for (_, of), amount in found.items() if of == coin) == 0
    assert found[TRANSIT, "ETH"] == found.get((SUSPENSE, "ETH"), 0) == 0
    assert found[CONVERTED, "BTC"] == -gross
    assert all(one.amount > 0 for one in books)
