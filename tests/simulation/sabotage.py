"""The system with one guard taken out: proof that the simulation sees what that guard is there for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from converter.asking import Asking
from converter.desk import Desk
from converter.domain.conversions import Attempt, Conversion, Operation
from converter.domain.errors import ConverterError, Outcome
from converter.domain.orders import OperationKind, OperationRule, step_done
from converter.ports import Deadline
from converter.reconciliation import Finding, Reconciliation, _absent
from converter.sending import Prepared, Sending, Sent
from tests.builders import seconds
from tests.memory_ledger.store import Guard
from tests.simulation.profiles import APPROVAL, BAD_DAY, KINDS, Profile
from tests.simulation.world import Office, World, wired


class HastySending(Sending):
    """Takes every error for a refusal."""

    def _send(self, conversion: Conversion, prepared: Prepared, call: Any) -> Sent:
        sent = super()._send(conversion, prepared, call)
        return replace(sent, outcome=Outcome.NOT_EXECUTED) if sent.outcome is Outcome.UNKNOWN else sent


class OnceMoreSending(Sending):
    """Takes any refusal for proof, whoever sent the same before."""

    def _send(self, conversion: Conversion, prepared: Prepared, call: Any) -> Sent:
        operation = replace(prepared.operation, sends=1, fence=conversion.fence)
        return super()._send(conversion, replace(prepared, operation=operation), call)


class TimelessSending(Sending):
    """Sends whenever it gets round to it, and lets the service take it whenever it comes."""

    def _send_by(self, service_id: str) -> Deadline:
        return Deadline.after(86_400)


class LateClock(Reconciliation):
    """Reads the clock after the answer instead of before the question."""

    def find(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> Finding:
        if operation.kind is OperationKind.DEPOSIT:
            return super().find(conversion, attempt, operation)
        try:
            order = self.look(conversion, attempt)
        except ConverterError as error:
            return Finding(Outcome.UNKNOWN, error=str(error), absences=operation.absences)
        if order is not None and step_done(operation.kind, order.status):
            return Finding(Outcome.EXECUTED, order)
        rule = self._desk.services[attempt.service_id].capabilities.rules[operation.kind]
        return _absent(rule, operation, self._desk.ledger.now(), order)


@dataclass(frozen=True)
class Sabotage:
    """What is taken out."""

    guards: frozenset[Guard] = frozenset()
    """Of the ledger."""
    rules: Mapping[str, Mapping[OperationKind, OperationRule]] = field(default_factory=dict)
    """What the engine believes of some kinds of services."""
    sending: type[Sending] = Sending
    reconciliation: type[Reconciliation] = Reconciliation


def _believed(**changes: Any) -> dict[str, dict[OperationKind, OperationRule]]:
    """Every rule of a service that can be looked up, changed."""
    return {
        name: {key: replace(rule, **changes) for key, rule in kind.rules.items() if rule.quiet is not None}
        for name, kind in KINDS.items()
    }


_PROVES = OperationRule(moves_money=True, quiet=seconds(120))
_REPEATS = OperationRule(moves_money=True, repeat_recognised=True)
_INDEX, _FENCE = Guard.ONE_OPEN_ATTEMPT, Guard.FENCE

SABOTAGES: Mapping[str, Sabotage] = {
    "nothing": Sabotage(),
    "failover on any error": Sabotage(sending=HastySending),
    "a refused repeat taken for proof": Sabotage(sending=OnceMoreSending),
    "sends not counted": Sabotage(frozenset({Guard.COUNTED_SENDS})),
    "sent after send_before": Sabotage(sending=TimelessSending),
    "no quiet time": Sabotage(rules=_believed(quiet=seconds(0))),
    "one absence is enough": Sabotage(rules=_believed(absences=1)),
    "clock read after the answer": Sabotage(reconciliation=LateClock),
    "a look-up believed that proves nothing": Sabotage(rules={"blind": {APPROVAL: _PROVES}}),
    "a repeat believed that is not recognised": Sabotage(rules={"blind": {APPROVAL: _REPEATS}}),
    "no fence": Sabotage(frozenset({_FENCE})),
    "no claim": Sabotage(frozenset({Guard.CLAIM})),
    "no lease": Sabotage(frozenset({Guard.LEASE})),
    "no state": Sabotage(frozenset({Guard.STATE})),
    "no one-open-attempt index": Sabotage(frozenset({_INDEX})),
    "no fence, no one-open-attempt index": Sabotage(frozenset({_FENCE, _INDEX})),
    "no one-operation-per-step index": Sabotage(frozenset({Guard.ONE_OPERATION_PER_STEP})),
    "no fence, no one-operation-per-step index": Sabotage(frozenset({_FENCE, Guard.ONE_OPERATION_PER_STEP})),
    "no one-transfer-per-nonce index": Sabotage(frozenset({Guard.ONE_TRANSFER_PER_NONCE})),
}


_DOUBTFUL = replace(BAD_DAY, name="doubtful", unknown=0.5, crash=0.005, failed_reads=0.05, failed_quotes=0.0, holds=0.0)
"""Outcomes are unknown more often than not, and hardly anything else goes wrong."""
_REPEATED = replace(_DOUBTFUL, refused=0.4, late=5.0, very_late=5.0, crash=0.02, long_pause=0.05, longest_pause=90.0)
"""What one worker is refused, another one has done."""
_SHOWN_LATE = replace(
    _DOUBTFUL,
    refused=0.0,
    unknown=0.7,
    late=2.0,
    very_late=2.0,
    shown_late=1.0,
    failed_reads=0.0,
    crash=0.0,
    short_pause=0.0,
    long_pause=0.15,
    longest_pause=29.0,
)
"""Workers are paused for less than their lease, and services take long to show what they did."""
_STALE = replace(_DOUBTFUL, long_pause=0.1, longest_pause=90.0)
"""Workers wake up when their lease is over."""

SHARP: Mapping[str, tuple[tuple[str, ...], Profile]] = {
    "failover on any error": (("once", "once"), _DOUBTFUL),
    "a refused repeat taken for proof": (("once", "once"), _REPEATED),
    "sends not counted": (("once", "once"), _REPEATED),
    "sent after send_before": (("exchange", "looked up"), _DOUBTFUL),
    "no quiet time": (("soon looked up", "exchange"), _DOUBTFUL),
    "one absence is enough": (("exchange", "two legs"), _DOUBTFUL),
    "clock read after the answer": (("soon looked up", "soon looked up"), _SHOWN_LATE),
    "a look-up believed that proves nothing": (("blind", "blind"), _DOUBTFUL),
    "a repeat believed that is not recognised": (("blind", "blind"), _DOUBTFUL),
    "no fence": (("once", "once"), _STALE),
    "no fence, no one-operation-per-step index": (("swap", "swap"), _STALE),
}
"""Where each guard is needed most: services by kind, and the day that they have. Guards that are not named here stand
behind others that hold without them: the claim, the lease, the state and the indexes behind the fence."""


class Sabotaged(World):
    """A world in which something is taken out."""

    sabotage: Sabotage

    @classmethod
    def by(cls, sabotage: Sabotage) -> type[Sabotaged]:
        return type("Sabotaged", (cls,), {"sabotage": sabotage})

    def make_ledger(self) -> Any:
        ledger = super().make_ledger()
        ledger.store.guards = frozenset(ledger.store.guards) - self.sabotage.guards
        return ledger

    def _services(self) -> Any:
        services = super()._services()
        for (kind, _), service in zip(self.setup.mix, services.values(), strict=True):
            service.believe(self.sabotage.rules.get(kind, {}))
        return services

    def wire(self, desk: Desk, asking: Asking) -> Office:
        return wired(desk, asking, self.sabotage.sending(desk), self.sabotage.reconciliation(desk))
