"""Choosing: order of asking, the band, tiers, best rate or balancer, and worlds drawn at random."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.coins import asset
from converter.domain.quotes import Fee, net_of
from converter.domain.routing import Offer, Place, by_turns, in_band, rank, whom_to_ask

TWO_PERCENT = Decimal("0.02")


def offer(service_id: str, net: str, tier: int = 1, turn: int = 0) -> Offer:
    return Offer(Place(service_id, tier, Decimal(1), turn), Decimal(net))


def names(offers: list[Offer]) -> list[str]:
    return [one.place.service_id for one in offers]


# --- Whom to ask -----------------------------------------------------------------------------------------------------


def test_the_order_is_tier_then_turn_and_without_turns_weight_then_id() -> None:
    tiers = {2: [("a", Decimal(1))], 1: [("z", Decimal("0.3")), ("y", Decimal("0.4")), ("b", Decimal("0.3"))]}
    assert [place.service_id for place in by_turns(tiers, {})] == ["y", "b", "z", "a"]
    places = by_turns(tiers, {1: ["z", "y"]})
    assert [(place.service_id, place.turn) for place in places] == [("z", 0), ("y", 1), ("b", 2), ("a", 0)]


@pytest.mark.parametrize(
    ("limit", "asked"),
    [(0, []), (1, ["a"]), (3, ["a", "b", "c"]), (4, ["a", "b", "c", "d"]), (9, ["a", "b", "c", "d"])],
)
def test_free_places_go_to_the_next_tier(limit: int, asked: list[str]) -> None:
    places = [
        Place("d", 3, Decimal(1), 0),
        Place("c", 2, Decimal(1), 0),
        Place("b", 1, Decimal(1), 1),
        Place("a", 1, Decimal(1), 0),
    ]
    assert [place.service_id for place in whom_to_ask(places, limit)] == asked


# --- The band --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "inside"), [("0.0981", True), ("0.0980", True), ("0.09799999", False), ("0.0999", True), ("0.0979", False)]
)
def test_exactly_two_percent_worse_is_still_in(net: str, inside: bool) -> None:
    found = in_band([offer("best", "0.1"), offer("other", net)], TWO_PERCENT)
    assert ("other" in names(found)) is inside


def test_a_band_of_nothing_is_the_best_alone_with_its_equals() -> None:
    offers = [offer("a", "1"), offer("b", "1.000"), offer("c", "0.99999999")]
    assert names(in_band(offers, Decimal(0))) == ["a", "b"]


@pytest.mark.parametrize("nets", [[], ["0"], ["-1", "0"], ["-0.00000001"]])
def test_offers_of_nothing_are_no_offers(nets: list[str]) -> None:
    assert in_band([offer(str(index), net) for index, net in enumerate(nets)], TWO_PERCENT) == []
    assert rank([offer("a", net) for net in nets], TWO_PERCENT, best_rate=True) == []


def test_a_bound_finer_than_the_coins_unit_is_not_rounded() -> None:
    offers = [offer("best", "0.00000003"), offer("other", "0.00000002")]
    assert names(in_band(offers, Decimal("0.3333333"))) == ["best"]
    assert names(in_band(offers, Decimal("0.3333334"))) == ["best", "other"]


# --- The order of attempts -------------------------------------------------------------------------------------------


def test_the_largest_net_of_the_lowest_tier_goes_first_then_tier_by_tier() -> None:
    offers = [
        offer("backup", "0.1000", tier=3),
        offer("second", "0.0995", tier=2),
        offer("small", "0.0985", tier=1, turn=0),
        offer("large", "0.0990", tier=1, turn=1),
    ]
    assert names(rank(offers, TWO_PERCENT, best_rate=True)) == ["large", "small", "second", "backup"]
    assert names(rank(offers, TWO_PERCENT, best_rate=False)) == ["small", "large", "second", "backup"]


def test_a_secondary_wins_only_when_every_primary_is_out_of_the_band() -> None:
    offers = [offer("primary", "0.0979", tier=1), offer("second", "0.1", tier=2)]
    assert names(rank(offers, TWO_PERCENT, best_rate=True)) == ["second"]
    offers.append(offer("other", "0.098", tier=1))
    assert names(rank(offers, TWO_PERCENT, best_rate=True)) == ["other", "second"]


def test_equals_go_by_turn() -> None:
    offers = [offer("a", "0.1", turn=2), offer("b", "0.10", turn=0), offer("c", "0.1", turn=1)]
    assert names(rank(offers, TWO_PERCENT, best_rate=True)) == ["b", "c", "a"]


def test_the_published_example_takes_the_better_of_two_close_rates() -> None:
    offers = [offer("lightning", "0.0654", turn=0), offer("swap", "0.0652", turn=1), offer("desk", "0.0651", turn=2)]
    assert names(rank(offers, TWO_PERCENT, best_rate=True))[0] == "lightning"
    assert len(rank(offers, TWO_PERCENT, best_rate=True)) == 3


@pytest.mark.parametrize(
    ("amount", "winner", "nets"),
    [
        ("1.5", "exchange", ["0.09810000", "0.09820160"]),
        ("0.05", "lightning", ["0.00327000", "0.00317672"]),
    ],
)
def test_fixed_fees_change_the_winner_with_the_amount(amount: str, winner: str, nets: list[str]) -> None:
    eth, btc = Decimal(amount), asset("BTC")
    gross = eth * Decimal("0.0656")
    found = [
        net_of(eth * Decimal("0.0654"), [], btc),
        net_of(gross, [Fee("service", gross * Decimal("0.001")), Fee("withdrawal", Decimal("0.0001"))], btc),
    ]
    assert found == [Decimal(net) for net in nets]
    offers = [offer("lightning", nets[0]), offer("exchange", nets[1])]
    assert names(rank(offers, TWO_PERCENT, best_rate=True))[0] == winner
    assert len(rank(offers, TWO_PERCENT, best_rate=True)) == (2 if amount == "1.5" else 1)


worlds = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=4),
        st.decimals(min_value=-1, max_value=100, places=8),
        st.integers(min_value=0, max_value=9),
    ),
    max_size=10,
)
shares = st.decimals(min_value=0, max_value=Decimal("0.99"), places=4)


@given(worlds, shares, st.booleans())
def test_in_any_world_the_rules_hold(world: list[tuple[int, Decimal, int]], share: Decimal, best_rate: bool) -> None:
    offers = [Offer(Place(str(index), tier, Decimal(1), turn), net) for index, (tier, net, turn) in enumerate(world)]
    ranked = rank(offers, share, best_rate=best_rate)
    good = [one for one in offers if one.net > 0]
    if not good:
        assert ranked == []
        return
    top = max(one.net for one in good)
    expected = {one.place.service_id for one in good if one.net >= top * (1 - share)}
    assert {one.place.service_id for one in ranked} == expected, "nothing below the band, nobody of it left out"
    tiers = [one.place.tier for one in ranked]
    assert tiers == sorted(tiers), "a higher tier only after the lower ones"
    first = [one for one in ranked if one.place.tier == tiers[0]]
    if best_rate:
        assert ranked[0].net == max(one.net for one in first)
    else:
        assert ranked[0].place.turn == min(one.place.turn for one in first)


@given(worlds, st.integers(min_value=0, max_value=12))
def test_never_more_are_asked_than_allowed_and_never_a_higher_tier_first(
    world: list[tuple[int, Decimal, int]], limit: int
) -> None:
    tiers: dict[int, list[tuple[str, Decimal]]] = {}
    for index, (tier, weight, _) in enumerate(world):
        tiers.setdefault(tier, []).append((str(index), weight))
    places = by_turns(tiers, {})
    asked = whom_to_ask(places, limit)
    assert len(asked) == min(limit, len(places))
    left = [place for place in places if place not in asked]
    assert all(one.tier <= other.tier for one in asked for other in left)
