"""The known coins, and nets."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.coins import MEMO_RULES, Asset, asset, assets, coins
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
        ("usdt", None, Asset("USDT", "TRX", 6)),
        ("USDT", "trx", Asset("USDT", "TRX", 6)),
        ("USDT", "ETH", Asset("USDT", "ETH", 6)),
    ],
)
def test_a_coin_is_found_in_any_case_on_its_first_network_or_the_named_one(
    coin: str, network: str | None, found: Asset
) -> None:
    assert asset(coin, network) == found


@pytest.mark.parametrize("coin", [None, "", 1, True, b"BTC", ["BTC"], "TRX", "BTC ", "BTC" * 50, "₿"])
def test_an_unknown_coin_is_refused_and_the_known_ones_are_named(coin: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asset(coin, field="from_coin")
    assert caught.value.field == "from_coin"
    assert caught.value.accepted == "one of BCH, BTC, DOGE, ERG, ETC, ETH, KAS, LTC, RVN, USDT, XMR, ZEC"
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("network", ["ETH", "", 1, "LIGHTNING ", "x" * 100, False])
def test_an_unknown_network_is_refused_under_its_own_name(network: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asset("BTC", network, "to_coin")
    assert caught.value.field == "to_network"
    assert caught.value.accepted == "one of BTC, LIGHTNING"
    assert len(str(caught.value)) < 120


def test_assets_tell_their_names_apart() -> None:
    assert [str(one) for one in (BTC, LIGHTNING, ETH)] == ["BTC", "BTC on LIGHTNING", "ETH"]
    assert [str(one) for one in assets() if one.coin == "USDT"] == ["USDT on TRX", "USDT on ETH"]
    assert coins() == ("BCH", "BTC", "DOGE", "ERG", "ETC", "ETH", "KAS", "LTC", "RVN", "USDT", "XMR", "ZEC")


@pytest.mark.parametrize(
    ("decimals", "found"),
    [
        (6, {"USDT on TRX", "USDT on ETH"}),
        (8, {"BTC", "BTC on LIGHTNING", "LTC", "BCH", "DOGE", "RVN", "ZEC", "KAS"}),
        (9, {"ERG"}),
        (12, {"XMR"}),
        (18, {"ETH", "ETC"}),
    ],
)
def test_an_asset_has_the_decimals_of_its_chain(decimals: int, found: set[str]) -> None:
    assert {str(one) for one in assets() if one.decimals == decimals} == found


def test_every_asset_is_found_by_its_names_and_the_first_of_a_coin_by_the_coin_alone() -> None:
    defaults: dict[str, Asset] = {}
    for one in assets():
        assert asset(one.coin, one.network) == one
        assert asset(one.coin) == defaults.setdefault(one.coin, one)
    assert len(set(assets())) == len(assets()) == 14


def test_a_stable_coin_is_on_no_network_that_was_not_listed() -> None:
    for network in ("BSC", "ERC20", "USDT"):
        with pytest.raises(InvalidRequest) as caught:
            asset("USDT", network)
        assert caught.value.accepted == "one of TRX, ETH"


def test_no_network_needs_a_mark_beside_its_address() -> None:
    assert set(MEMO_RULES) == {"XMR"} <= {one.network for one in assets()}
    assert not any(rule.required or not rule.inside_address for rule in MEMO_RULES.values())


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
