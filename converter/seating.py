"""Finds out what speaks against each service for a conversion: part of it outside, part of it in the ledger.

What Redis knows (breakers, limits, quarantines, turns) is read before the ledger's transaction, which waits for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from converter.desk import Desk
from converter.domain import conditions
from converter.domain.conversions import Attempt, AttemptState, Conversion
from converter.domain.exposure import UnderWay
from converter.domain.policy import RoutingPolicy, ServicePolicy
from converter.domain.seats import EMERGENCY_TIER, Bar, Objection, Seat, eligible, nobody_for, tier_in_use
from converter.guard import may_be_asked
from converter.ports import Work


@dataclass(frozen=True)
class Outlook:
    """What was known before the transaction: the seats, and the balancer's order of each tier."""

    seats: tuple[Seat, ...]
    turns: Mapping[int, tuple[str, ...]]


class Seating:
    """Who takes part in a conversion's round."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def outlook(self, conversion: Conversion) -> Outlook:
        """Everything but what the ledger knows. Asks Redis; no transaction may be open."""
        policy = self._desk.policy_of(conversion)
        standings = self._desk.shared.rates.standings([one.service_id for one in policy.services])
        seats = []
        for place in policy.services:
            quarantined = standings[place.service_id].is_quarantined
            seats.append(_seat(place, self._by_nature(place, conversion) or self._now(place, quarantined=quarantined)))
        turns = {}
        for number in sorted({seat.tier for seat in eligible(seats)}):
            ids = [seat.service_id for seat in eligible(seats) if seat.tier == number]
            turns[number] = tuple(self._desk.shared.turns.turns(policy.tier(number), ids))
        return Outlook(tuple(seats), turns)

    def seats(self, work: Work, conversion: Conversion, outlook: Outlook, attempts: list[Attempt]) -> list[Seat]:
        """The seats with what the ledger knows: isolations, fresh refusals, exposure, the emergency tier."""
        policy, now = self._desk.policy_of(conversion), work.now()
        isolated = work.conditions.of(conditions.isolation_of(""))
        refused = _refused(attempts, policy, now)
        exposed = self._exposed(work, conversion, policy)
        seats = []
        for seat in outlook.seats:
            out = isolated.get(conditions.isolation_of(seat.service_id))
            objection = seat.objection
            if out is not None and out.state == conditions.ON:
                objection = objection or Objection(Bar.UNAVAILABLE, "taken out by an operator")
            if seat.service_id in refused:
                objection = objection or Objection(Bar.REFUSED, "refused just now")
            if text := exposed.get(seat.service_id):
                objection = objection or Objection(Bar.EXPOSED, text)
            seats.append(replace(seat, objection=objection))
        return self._emergency_gate(work, conversion, seats)

    def exposure(self, work: Work, conversion: Conversion, service_id: str) -> str:
        """Why the exposure caps bar an attempt there, empty when they do not. In the attempt's own transaction."""
        return self._exposed(work, conversion, self._desk.policy_of(conversion), only=service_id).get(service_id, "")

    def _emergency_gate(self, work: Work, conversion: Conversion, seats: list[Seat]) -> list[Seat]:
        policy = self._desk.policy_of(conversion)
        pair = conditions.pair_of(conversion.request.from_asset, conversion.request.to_asset)
        name = conditions.tier_of(pair, conversion.request.policy)
        able, present = tier_in_use(seats)
        word, tier = work.conditions.get(conditions.EMERGENCY), work.conditions.get(name)
        if word is not None and word.state == conditions.ON:
            return seats
        if able is None and work.now() - conversion.created_at >= policy.emergency_after:
            return seats  # nobody below takes this pair or amount at all
        if able is not None and present is None and nobody_for(tier, policy.emergency_after, work.now()):
            return seats
        closed = Objection(Bar.TIER, "the emergency tier is closed")
        return [
            replace(seat, objection=closed) if seat.tier == EMERGENCY_TIER and seat.objection is None else seat
            for seat in seats
        ]

    def _by_nature(self, place: ServicePolicy, conversion: Conversion) -> Objection | None:
        service = self._desk.services.get(place.service_id)
        request = conversion.request
        if service is None:
            return Objection(Bar.SETTINGS, "a key or its address is missing")
        if not service.supports(request.from_asset, request.to_asset):
            return Objection(Bar.UNSUPPORTED, "does not convert this pair")
        minimum = place.minimum.get(request.from_asset.coin)
        if minimum is not None and request.amount < minimum:
            return Objection(Bar.AMOUNT, f"takes no less than {minimum:f}")
        if not self._desk.can_deposit(service, request.from_asset):
            return Objection(Bar.SETTINGS, f"no wallet pays deposits of {request.from_asset}")
        return None

    def _now(self, place: ServicePolicy, *, quarantined: bool) -> Objection | None:
        service = self._desk.services[place.service_id]
        if text := may_be_asked(service):
            return Objection(Bar.UNAVAILABLE, text)
        if quarantined:
            return Objection(Bar.UNAVAILABLE, "its rates are in quarantine")
        if service.pause_before("quote") or service.pause_before("order"):
            return Objection(Bar.BUSY, "its rate budget is used up")
        return None

    def _exposed(
        self, work: Work, conversion: Conversion, policy: RoutingPolicy, only: str | None = None
    ) -> dict[str, str]:
        request = conversion.request
        pair = conditions.pair_of(request.from_asset, request.to_asset)
        if not policy.caps.concern(pair, request.from_asset.coin):
            return {}
        under_way = work.exposure.under_way(serialised=only is not None)
        found = {}
        for place in policy.services:
            if only in (None, place.service_id):
                wanted = UnderWay(place.service_id, pair, request.from_asset.coin, request.amount, is_open=True)
                found[place.service_id] = policy.caps.objection(wanted, under_way)
        return found


def _seat(place: ServicePolicy, objection: Objection | None) -> Seat:
    return Seat(place.service_id, place.tier, place.weight, objection)


def _refused(attempts: list[Attempt], policy: RoutingPolicy, now: datetime) -> set[str]:
    ended = (AttemptState.NOT_EXECUTED, AttemptState.REFUNDED)
    recent = [one for one in attempts if one.state in ended and one.refused]
    return {one.service_id for one in recent if now - one.updated_at < policy.refused_for}
