"""What really happened, by the services' own word, and what is to be said of it at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields

from converter.domain import events
from converter.domain.conversions import AttemptState, State
from tests.memory_ledger import MemoryLedger

_RAN_OUT = (State.FAILED, State.CANCELLED, State.EXPIRED)


class Truth:
    """Everything that the services executed and paid, by conversion."""

    def __init__(self) -> None:
        self.executions: defaultdict[str, list[str]] = defaultdict(list)
        self.payouts: defaultdict[str, list[str]] = defaultdict(list)
        self.trades: Counter[tuple[str, str]] = Counter()
        """Second trades, by conversion and order."""

    def executed(self, conversion_id: str, service_id: str, key: str) -> None:
        self.executions[conversion_id].append(f"{service_id}:{key}")

    def paid(self, conversion_id: str, service_id: str, key: str) -> None:
        self.payouts[conversion_id].append(f"{service_id}:{key}")

    def traded(self, conversion_id: str, order: str) -> None:
        self.trades[conversion_id, order] += 1

    def is_double(self, conversion_id: str) -> bool:
        return len(self.executions[conversion_id]) > 1 or len(self.payouts[conversion_id]) > 1


@dataclass
class Figures:
    """Counts of conversions. All but the first four must be zero."""

    conversions: int = 0
    completed: int = 0
    failed: int = 0
    parked: int = 0
    doubles: int = 0
    lost: int = 0
    """Neither ended nor parked, with all the time that it wanted."""
    stuck: int = 0
    """The same, and nothing would ever look at it again."""
    paid_but_failed: int = 0
    completed_but_unpaid: int = 0
    untold: int = 0
    """Parked, and no event told a person."""
    attempts: int = 0
    """More than one attempt open at once, or completed without exactly one that is settled."""
    changed_at_end: int = 0
    """Terminal, and changed afterwards; or a fence that fell."""
    unprepared: int = 0
    """Executed without a row in the ledger that says that it was sent."""
    clashes: int = 0
    """Nonces that two transactions carried, or second trades of one order."""
    broken: int = 0
    """Tasks that ended by an error that nobody foresaw."""

    @property
    def wrong(self) -> dict[str, int]:
        """What is not zero and must be."""
        counts = {one.name: getattr(self, one.name) for one in fields(self)[4:]}
        return {name: count for name, count in counts.items() if count}

    @property
    def unaided(self) -> float:
        """Per cent completed without a person."""
        return 100.0 * self.completed / self.conversions if self.conversions else 0.0

    def __iadd__(self, other: Figures) -> Figures:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self


@dataclass
class Verdict:
    """One world's figures, and the conversions with which something is wrong, with the reason."""

    figures: Figures
    wrong: dict[str, str] = field(default_factory=dict)


def judged(ledger: MemoryLedger, truth: Truth, observed: dict[str, str]) -> Verdict:
    """Compare the ledger with the services' truth. `observed`: what was wrong on the way, by conversion."""
    figures, wrong, store = Figures(), {}, ledger.store
    told = {event.conversion_id for event, _ in store.events if event.name == events.CONVERSION_NEEDS_REVIEW}
    for conversion in store.conversions.values():
        cid, state = conversion.id, conversion.state
        attempts = [store.attempts[one] for one in store.attempts_of.get(cid, ())]
        executed, paid = truth.executions.get(cid, ()), truth.payouts.get(cid, ())
        settled = sum(one.state is AttemptState.SETTLED for one in attempts)
        rests = state.is_terminal or state is State.NEEDS_REVIEW
        prepared = {store.operations[o].key for a in attempts for o in store.operations_of.get(a.id, ())}
        txids = {t.txid for a in attempts for o in store.operations_of.get(a.id, ()) if (t := store.transfers.get(o))}
        keys = {one.partition(":")[2] for one in (*executed, *paid)}
        found = {
            "doubles": len(executed) > 1 or len(paid) > 1,
            "lost": not rests and conversion.due_at is not None,
            "stuck": not rests and conversion.due_at is None,
            "paid_but_failed": state in _RAN_OUT and bool(executed or paid),
            "completed_but_unpaid": state is State.COMPLETED and not paid,
            "untold": state is State.NEEDS_REVIEW and cid not in told,
            "attempts": sum(one.is_open for one in attempts) > 1 or (state is State.COMPLETED and settled != 1),
            "unprepared": not keys <= prepared | txids,
        }
        figures.conversions += 1
        figures.completed += state is State.COMPLETED
        figures.failed += state in _RAN_OUT
        figures.parked += state is State.NEEDS_REVIEW
        names = [name for name, is_so in found.items() if is_so]
        for name in names:
            setattr(figures, name, getattr(figures, name) + 1)
        if names:
            wrong[cid] = f"{', '.join(names)}: {state}, executed {executed}, paid {paid} ({conversion.reason})"
    for (cid, order), trades in truth.trades.items():
        if trades > 1:
            figures.clashes += 1
            wrong.setdefault(cid, f"{trades} second trades of {order}")
    for cid, text in observed.items():
        name = text.partition(":")[0]
        setattr(figures, name, getattr(figures, name) + 1)
        wrong.setdefault(cid, text)
    return Verdict(figures, wrong)
