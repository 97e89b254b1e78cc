"""The known coins, and nets."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.coins import Asset, asset, coins
from converter.domain.errors import InvalidRequest
from converter.domain.quotes import Fee, net_of
from tests.builders import BTC, ETH, LIGHTNING, START, a_quote, seconds


@pytest.mark.parametrize(
    ("coin", "network", "found"),
    [
        ("BTC", None, Asset("BTC", "BTC", 8)),
        ("btc", None, Asset("BTC", "BTC", 8)),
        ("BTC", "lightning", Asset("BTC", "LIGHTNING", 8)),
        ("Eth", "ETH", Asset("ETH", "ETH", 18)),
    ],
)
def test_a_coin_is_found_in_any_case_on_its_first_network_or_the_named_one(
    coin: str, network: str | None, found: Asset
) -> None:
    assert asset(coin, network) == found


@pytest.mark.parametrize("coin", [None, "", 1, True, b"BTC", ["BTC"], "DOGE", "BTC ", "BTC" * 50, "₿"])
def test_an_unknown_coin_is_refused_and_the_known_ones_are_named(coin: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asset(coin, field="from_coin")
    assert caught.value.field == "from_coin"
    assert caught.value.accepted == "one of BTC, ETH"
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("network", ["ETH", "", 1, "LIGHTNING ", "x" * 100, False])
def test_an_unknown_network_is_refused_under_its_own_name(network: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asset("BTC", network, "to_coin")
    assert caught.value.field == "to_network"
    assert caught.value.accepted == "one of BTC, LIGHTNING"
    assert len(str(caught.value)) < 120


def test_assets_tell_their_names_apart() -> None:
    assert [str(one) for one in (BTC, LIGHTNING, ETH)] == ["BTC", "BTC on LIGHTNING", "ETH"]
    assert coins() == ("BTC", "ETH")


# --- Nets ------------------------------------------------------------------------------------------------------------


def fees(*given_fees: str) -> list[Fee]:
    return [Fee("service", Decimal(fee)) for fee in given_fees]


@pytest.mark.parametrize(
    ("gross", "off", "asset_given", "net"),
    [
        ("0.0984", ["0.0000984", "0.0001"], BTC, "0.0982016"),
        ("0.00328", ["0.00000328", "0.0001"], BTC, "0.00317672"),
        ("1", [], BTC, "1"),
        ("1.123456789", [], BTC, "1.12345678"),
        ("1.123456789", ["0.000000001"], ETH, "1.123456788"),
        ("1", ["0.000000000000000001"], ETH, "0.999999999999999999"),
        ("0.001", ["0.001"], BTC, "0"),
        ("99.55", ["0.09955"], BTC, "99.45045"),
    ],
)
def test_a_net_is_what_is_left_after_every_fee(gross: str, off: list[str], asset_given: Asset, net: str) -> None:
    assert net_of(Decimal(gross), fees(*off), asset_given) == Decimal(net)


def test_a_net_may_be_eaten_up() -> None:
    assert net_of(Decimal("0.001"), fees("0.0005", "0.0006"), BTC) < 0


exact = st.decimals(min_value=0, max_value=10**10, places=18)


@given(exact, st.lists(exact, max_size=4))
def test_a_net_is_never_above_gross_less_fees_and_never_a_unit_below(gross: Decimal, off: list[Decimal]) -> None:
    rest = gross - sum(off)
    if rest >= 0:
        net = net_of(gross, [Fee("network", fee) for fee in off], BTC)
        assert net <= rest
        assert rest - net < Decimal("0.00000001")
        assert net == net.quantize(Decimal("0.00000001"))


def test_a_quote_is_expired_from_its_moment_on() -> None:
    quote = a_quote(expires_at=START)
    assert not quote.is_expired(START - seconds(0.001))
    assert quote.is_expired(START)
    assert quote.is_expired(START + seconds(1))
