"""Chooses whom a conversion is attempted at next, and asks for leave there.

The order was made when the round was chosen from; here the equals of its first place take turns, in one atomic step
with the balancer's charge: an attempt is about to start. Nothing is prepared before breaker and limits gave leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from converter.desk import Desk
from converter.domain.breakers import BreakerState
from converter.domain.conversions import Attempt, Conversion
from converter.domain.errors import BreakerRefused, LimiterRefused
from converter.domain.policy import ADAPTIVE, RoutingPolicy
from converter.domain.quotes import Quote, QuoteRow
from converter.guard import Leave


@dataclass(frozen=True)
class Bench:
    """A round's quotes, all attempts of the conversion, and the ledger's time."""

    rows: list[QuoteRow]
    attempts: list[Attempt]
    now: datetime
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Services that could have been asked in this round and were not, with their tiers."""

    @property
    def tried(self) -> set[str]:
        """Services that were attempted in this round."""
        asked = min((row.asked_at for row in self.rows), default=self.now)
        return {one.service_id for one in self.attempts if one.created_at >= asked}

    def candidates(self, passed_over: Mapping[str, str]) -> list[Quote]:
        """Quotes that may still be attempted, in their order."""
        ranked = sorted((row for row in self.rows if row.rank is not None), key=lambda row: row.rank or 0)
        out = self.tried | set(passed_over)
        quotes = [row.quote for row in ranked if row.quote is not None and row.service_id not in out]
        return [quote for quote in quotes if not quote.is_expired(self.now)]


@dataclass(frozen=True)
class Choice:
    """The quote to attempt, and the leave to place its order."""

    quote: Quote
    leave: Leave


class Choosing:
    """Finds the next candidate of a round. Asks Redis: no transaction may be open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def next(self, conversion: Conversion, bench: Bench, passed_over: dict[str, str]) -> Choice | None:
        """The next candidate that gives leave; those that do not are noted in `passed_over`, with the reason."""
        policy = self._desk.policy_of(conversion)
        if len(bench.tried) >= policy.max_attempts:
            return None
        for quote in bench.candidates(passed_over):
            if reason := self._objection(conversion, quote):
                passed_over[quote.service_id] = reason
        while candidates := bench.candidates(passed_over):
            quote = self._pick(policy, candidates, bench.waiting)
            try:
                return Choice(quote, self._desk.services[quote.service_id].enter())
            except (BreakerRefused, LimiterRefused) as refusal:
                passed_over[quote.service_id] = str(refusal)
        return None

    def _objection(self, conversion: Conversion, quote: Quote) -> str:
        """Why it cannot be attempted now, empty when it seems that it can."""
        guard = self._desk.services.get(quote.service_id)
        if guard is None:
            return "is not configured any more"
        snapshot = guard.breakers["execute"].snapshot()
        if not snapshot.admits:
            return "its breaker for executions is open"
        if snapshot.state is not BreakerState.CLOSED and not self._is_smallest(conversion, quote.service_id):
            return "a smaller conversion tries it first"
        return "its rate budget is used up" if guard.pause_before("order") else ""

    def _is_smallest(self, conversion: Conversion, service_id: str) -> bool:
        """Whether no other conversion of the same coins that may be attempted there now risks less: a service that
        comes back is tried with the smallest."""
        request = conversion.request
        with self._desk.ledger.begin() as work:
            others = work.exposure.candidates(service_id, request.from_asset.coin, request.to_asset.coin)
        return all((amount, other) >= (request.amount, conversion.id) for other, amount in others)

    def _pick(self, policy: RoutingPolicy, candidates: list[Quote], waiting: Mapping[str, int]) -> Quote:
        """The first of the order; among its equals, or its whole tier without best rate, whose turn it is."""
        tiers = {one.service_id: one.tier for one in policy.services}
        first = candidates[0]
        same_tier = [one for one in candidates if tiers.get(one.service_id) == tiers.get(first.service_id)]
        nets = {one.service_id: one.net for one in same_tier}
        by_id = {one.service_id: one for one in same_tier}
        if policy.load_balancing == ADAPTIVE:
            return by_id.get(self._desk.shared.adaptive.compare(nets, first.service_id) or "", first)
        if policy.always_use_best_rate:
            nets = {service_id: net for service_id, net in nets.items() if net == first.net}
        tier = policy.tier(tiers[first.service_id])
        late = [service_id for service_id, number in waiting.items() if number == tier.number]
        taken = self._desk.shared.turns.take(tier, list(nets), late)
        if policy.adaptive_shadow:
            self._desk.shared.adaptive.compare({one.service_id: one.net for one in same_tier}, taken)
        return by_id[taken]
