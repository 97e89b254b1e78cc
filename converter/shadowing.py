"""Shadow quotes: a service in quarantine is asked for show, so that it can come back when its rates are good again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from converter.asking import Answer, Asking, Terms
from converter.desk import Desk
from converter.domain.anomalies import Code, RatedQuote, judge
from converter.domain.conditions import pair_of
from converter.domain.errors import ServiceError
from converter.domain.quarantine import after_verdict
from converter.domain.quotes import QuoteRequest
from converter.domain.rating import malformed, rate_of
from converter.guard import may_be_asked
from converter.harmless import Harmless
from converter.ports import Deadline
from converter.selecting import tell_standing

_WITNESSES = 2
_SECONDS = 5.0


class Shadowing:
    """The use-case behind `rates.shadow`. Nothing that it hears is ever executed."""

    def __init__(self, desk: Desk, asking: Asking) -> None:
        self._desk = desk
        self._asking = asking

    def run(self) -> list[str]:
        """Ask every service in quarantine, beside others that can bear witness; returns whom."""
        standings = self._desk.shared.rates.standings(sorted(self._desk.services))
        quarantined = [service_id for service_id, standing in standings.items() if standing.is_quarantined]
        for service_id in quarantined:
            with self._desk.ledger.begin() as work:
                row = work.quotes.latest(service_id)
            if row is not None and row.quote is not None:
                with Harmless(f"the shadow quote of {service_id}", ServiceError):
                    self._judge(service_id, row.quote.request, quarantined)
        return quarantined

    def _judge(self, service_id: str, request: QuoteRequest, quarantined: list[str]) -> None:
        """Ask for what it was asked last, and judge its answer by the others' and by history."""
        pair = (request.from_asset, request.to_asset)
        free = {one: guard for one, guard in self._desk.services.items() if one not in quarantined}
        others = [one for one, guard in free.items() if guard.supports(*pair) and not may_be_asked(guard)]
        rated = []
        for one in (service_id, *others[:_WITNESSES]):
            quote = self._ask(one, request)
            if quote is not None:
                rated.append(quote)
        now = self._desk.ledger.now()
        state = self._desk.shared.rates.pair(pair_of(*pair))
        verdicts = {one.service_id: one for one in judge(rated, state, quarantined, now).verdicts}
        verdict = verdicts.get(service_id)
        if verdict is None:
            return
        if verdict.code is Code.HELD and not any(guard.supports(*pair) for guard in free.values()):
            # Nobody can ever bear witness: then its time alone ends the quarantine, as it alone converts the pair.
            verdict = replace(verdict, code=Code.SHADOW)
        step = partial(after_verdict, verdict=verdict, now=now)
        change = self._desk.shared.rates.note(service_id, step, now)
        with self._desk.ledger.begin() as work:
            tell_standing(work, service_id, change.standing)
            self._desk.shared.bulletin.write(work)

    def _ask(self, service_id: str, request: QuoteRequest) -> RatedQuote | None:
        last = Deadline.after(_SECONDS)
        asked_at = self._desk.ledger.now()
        answer = self._asking.ask(self._desk.services[service_id], request, Terms(last, last, share=True))
        if not isinstance(answer, Answer) or answer.quote is None or malformed(answer.quote, request):
            return None
        return RatedQuote(service_id, rate_of(answer.quote), asked_at, answer.quote.expires_at)
