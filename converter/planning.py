"""Decides which services to ask for a conversion, and opens the round of asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from converter.desk import Desk
from converter.domain import events
from converter.domain.conversions import Attempt, AttemptState, Conversion, State
from converter.domain.errors import NoServiceAvailable
from converter.domain.events import Event
from converter.domain.policy import RoutingPolicy, ServicePolicy, backoff
from converter.domain.routing import by_weight, whom_to_ask
from converter.ports import Work
from converter.quoting import is_refusal

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

    def start(self, conversion_id: str) -> Plan | None:
        """Open the next round, or let the conversion wait when nobody is eligible. None: nothing is to be asked.

        A round that is still open is repeated only after its due time; a repeated hint changes nothing.
        """
        with self._desk.ledger.begin() as work:
            seen = work.conversions.get(conversion_id)
            if seen.state is State.QUOTING and seen.due_at is not None and seen.due_at > work.now():
                return None
            conversion = work.conversions.claim(conversion_id, self._desk.owner, self._desk.timing.lease, _PLANNED)
            if conversion is None:
                return None
            if conversion.state is State.QUOTING and conversion.due_at is not None and conversion.due_at > work.now():
                # Another start opened this round between our look and our claim.
                work.conversions.move(conversion, State.QUOTING)
                return None
            policy = self._desk.policy_of(conversion)
            attempts = work.attempts.of(conversion_id)
            try:
                rows = work.quotes.of_round(conversion_id, conversion.round)
                declined = {row.service_id for row in rows if is_refusal(row)}
                groups = self._groups(conversion, policy, (attempts, declined), work.now())
            except NoServiceAvailable as error:
                wait(work, conversion, str(error))
                return None
            moved = work.conversions.move(
                conversion,
                State.QUOTING,
                round=conversion.round + 1,
                due_at=work.now() + self._desk.timing.quoting,
                reason="",
            )
        return Plan(conversion_id, moved.round, groups)

    def _groups(
        self, conversion: Conversion, policy: RoutingPolicy, before: tuple[list[Attempt], set[str]], now: datetime
    ) -> tuple[tuple[str, ...], ...]:
        (attempts, declined), reasons = before, dict[str, str]()
        eligible = []
        ended = (AttemptState.NOT_EXECUTED, AttemptState.REFUNDED)
        recent = [one for one in attempts if one.state in ended and one.refused]
        refused = {one.service_id for one in recent if now - one.updated_at < policy.refused_for}
        for place in policy.services:
            if place.service_id not in self._desk.services:
                continue
            reason = "refused just now" if place.service_id in refused else self._objection(place, conversion)
            if reason:
                reasons[place.service_id] = reason
            else:
                eligible.append((place.service_id, place.tier, place.weight))
        if not eligible:
            raise NoServiceAvailable(reasons)
        # Who declined to quote in the last round makes room for the others, and fills what they leave free.
        limit, places = policy.max_parallel_requests, by_weight(eligible)
        willing = whom_to_ask([place for place in places if place.service_id not in declined], limit)
        others = whom_to_ask([place for place in places if place.service_id in declined], limit - len(willing))
        asked = [place.service_id for place in (*willing, *others)]
        return tuple((one,) for one in asked) if policy.parallel_queries else (tuple(asked),)

    def _objection(self, place: ServicePolicy, conversion: Conversion) -> str:
        """Why the service cannot be asked, empty when it can."""
        service = self._desk.services[place.service_id]
        request = conversion.request
        if not service.supports(request.from_asset, request.to_asset):
            return "does not convert this pair"
        minimum = place.minimum.get(request.from_asset.coin)
        if minimum is not None and request.amount < minimum:
            return f"takes no less than {minimum:f}"
        if not self._desk.can_deposit(service, request.from_asset):
            return f"no wallet pays deposits of {request.from_asset}"
        if not (service.admits("quote") and service.admits("execute")):
            return "its breaker is open"
        return ""


def wait(work: Work, conversion: Conversion, reason: str) -> Conversion:
    """Let a conversion wait for its next round: 5, 10, 20, 40, 60 seconds, told once for each reason."""
    seconds = backoff(max(0, conversion.round - 1))
    if conversion.state is State.WAITING:
        seconds = max(seconds, min(work.now() - conversion.since, timedelta(seconds=60)))
    if conversion.state is not State.WAITING or reason != conversion.reason:
        payload = {"reason": reason, "seconds": round(seconds.total_seconds())}
        work.outbox.add(Event(events.CONVERSION_WAITING, payload, conversion.id))
    return work.conversions.move(conversion, State.WAITING, due_at=work.now() + seconds, reason=reason)
