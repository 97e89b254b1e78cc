"""Turns the quotes of a round into the order in which they may be attempted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.conversions import Conversion, State
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.policy import RoutingPolicy
from converter.domain.quotes import QuoteRow
from converter.domain.routing import Offer, by_weight, rank
from converter.planning import wait
from converter.ports import Work
from converter.quoting import is_refusal

_ROUNDS_HEARD = 5


class Selecting:
    """The use-case behind `rates.select`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def select(self, conversion_id: str, asked_round: int) -> Next | None:
        """Choose from what the ledger holds of this round; a round that is over changes nothing."""
        with self._desk.ledger.begin() as work:
            if work.conversions.get(conversion_id).round != asked_round:
                return None
            lease = self._desk.timing.lease
            conversion = work.conversions.claim(conversion_id, self._desk.owner, lease, (State.QUOTING,))
            if conversion is None:
                return None
            policy = self._desk.policy_of(conversion)
            rows = work.quotes.of_round(conversion_id, asked_round)
            ranked = ranking(rows, policy, work.now())
            if not ranked:
                self._nobody(work, conversion, rows)
                return None
            work.quotes.set_ranks([row.id for row in ranked])
            best = ranked[0].quote
            if best is not None:
                payload = {"serviceId": best.service_id, "net": plain(best.net), "quotes": len(rows)}
                work.outbox.add(Event(events.CONVERSION_QUOTED, payload, conversion_id))
            due_at = work.now() + self._desk.timing.handover
            work.conversions.move(conversion, State.EXECUTING, due_at=due_at)
        return Next.EXECUTE

    def _nobody(self, work: Work, conversion: Conversion, rows: list[QuoteRow]) -> None:
        """No valid quote: fail when every service says that the amount is too small, else wait and ask again."""
        reason = "; ".join(f"{row.service_id}: {row.error or 'quote expired'}" for row in rows) or "nobody answered"
        seen = [*rows]  # one round cannot ask all: what the rounds just before were told counts as well
        for asked in range(max(1, conversion.round - _ROUNDS_HEARD), conversion.round):
            seen += work.quotes.of_round(conversion.id, asked)
        minimums = {row.service_id: row.minimum for row in seen if row.minimum is not None and is_refusal(row)}
        if minimums and set(minimums) >= self._converting(conversion):
            reason = f"amount: below every service's minimum; accepted: at least {plain(min(minimums.values()))}"
            work.outbox.add(Event(events.CONVERSION_FAILED, {"reason": reason}, conversion.id))
            work.conversions.move(conversion, State.FAILED, reason=reason)
            return
        wait(work, conversion, reason)

    def _converting(self, conversion: Conversion) -> set[str]:
        """Every service that could take this pair, asked or not, away or not."""
        request = conversion.request
        return {
            place.service_id
            for place in self._desk.policy_of(conversion).services
            if (service := self._desk.services.get(place.service_id)) is not None
            and service.supports(request.from_asset, request.to_asset)
            and self._desk.can_deposit(service, request.from_asset)
            and request.amount >= place.minimum.get(request.from_asset.coin, Decimal(0))
        }


def ranking(rows: list[QuoteRow], policy: RoutingPolicy, now: datetime) -> list[QuoteRow]:
    """The valid quotes that may be attempted, best first."""
    valid = {row.service_id: row for row in rows if row.quote is not None and not row.quote.is_expired(now)}
    known = [place for place in policy.services if place.service_id in valid]
    places = by_weight([(place.service_id, place.tier, place.weight) for place in known])
    offers = []
    for place in places:
        quote = valid[place.service_id].quote
        offers.append(Offer(place, quote.net if quote is not None else Decimal(0)))
    ordered = rank(offers, policy.max_rate_difference, best_rate=policy.always_use_best_rate)
    return [valid[offer.place.service_id] for offer in ordered]
