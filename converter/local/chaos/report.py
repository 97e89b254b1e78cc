"""What a drill found, and whether the promises held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Parked:
    """A conversion that waits for a person. `alerted`: the event was written; `evidence`: it says what was sent;
    `story`: its attempts and operations by the ledger, for whoever wants to know why."""

    id: str
    reason: str
    alerted: bool
    evidence: bool
    story: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Counts of a drill. Latencies are from acceptance to settlement; `per_second`: accepted while faults struck.

    `doubles`: payments or executions beyond the first, per conversion. `lost`: completed, but nothing was delivered.
    `phantom`: delivered or executed, but not by the ledger's word. `unfinished`: neither ended nor parked when the
    time after the last fault was over. `breaches`: what the audit of the ledger found. `traces` names them one by one,
    and `settings` what was set for this run.
    """

    profile: str
    seed: int
    conversions: int
    completed: int
    failed: int
    unfinished: int
    doubles: int
    lost: int
    phantom: int
    goal: Decimal
    parked: tuple[Parked, ...]
    breaches: tuple[str, ...]
    traces: tuple[str, ...]
    failovers: int
    faults_struck: int
    strikes: dict[str, int]
    hints: int
    repeated: int
    under_fire: float
    seconds: float
    per_second: float
    p50_seconds: float
    p95_seconds: float
    settled_after_last_fault: float
    services: dict[str, dict[str, int]]
    pairs: dict[str, int]
    settings: dict[str, str]

    @property
    def unaided(self) -> Decimal:
        """Share of the conversions that were completed without a person."""
        return Decimal(self.completed) / self.conversions if self.conversions else Decimal(1)

    @property
    def broken(self) -> tuple[str, ...]:
        """The promises that were not kept; empty when all were."""
        silent = [one for one in self.parked if not (one.alerted and one.evidence)]
        found = {
            f"{self.doubles} paid or executed twice": self.doubles,
            f"{self.lost} lost": self.lost,
            f"{self.phantom} executed against the ledger's word": self.phantom,
            f"{self.unfinished} unfinished": self.unfinished,
            f"{self.failed} failed, where none may: an outage is waited out": self.failed,
            f"{len(self.breaches)} breaches by the audit, such as {', '.join(self.breaches[:2])}": self.breaches,
            f"{len(silent)} parked without an alert that carries evidence": silent,
            f"{self.unaided:.2%} completed unaided, {self.goal:.1%} is the goal": self.unaided < self.goal,
        }
        return tuple(text for text, broken in found.items() if broken)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "unaided": round(self.unaided, 5), "broken": self.broken}

    def lines(self) -> tuple[str, ...]:
        """For a terminal."""
        struck = [f"{self.faults_struck} faults outside", f"{self.hints} hints that nobody asked for"]
        struck += [f"{count} {blow}" for blow, count in self.strikes.items()]
        given = [f"{name.removeprefix('CONVERTER_')} {text}" for name, text in self.settings.items()]
        counts = f"{len(self.parked)} parked, {self.failed} failed, {self.unfinished} unfinished"
        pace = f"{self.under_fire:.0f} s under fire, {self.seconds:.0f} s in all, {self.per_second} accepted per second"
        return (
            f"{self.completed} of {self.conversions} completed ({self.unaided:.2%} unaided), {counts}",
            f"struck: {', '.join(struck)}; {self.failovers} failovers, {self.repeated} acceptances repeated",
            f"{pace}; p50 {self.p50_seconds} s, p95 {self.p95_seconds} s",
            f"the last settlement came {self.settled_after_last_fault} s after the last fault",
            f"set: {', '.join(given)}",
        )
