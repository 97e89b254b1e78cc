"""Attempts a conversion at the chosen service and fails over, on proven refusal only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from converter.desk import Desk, Next
from converter.domain import events
from converter.domain.conversions import Attempt, AttemptState, Conversion, OperationState, State
from converter.domain.errors import ClaimLost, Outcome, policy_of
from converter.domain.events import Event
from converter.domain.money import plain
from converter.domain.policy import backoff
from converter.domain.quotes import Quote, QuoteRow
from converter.ports import Work
from converter.sending import Prepared, Sending, Sent
from converter.settlement import Settlement


@dataclass(frozen=True)
class _Bench:
    """What may still be attempted in this round."""

    rows: list[QuoteRow]
    attempts: list[Attempt]


class Execution:
    """The use-case behind `conversions.execute`."""

    def __init__(self, desk: Desk, sending: Sending, settlement: Settlement) -> None:
        self._desk = desk
        self._sending = sending
        self._settlement = settlement

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
            return self._attempt_all(conversion)
        except ClaimLost:
            return None  # another owner goes on; whatever we know, the service knows too

    def _attempt_all(self, conversion: Conversion) -> Next | None:
        while True:
            with self._desk.ledger.begin() as work:
                attempts = work.attempts.of(conversion.id)
                open_attempt = next((one for one in attempts if one.is_open), None)
                rows = work.quotes.of_round(conversion.id, conversion.round)
                quote = None if open_attempt else self._candidate(work, conversion, _Bench(rows, attempts))
                if open_attempt is None and quote is None:
                    return self._exhausted(work, conversion, attempts)
                if quote is not None:
                    conversion, prepared = self._prepare(work, conversion, attempts, quote)
            if open_attempt is not None:
                return self._settlement.resume(conversion, open_attempt)
            sent = self._sending.place(conversion, prepared)
            if sent.outcome is not Outcome.NOT_EXECUTED:
                return self._settlement.after_send(conversion, prepared, sent)
            try:
                if not self._refused(conversion, prepared, sent):
                    return None
            except ClaimLost:
                self._sending.keep_proof(prepared, str(sent.error or "not sent in time"))
                raise

    def _candidate(self, work: Work, conversion: Conversion, bench: _Bench) -> Quote | None:
        """The best quote of the round that is still good and whose service has not been attempted for it."""
        policy = self._desk.policy_of(conversion)
        asked = min((row.asked_at for row in bench.rows), default=work.now())
        tried = {one.service_id for one in bench.attempts if one.created_at >= asked}
        if len(tried) >= policy.max_attempts:
            return None
        ranked = sorted((row for row in bench.rows if row.rank is not None), key=lambda row: row.rank or 0)
        for row in ranked:
            quote = row.quote
            if quote is None or quote.is_expired(work.now()) or row.service_id in tried:
                continue
            if row.service_id in self._desk.services and self._desk.services[row.service_id].admits("execute"):
                return quote
        return None

    def _prepare(
        self, work: Work, conversion: Conversion, attempts: list[Attempt], quote: Quote
    ) -> tuple[Conversion, Prepared]:
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
        return conversion, prepared

    def _refused(self, conversion: Conversion, prepared: Prepared, sent: Sent) -> bool:
        """Record a proven refusal. True: the next candidate may be attempted."""
        attempt, error = prepared.attempt, str(sent.error or "not sent in time")
        with self._desk.ledger.begin() as work:
            work.attempts.record(conversion, prepared.operation, OperationState.NOT_EXECUTED, error)
            refused = sent.error is not None
            work.attempts.move(conversion, attempt, AttemptState.NOT_EXECUTED, error=error, refused=refused)
            if sent.error is not None and policy_of(sent.error).counts_against_breaker:
                failures = work.quotes.recent_failures(attempt.service_id) + 1
                payload = {"serviceId": attempt.service_id, "failures": failures, "operation": "execute"}
                work.outbox.add(Event(events.SERVICE_FAILURE, payload, conversion.id))
            if self._desk.policy_of(conversion).auto_failover:
                return True
            work.outbox.add(Event(events.CONVERSION_FAILED, {"reason": error}, conversion.id))
            work.conversions.move(conversion, State.FAILED, reason=error)
            return False

    def _exhausted(self, work: Work, conversion: Conversion, attempts: list[Attempt]) -> Next | None:
        """Nobody is left in this round: ask again, at once at first, then with growing pauses."""
        reason = attempts[-1].error if attempts else "the quotes expired before they were attempted"
        rounds = max(0, conversion.round - 3)
        pause = backoff(rounds - 1) if rounds else timedelta(0)
        work.conversions.move(conversion, State.WAITING, due_at=work.now() + pause, reason=f"asking again: {reason}")
        return None if pause else Next.START
