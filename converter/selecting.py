"""Turns the quotes of a round into the order in which they may be attempted.

Judging comes first and asks Redis, so it stands before the transaction. What it remembers (history, strikes) may be
remembered twice when a task runs twice: history weighs by time, and strikes close together are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from converter.desk import Desk, Next
from converter.domain import conditions, events
from converter.domain.anomalies import (
    ANOMALOUS,
    HOLD_ALERTS,
    HOLD_ASKS_AGAIN,
    Hold,
    HoldCode,
    Judgement,
    PairState,
    RatedQuote,
    judge,
)
from converter.domain.conversions import Conversion, State
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.policy import RoutingPolicy
from converter.domain.quarantine import Change, Standing, after_verdict
from converter.domain.quotes import QuoteRequest, QuoteRow
from converter.domain.rating import malformed, rate_of
from converter.domain.routing import Offer, by_turns, rank
from converter.domain.seats import EMERGENCY_TIER
from converter.planning import asked_in_vain, wait
from converter.ports import Work
from converter.quoting import is_refusal

_ROUNDS_HEARD = 5


@dataclass(frozen=True)
class Judged:
    """A round after judging: which quotes may be used, and whose standing changed."""

    judgement: Judgement
    usable: list[QuoteRow]
    refused: dict[str, str]
    """Services whose quotes were no answers to the question, and why."""
    changes: dict[str, Change]


class Selecting:
    """The use-case behind `rates.select`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def select(self, conversion_id: str, asked_round: int) -> Next | None:
        """Choose from what the ledger holds of this round; a round that is over changes nothing."""
        with self._desk.ledger.begin() as work:
            seen = work.conversions.get(conversion_id)
            if seen.round != asked_round or seen.state is not State.QUOTING:
                return None
            rows, now = work.quotes.of_round(conversion_id, asked_round), work.now()
        judged = self._judge(seen, rows, now)
        ranked = self._ranked(seen, judged.usable)
        with self._desk.ledger.begin() as work:
            lease = self._desk.timing.lease
            conversion = work.conversions.claim(conversion_id, self._desk.owner, lease, (State.QUOTING,))
            if conversion is None:
                return None
            if conversion.round != asked_round:
                work.conversions.move(conversion, State.QUOTING)
                return None
            self._tell(work, conversion, judged)
            work.rounds.judge(conversion_id, asked_round, _facts(judged, ranked, self._desk.policy_of(conversion)))
            if not ranked:
                return self._nobody(work, conversion, rows, judged)
            work.quotes.set_ranks([row.id for row in ranked])
            best = ranked[0].quote
            if best is not None:
                payload = {"serviceId": best.service_id, "net": plain(best.net), "quotes": len(rows)}
                work.outbox.add(Event(events.CONVERSION_QUOTED, payload, conversion_id))
            due_at = work.now() + self._desk.timing.handover
            work.conversions.move(conversion, State.EXECUTING, due_at=due_at, reason="")
        return Next.EXECUTE

    def _judge(self, conversion: Conversion, rows: list[QuoteRow], now: datetime) -> Judged:
        request = conversion.request
        asked = QuoteRequest(request.from_asset, request.to_asset, request.amount)
        offers = {row.service_id: row for row in rows if row.quote is not None}
        refused = {one: text for one, row in offers.items() if row.quote and (text := malformed(row.quote, asked))}
        rated = [
            RatedQuote(one, rate_of(row.quote), row.asked_at, row.quote.expires_at)
            for one, row in offers.items()
            if row.quote is not None and one not in refused
        ]
        rates = self._desk.shared.rates
        quarantined = [one for one, standing in rates.standings(list(offers)).items() if standing.is_quarantined]
        policy = self._desk.policy_of(conversion)
        alone = policy.allow_unverified or len(self._converting(conversion, regular=True)) <= 1
        step = partial(_step, rated, quarantined, now, allow_unverified=alone)
        pair = conditions.pair_of(request.from_asset, request.to_asset)
        judgement = rates.learn(pair, step, now) if rated else step(rates.pair(pair))
        changes = {
            one.service_id: rates.note(one.service_id, lambda standing, one=one: after_verdict(standing, one, now), now)  # type: ignore[misc]
            for one in judgement.verdicts
            if one.strike or one.service_id in quarantined
        }
        return Judged(judgement, [offers[one] for one in judgement.accepted], refused, changes)

    def _ranked(self, conversion: Conversion, usable: list[QuoteRow]) -> list[QuoteRow]:
        """The usable quotes that may be attempted, best first, equals by the balancer's turn."""
        policy = self._desk.policy_of(conversion)
        valid = {row.service_id: row for row in usable}
        by_tier: dict[int, list[tuple[str, Decimal]]] = {}
        for place in policy.services:
            if place.service_id in valid:
                by_tier.setdefault(place.tier, []).append((place.service_id, place.weight))
        turns = {
            tier: self._desk.shared.turns.turns(policy.tier(tier), [service_id for service_id, _ in members])
            for tier, members in by_tier.items()
            if len(members) > 1
        }
        offers = []
        for seat in by_turns(by_tier, turns):
            quote = valid[seat.service_id].quote
            offers.append(Offer(seat, quote.net if quote is not None else Decimal(0)))
        ordered = rank(offers, policy.max_rate_difference, best_rate=policy.always_use_best_rate)
        return [valid[offer.place.service_id] for offer in ordered]

    def _tell(self, work: Work, conversion: Conversion, judged: Judged) -> None:
        """Events of a judged round, with the conversion's own change, so that each is told once."""
        pair = conditions.pair_of(conversion.request.from_asset, conversion.request.to_asset)
        for one in judged.judgement.verdicts:
            if one.code in ANOMALOUS:
                payload = {"serviceId": one.service_id, "pair": pair, "code": one.code, "reason": one.text}
                work.outbox.add(Event(events.RATE_ANOMALY, {**payload, "strike": one.strike}, conversion.id))
        for service_id, change in judged.changes.items():
            tell_standing(work, service_id, change.standing)
        hold = judged.judgement.state.hold
        state = conditions.OFF if hold is None else str(hold.code)
        entered = work.conditions.enter(conditions.hold_of(pair), state, normal=conditions.OFF)
        if entered and hold is not None and hold.code is HoldCode.JUMP:
            rate = None if hold.rate is None else plain(hold.rate)
            reference = judged.judgement.reference
            known = None if reference is None else plain(reference)
            work.outbox.add(Event(events.RATE_JUMP, {"pair": pair, "rate": rate, "reference": known}, conversion.id))

    def _nobody(self, work: Work, conversion: Conversion, rows: list[QuoteRow], judged: Judged) -> Next | None:
        """No usable quote: ask those who were not asked yet, at once; fail when every service says that the amount is
        too small; else wait and ask again."""
        hold = judged.judgement.state.hold if judged.judgement.verdicts else None
        if self._others(work, conversion, held=hold is not None):
            work.conversions.move(conversion, State.WAITING, due_at=work.now())
            return Next.START
        if hold is not None:
            self._held(work, conversion, hold)
            return None
        texts = {one.service_id: one.text for one in judged.judgement.verdicts} | judged.refused
        reasons = [f"{row.service_id}: {row.error or texts.get(row.service_id) or 'no usable quote'}" for row in rows]
        seen = [*rows]  # one round cannot ask all: what the rounds just before were told counts as well
        for asked in range(max(1, conversion.round - _ROUNDS_HEARD), conversion.round):
            seen += work.quotes.of_round(conversion.id, asked)
        minimums = {row.service_id: row.minimum for row in seen if row.minimum is not None and is_refusal(row)}
        if minimums and set(minimums) >= self._converting(conversion):
            reason = f"amount: below every service's minimum; accepted: at least {plain(min(minimums.values()))}"
            work.outbox.add(Event(events.CONVERSION_FAILED, {"reason": reason}, conversion.id))
            work.conversions.move(conversion, State.FAILED, reason=reason)
            return None
        wait(work, conversion, "; ".join(reasons) or "nobody answered")
        return None

    def _others(self, work: Work, conversion: Conversion, *, held: bool) -> bool:
        """Whether somebody who could be asked was not: in this round, where witnesses are wanted, or just before."""
        record = work.rounds.get(conversion.id, conversion.round)
        seats = record.seats if record is not None else ()
        asked = {seat["service"] for seat in seats if seat["asked"]}
        asked |= set() if held else asked_in_vain(work, conversion)
        return any(seat["eligible"] and seat["service"] not in asked for seat in seats)

    def _held(self, work: Work, conversion: Conversion, hold: Hold) -> None:
        """The pair is held: ask again in half a minute; an operator hears of it when that lasts."""
        pair = conditions.pair_of(conversion.request.from_asset, conversion.request.to_asset)
        reason = f"the rate of {pair} is held: {_HOLDS[hold.code]}"
        now = work.now()
        if hold.is_due(HOLD_ALERTS, now):
            reason += "; an operator can confirm it (converter rates confirm)"
        if reason != conversion.reason:
            payload = {"reason": reason, "seconds": round(HOLD_ASKS_AGAIN.total_seconds())}
            work.outbox.add(Event(events.CONVERSION_WAITING, payload, conversion.id))
        work.conversions.move(conversion, State.WAITING, due_at=now + HOLD_ASKS_AGAIN, reason=reason)

    def _converting(self, conversion: Conversion, *, regular: bool = False) -> set[str]:
        """Every service that could take this pair, asked or not, away or not; `regular`: below the emergency tier."""
        request = conversion.request
        return {
            place.service_id
            for place in self._desk.policy_of(conversion).services
            if not (regular and place.tier == EMERGENCY_TIER)
            and (service := self._desk.services.get(place.service_id)) is not None
            and service.supports(request.from_asset, request.to_asset)
            and self._desk.can_deposit(service, request.from_asset)
            and request.amount >= place.minimum.get(request.from_asset.coin, Decimal(0))
        }


_HOLDS = {
    HoldCode.JUMP: "it jumped, and fewer than three quotes agree",
    HoldCode.NO_AGREEMENT: "the quotes contradict each other",
    HoldCode.UNVERIFIED: "there is one quote and nothing to compare it with",
}


def tell_standing(work: Work, service_id: str, standing: Standing) -> None:
    """Tell that a service went into quarantine, or came back, whoever finds it first."""
    state = conditions.ON if standing.is_quarantined else conditions.OFF
    if not work.conditions.enter(conditions.quarantine_of(service_id), state, normal=conditions.OFF):
        return
    if standing.is_quarantined:
        payload: dict[str, Any] = {
            "serviceId": service_id,
            "until": None if standing.until is None else standing.until.isoformat(),
            "needsOperator": standing.needs_operator,
        }
        work.outbox.add(Event(events.SERVICE_QUARANTINED, payload))
    else:
        work.outbox.add(Event(events.SERVICE_RECOVERED, {"serviceId": service_id, "operation": "rates"}))


def _step(
    rated: list[RatedQuote], quarantined: list[str], now: datetime, state: PairState, *, allow_unverified: bool
) -> Judgement:
    return judge(rated, state, quarantined, now, allow_unverified=allow_unverified)


def _facts(judged: Judged, ranked: list[QuoteRow], policy: RoutingPolicy) -> dict[str, Any]:
    """The judgement for the explain record. Amounts are text; `age` in ms when it was judged."""
    judgement, hold = judged.judgement, judged.judgement.state.hold
    nets = [row.quote.net for row in judged.usable if row.quote is not None]
    return {
        "reference": None if judgement.reference is None else plain(judgement.reference),
        "tolerance": plain(judgement.tolerance),
        "hold": None if hold is None else str(hold.code),
        "bestNet": plain(max(nets)) if nets else None,
        "maxRateDifference": plain(policy.max_rate_difference),
        "verdicts": {one.service_id: {"code": one.code, "text": one.text} for one in judgement.verdicts}
        | {service_id: {"code": "malformed", "text": text} for service_id, text in judged.refused.items()},
        "order": [row.service_id for row in ranked],
        "why": _why(ranked, policy),
    }


def _why(ranked: list[QuoteRow], policy: RoutingPolicy) -> str:
    """Why the first of the order goes first."""
    places = {one.service_id: one for one in policy.services}
    if not ranked or ranked[0].quote is None:
        return ""
    first = ranked[0]
    tier = places[first.service_id].tier
    same = [row for row in ranked if places[row.service_id].tier == tier and row.quote is not None]
    lower = f"tier {tier} is the lowest in the band"
    if len(same) == 1:
        return f"{lower}, and it is alone there"
    if not policy.always_use_best_rate:
        return f"{lower}, and it is its turn ({policy.load_balancing})"
    equals = [row for row in same if row.quote is not None and row.quote.net == ranked[0].quote.net]
    if len(equals) > 1:
        return f"{lower}, its net is the largest there, and among {len(equals)} equals it is its turn"
    return f"{lower}, and its net is the largest there"
