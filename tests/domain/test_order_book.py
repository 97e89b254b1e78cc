"""Walking a book: what an amount really fetches, and what surely can be bought."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from converter.domain.coins import asset
from converter.domain.money import floor_to
from converter.domain.order_book import Levels, buy_from, sell_into
from converter.domain.quotes import Fee, net_of


def book(*levels: tuple[str, str]) -> Levels:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in levels]


BIDS = book(("100.00", "0.40"), ("99.50", "0.30"), ("99.00", "5.00"))
ASKS = book(("101.00", "0.50"), ("102.00", "1.00"))
STEP = Decimal("0.00001")


def test_selling_walks_down_the_bids() -> None:
    gross = sell_into(BIDS, Decimal("1.00"))
    assert gross == Decimal("99.55")
    fee = Fee("service", gross * Decimal("0.001"))
    assert net_of(gross, [fee], asset("BTC")) == Decimal("99.45045")


@pytest.mark.parametrize(
    ("quantity", "proceeds"), [("0.4", "40"), ("0.7", "69.85"), ("5.7", "564.85"), ("0.00000001", "0.000001")]
)
def test_selling_may_end_at_a_levels_end(quantity: str, proceeds: str) -> None:
    assert sell_into(BIDS, Decimal(quantity)) == Decimal(proceeds)


@pytest.mark.parametrize("levels", [[], BIDS])
def test_selling_more_than_the_book_holds_fetches_nothing(levels: Levels) -> None:
    assert sell_into(levels, Decimal("5.70000001")) is None
    assert buy_from([(price, quantity) for price, quantity in levels], Decimal(10**9), STEP) is None


def test_the_first_leg_of_the_public_example() -> None:
    gross = sell_into(book(("0.001000", "6"), ("0.000999", "10")), Decimal(10))
    assert gross == Decimal("0.009996")
    assert gross - gross * Decimal("0.001") == Decimal("0.009986004")


def test_buying_is_bounded_by_the_worst_level_and_so_below_what_a_market_order_would_get() -> None:
    """A market order for 100.00 would get 0.98529; one limited at 102 can cost 102 for all of it."""
    bought = buy_from(ASKS, Decimal("100.00"), STEP)
    assert bought == Decimal("0.98039")
    assert bought * 102 <= 100
    assert bought < Decimal("0.98529")


def test_the_second_leg_of_the_public_example_is_bounded_likewise() -> None:
    asks = book(("0.00000200", "3000"), ("0.00000201", "9000"))
    bought = buy_from(asks, Decimal("0.009986004"), Decimal(1))
    assert bought == 4968  # 4983 as a market order
    assert bought * Decimal("0.00000201") <= Decimal("0.009986004")


@pytest.mark.parametrize(
    ("spend", "bought"), [("50.5", "0.5"), ("10.1", "0.1"), ("0.00101", "0.00001"), ("0.00100", "0")]
)
def test_buying_within_the_first_level_is_exact(spend: str, bought: str) -> None:
    assert buy_from(ASKS, Decimal(spend), STEP) == Decimal(bought)


positive = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10**5), places=8)
levels = st.lists(st.tuples(positive, positive), min_size=1, max_size=8)
grains = st.sampled_from([Decimal("0.00000001"), Decimal("0.001"), Decimal(1), Decimal("0.25")])


def worst_price(asks: Levels, quantity: Decimal) -> Decimal:
    """Of the levels that an order of this quantity touches."""
    seen = Decimal(0)
    for price, available in asks:
        seen += available
        if seen >= quantity:
            return price
    raise AssertionError("more than the book holds")


@given(levels, positive, grains)
def test_what_is_bought_never_costs_more_than_was_to_be_spent(asks: Levels, spend: Decimal, step: Decimal) -> None:
    asks = sorted(asks)
    bought = buy_from(asks, spend, step)
    if bought is not None:
        assert bought * worst_price(asks, bought) <= spend
        assert floor_to(bought, step) == bought >= 0


@given(levels, positive)
def test_what_is_sold_fetches_between_the_worst_and_the_best_price(bids: Levels, quantity: Decimal) -> None:
    bids = sorted(bids, reverse=True)
    proceeds = sell_into(bids, quantity)
    if proceeds is None:
        assert quantity > sum(available for _, available in bids)
    else:
        assert quantity * bids[-1][0] <= proceeds <= quantity * bids[0][0]


@given(levels, positive, positive)
def test_selling_more_fetches_more(bids: Levels, one: Decimal, other: Decimal) -> None:
    bids = sorted(bids, reverse=True)
    less, more = sorted((one, other))
    first, second = sell_into(bids, less), sell_into(bids, more)
    assume(second is not None)
    assert first is not None
    assert first <= second  # type: ignore[operator]


def test_spending_a_little_more_never_buys_less() -> None:
    assert buy_from(ASKS, Decimal("50.5"), STEP) == Decimal("0.5")
    bought = buy_from(ASKS, Decimal("50.6"), STEP)
    assert bought is not None
    assert bought >= Decimal("0.5")
