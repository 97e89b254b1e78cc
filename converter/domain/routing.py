"""Choosing: whom to ask, and which of the answers to take.

`net` decides, never the headline rate: fixed fees change the winner with the amount. The order of services inside a
tier is given by the balancer and only settles equals, unless the best rate is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from converter.domain.money import EXACT


@dataclass(frozen=True)
class Place:
    """A service's place in the hierarchy; `turn` is its position in the balancer's order inside the tier."""

    service_id: str
    tier: int
    weight: Decimal
    turn: int


@dataclass(frozen=True)
class Offer:
    """A valid quote with the place of its service."""

    place: Place
    net: Decimal


def by_turns(services: Mapping[int, Sequence[tuple[str, Decimal]]], turns: Mapping[int, Sequence[str]]) -> list[Place]:
    """Places of (service, weight) by tier, in the balancer's order of each tier; who is not in it comes last."""
    places = []
    for tier in sorted(services):
        order = {service_id: turn for turn, service_id in enumerate(turns.get(tier, ()))}
        known = sorted(services[tier], key=lambda one: (order.get(one[0], len(order)), -one[1], one[0]))
        places += [Place(service_id, tier, weight, turn) for turn, (service_id, weight) in enumerate(known)]
    return places


def whom_to_ask(places: Sequence[Place], limit: int) -> list[Place]:
    """The first `limit` in tier order, then turn; free places go to the next tier."""
    return sorted(places, key=lambda place: (place.tier, place.turn))[:limit]


def in_band(offers: Sequence[Offer], max_difference: Decimal) -> list[Offer]:
    """Offers at most `max_difference` (a share) below the best net, bound included."""
    best = max((offer.net for offer in offers), default=Decimal(0))
    bound = EXACT.multiply(best, 1 - max_difference)
    return [offer for offer in offers if offer.net >= bound and offer.net > 0]


def rank(offers: Sequence[Offer], max_difference: Decimal, *, best_rate: bool) -> list[Offer]:
    """Offers in the order in which they may be attempted.

    The lowest tier present in the band comes first, then the rest of the band tier by tier; inside a tier the largest
    net (equals by turn) when `best_rate`, else the balancer's turn.
    """

    def order(offer: Offer) -> tuple[int, Decimal, int]:
        return offer.place.tier, -offer.net if best_rate else Decimal(0), offer.place.turn

    return sorted(in_band(offers, max_difference), key=order)
