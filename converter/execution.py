"""Attempts a conversion at the chosen service and fails over, on proven refusal only."""

from __future__ import annotations

from datetime import timedelta

from converter import ending
from converter.choosing import Bench, Choice, Choosing
from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.adaptive import Ending
from converter.domain.conversions import Attempt, Conversion, OperationState, State
from converter.domain.errors import ClaimLost, Outcome, policy_of
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.policy import backoff
from converter.domain.seats import EMERGENCY_TIER
from converter.planning import BUSY_PAUSE
from converter.ports import Work
from converter.seating import Seating
from converter.sending import Prepared, Sending, Sent
from converter.settlement import Settlement


class Execution:
    """The use-case behind `conversions.execute`."""

    def __init__(self, desk: Desk, sending: Sending, settlement: Settlement) -> None:
        self._desk = desk
        self._sending = sending
        self._settlement = settlement
        self._choosing = Choosing(desk)
        self._seating = Seating(desk)

    def execute(self, conversion_id: str) -> Next | None:
        """Attempt the ranked quotes one after the other until one is accepted or its outcome is unknown.

        Moves money. A conversion that already has an open attempt is handed to settlement: nothing new is begun.
        """
        lease = self._desk.timing.lease
        with self._desk.ledger.begin() as work:
            conversion = work.conversions.claim(conversion_id, self._desk.owner, lease, (State.EXECUTING,))
        if conversion is None:
            return None
        try:
            following = self._attempt_all(conversion)
        except ClaimLost:
            return None  # another owner goes on; whatever we know, the service knows too
        self._desk.shared.bulletin.flush(self._desk.ledger)
        return following

    def _attempt_all(self, conversion: Conversion) -> Next | None:
        passed_over: dict[str, str] = {}
        while True:
            with self._desk.ledger.begin() as work:
                attempts = work.attempts.of(conversion.id)
                open_attempt = next((one for one in attempts if one.is_open), None)
                rows = work.quotes.of_round(conversion.id, conversion.round)
                record = work.rounds.get(conversion.id, conversion.round)
                seats = record.seats if record is not None else ()
                waiting = {seat["service"]: seat["tier"] for seat in seats if seat["eligible"] and not seat["asked"]}
                bench = Bench(rows, attempts, work.now(), waiting)
            if open_attempt is not None:
                return self._settlement.resume(conversion, open_attempt)
            choice = self._choosing.next(conversion, bench, passed_over)
            with self._desk.ledger.begin() as work:
                if choice is None:
                    return self._exhausted(work, conversion, bench, passed_over)
                objection = self._seating.exposure(work, conversion, choice.quote.service_id)
                if not objection:
                    conversion, prepared = self._prepare(work, conversion, attempts, choice)
            if objection:
                self._desk.services[choice.quote.service_id].leave(choice.leave)
                passed_over[choice.quote.service_id] = objection
                continue
            sent = self._sending.place(conversion, prepared, choice.leave)
            if sent.outcome is not Outcome.NOT_EXECUTED:
                following = self._settlement.after_send(conversion, prepared, sent)
                self._desk.shared.adaptive.note(choice.quote.service_id, _ENDINGS[sent.outcome])
                return following
            try:
                may_go_on = self._refused(conversion, prepared, sent)
            except ClaimLost:
                self._sending.keep_proof(prepared, str(sent.error or "not sent in time"))
                raise
            self._desk.shared.adaptive.note(choice.quote.service_id, _ENDINGS[sent.outcome])
            if not may_go_on:
                return None

    def _prepare(
        self, work: Work, conversion: Conversion, attempts: list[Attempt], choice: Choice
    ) -> tuple[Conversion, Prepared]:
        quote = choice.quote
        previous = attempts[-1].service_id if attempts else None
        failing_over = previous is not None and previous != quote.service_id
        conversion = work.conversions.move(
            conversion,
            State.EXECUTING,
            release=False,
            service_id=quote.service_id,
            promised=quote.net,
            failovers=conversion.failovers + failing_over,
            due_at=work.now() + self._desk.timing.lease,
        )
        prepared = self._sending.prepare_attempt(work, conversion, len(attempts) + 1, quote)
        payload = {"serviceId": quote.service_id, "attempt": prepared.attempt.number, "net": plain(quote.net)}
        work.outbox.add(Event(events.CONVERSION_EXECUTING, payload, conversion.id))
        place = self._desk.policy_of(conversion).place_of(quote.service_id)
        if place is not None and place.tier == EMERGENCY_TIER:
            work.outbox.add(Event(events.EMERGENCY_ACTIVATED, payload, conversion.id))
        return conversion, prepared

    def _refused(self, conversion: Conversion, prepared: Prepared, sent: Sent) -> bool:
        """Record a proven refusal. True: the next candidate may be attempted."""
        attempt, error = prepared.attempt, str(sent.error or "not sent in time")
        with self._desk.ledger.begin() as work:
            work.attempts.record(conversion, prepared.operation, OperationState.NOT_EXECUTED, error)
            refused = sent.error is not None
            ending.give_back(work, conversion, attempt, error, refused=refused)
            if sent.error is not None and policy_of(sent.error).counts_against_breaker:
                failures = work.quotes.recent_failures(attempt.service_id) + 1
                payload = {"serviceId": attempt.service_id, "failures": failures, "operation": "execute"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload, conversion.id))
            self._desk.shared.bulletin.write(work)
            if self._desk.policy_of(conversion).auto_failover:
                return True
            work.outbox.add(Event(events.CONVERSION_FAILED, {"reason": error}, conversion.id))
            work.conversions.move(conversion, State.FAILED, reason=error)
            return False

    def _exhausted(self, work: Work, conversion: Conversion, bench: Bench, passed_over: dict[str, str]) -> Next | None:
        """Nobody is left in this round: ask again, at once at first, then with growing pauses."""
        attempts = bench.attempts
        reasons = [attempts[-1].error] if attempts else []
        reasons += [f"{service_id}: {text}" for service_id, text in passed_over.items()]
        reason = "; ".join(reasons) or "the quotes expired before they were attempted"
        if bench.tried:
            payload = {"from": attempts[-1].service_id, "reason": reason, "tried": sorted(bench.tried)}
            work.outbox.add(Event(events.FAILOVER_FAILED, payload, conversion.id))
        rounds = max(0, conversion.round - 3)
        pause = backoff(rounds - 1) if rounds else timedelta(0)
        if passed_over and not bench.tried:
            pause = max(pause, BUSY_PAUSE)  # nobody was asked to do anything: asking again at once would be the same
        work.conversions.move(conversion, State.WAITING, due_at=work.now() + pause, reason=f"asking again: {reason}")
        return None if pause else Next.START


_ENDINGS = {
    Outcome.EXECUTED: Ending.ACCEPTED,
    Outcome.PENDING: Ending.ACCEPTED,
    Outcome.NOT_EXECUTED: Ending.REFUSED,
    Outcome.UNKNOWN: Ending.UNKNOWN,
}
