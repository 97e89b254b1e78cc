"""Decides which services to ask for a conversion, and opens the round of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from converter.desk import Desk
from converter.domain import conditions, events
from converter.domain.conversions import Conversion, State
from converter.domain.errors import NoServiceAvailable
from converter.domain.events import Event
from converter.domain.policy import backoff
from converter.domain.routing import Place, by_turns, whom_to_ask
from converter.domain.seats import SEEN_WITHIN, Bar, Seat, eligible, tier_in_use
from converter.ports import Work
from converter.seating import Outlook, Seating

BUSY_PAUSE = timedelta(seconds=2)
"""Rate budgets fill up again all the time."""

_A_MOMENT, _ROUNDS_HEARD = timedelta(seconds=15), 5

_PLANNED = (State.RECEIVED, State.WAITING, State.QUOTING)


@dataclass(frozen=True)
class Plan:
    """A round of asking. Each of `groups` is asked by one task, its services one after the other."""

    conversion_id: str
    round: int
    groups: tuple[tuple[str, ...], ...]


class Planning:
    """The use-case behind `conversions.start`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seating = Seating(desk)

    def start(self, conversion_id: str) -> Plan | None:
        """Open the next round, or let the conversion wait when nobody is eligible. None: nothing is to be asked.

        A round that is still open is repeated only after its due time; a repeated hint changes nothing.
        """
        with self._desk.ledger.begin() as work:
            seen = work.conversions.get(conversion_id)
            if seen.state not in _PLANNED or not _is_due(seen, work):
                return None
        outlook = self._seating.outlook(seen)
        with self._desk.ledger.begin() as work:
            conversion = work.conversions.claim(conversion_id, self._desk.owner, self._desk.timing.lease, _PLANNED)
            if conversion is None:
                return None
            if not _is_due(conversion, work):
                # Another start opened this round between our look and our claim.
                work.conversions.move(conversion, State.QUOTING)
                return None
            return self._open(work, conversion, outlook)

    def _open(self, work: Work, conversion: Conversion, outlook: Outlook) -> Plan | None:
        seats = self._seating.seats(work, conversion, outlook, work.attempts.of(conversion.id))
        tell_tier(work, conversion, seats)
        if not eligible(seats):
            reasons = {seat.service_id: seat.objection.text for seat in seats if seat.objection is not None}
            busy = any(seat.objection is not None and seat.objection.bar is Bar.BUSY for seat in seats)
            wait(work, conversion, str(NoServiceAvailable(reasons)), at_most=BUSY_PAUSE if busy else None)
            return None
        declined = asked_in_vain(work, conversion)
        policy = self._desk.policy_of(conversion)
        places = _places(eligible(seats), outlook)
        asked = _asked(places, declined, len(places) if _was_held(work, conversion) else policy.max_parallel_requests)
        moved = work.conversions.move(
            conversion,
            State.QUOTING,
            round=conversion.round + 1,
            due_at=work.now() + self._desk.timing.quoting,
        )
        turns = {place.service_id: place.turn for place in places}
        facts = [seat.facts(turns.get(seat.service_id), asked=seat.service_id in asked) for seat in seats]
        work.rounds.open(conversion.id, moved.round, facts)
        groups = tuple((one,) for one in asked) if policy.parallel_queries else (tuple(asked),)
        return Plan(conversion.id, moved.round, groups)


def _is_due(conversion: Conversion, work: Work) -> bool:
    """A round that is open is left alone: hints may be doubled."""
    return conversion.state is not State.QUOTING or conversion.due_at is None or conversion.due_at <= work.now()


def _places(seats: Sequence[Seat], outlook: Outlook) -> list[Place]:
    by_tier: dict[int, list[tuple[str, Decimal]]] = {}
    for seat in seats:
        by_tier.setdefault(seat.tier, []).append((seat.service_id, seat.weight))
    return by_turns(by_tier, outlook.turns)


def _was_held(work: Work, conversion: Conversion) -> bool:
    """Whether the last round could not be trusted: then everybody is a witness."""
    last = work.rounds.get(conversion.id, conversion.round)
    return last is not None and last.judgement.get("hold") is not None


def _asked(places: list[Place], declined: set[str], limit: int) -> list[str]:
    """Who had no offer a moment ago makes room for the others, and fills what they leave free."""
    willing = whom_to_ask([place for place in places if place.service_id not in declined], limit)
    others = whom_to_ask([place for place in places if place.service_id in declined], limit - len(willing))
    return [place.service_id for place in (*willing, *others)]


def asked_in_vain(work: Work, conversion: Conversion) -> set[str]:
    """Services that were asked a moment ago, in this round or one before, and had no offer."""
    rows = []
    for asked in range(max(1, conversion.round - _ROUNDS_HEARD), conversion.round + 1):
        rows += work.quotes.of_round(conversion.id, asked)
    latest = {row.service_id: row for row in rows if work.now() - row.asked_at <= _A_MOMENT}
    return {service_id for service_id, row in latest.items() if row.quote is None}


def tell_tier(work: Work, conversion: Conversion, seats: Sequence[Seat]) -> None:
    """Tell that a pair went over to services of a higher tier than it has by its configuration, or to nobody."""
    request = conversion.request
    able, present = tier_in_use(seats)
    if able is None:
        return  # no service of the regular tiers takes this pair or amount at all: that says nothing about the others
    state = conditions.NOBODY if present is None else str(present)
    pair = conditions.pair_of(request.from_asset, request.to_asset)
    name = conditions.tier_of(pair, request.policy)
    before = work.conditions.get(name)
    usual = str(able)
    if before is not None and before.state == state and work.now() - before.seen_at > SEEN_WITHIN:
        work.conditions.restart(name)
    if not work.conditions.enter(name, state, normal=usual):
        return
    worse_than = before.state if before is not None else usual
    if state <= worse_than:  # "1" < "2" < "3" < "nobody"
        return
    away = {
        seat.service_id: seat.objection.text
        for seat in seats
        if seat.objection is not None and seat.objection.bar is Bar.UNAVAILABLE
    }
    payload = {"pair": pair, "tier": present, "usual": able, "unavailable": away}
    work.outbox.add(Event(events.TIER_DEGRADED, payload, conversion.id))


def wait(work: Work, conversion: Conversion, reason: str, at_most: timedelta | None = None) -> Conversion:
    """Let a conversion wait for its next round: 5, 10, 20, 40, 60 seconds, told once for each reason."""
    seconds = backoff(max(0, conversion.round - 1))
    if conversion.state is State.WAITING:
        seconds = max(seconds, min(work.now() - conversion.since, timedelta(seconds=60)))
    seconds = seconds if at_most is None else min(seconds, at_most)
    if reason != conversion.reason:  # it stays with the conversion through the rounds that bring nothing
        payload = {"reason": reason, "seconds": round(seconds.total_seconds())}
        work.outbox.add(Event(events.CONVERSION_WAITING, payload, conversion.id))
    return work.conversions.move(conversion, State.WAITING, due_at=work.now() + seconds, reason=reason)
