"""The audit: what must always hold of the ledger is looked at, and the ledger compared with the services' own lists.

Reads only. A breach is told once, when it is first found, and forgotten when it is found no more. What the services
list is compared by our key where it travelled, else by their order's id or the payout's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from converter.comparing import Comparing
from converter.domain import conditions, events
from converter.domain.breaches import INVARIANTS, PREFIX, Breach
from converter.domain.events import Event
from converter.ports import Ledger

WINDOW = timedelta(hours=24)
"""What changed in this time is looked at again by each audit; what is open always is."""

_NAMED = 50
"""Breaches that one event names."""


@dataclass(frozen=True)
class Audit:
    """What an audit found. `compared`: entries of a service's own list, or why it could not be asked."""

    at: datetime
    since: datetime
    breaches: tuple[Breach, ...]
    compared: Mapping[str, int | str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "at": self.at.isoformat(),
            "since": self.since.isoformat(),
            "sound": not self.breaches,
            "breaches": [
                {"invariant": one.invariant, "conversionId": one.conversion_id, "detail": one.detail}
                for one in self.breaches
            ],
            "invariants": dict(INVARIANTS),
            "compared": dict(self.compared),
        }


class Auditing:
    """The use-case behind `ledger.audit`. `secrets`: values that no stored text may hold. Without `comparing` only the
    ledger is looked at."""

    def __init__(self, ledger: Ledger, secrets: Sequence[str] = (), comparing: Comparing | None = None) -> None:
        self._ledger = ledger
        self._comparing = comparing
        self._secrets = tuple(one for one in secrets if len(one) >= _SECRET_LENGTH)

    def look(self, window: timedelta | None = WINDOW) -> Audit:
        """Look at everything that changed within `window`, or at all there is. Tells nobody."""
        now = self._ledger.now()
        since = _EVER if window is None else now - window
        found: list[Breach] = []
        for invariant in INVARIANTS:
            if invariant != "I1":
                # A transaction each: on SQLite a longer one would hold up everybody who writes.
                with self._ledger.begin() as work:
                    found += work.inspection.breaches(invariant, since, self._secrets)
        if self._comparing is None:
            return Audit(now, since, tuple(found))
        # Services keep lists for a while only, whatever the ledger is looked at for.
        listed, compared = self._comparing.compare(max(since, now - WINDOW))
        return Audit(now, since, (*found, *listed), compared)

    def run(self) -> Audit:
        """Look, and tell of breaches that were not found before."""
        audit = self.look()
        self.tell(audit)
        return audit

    def tell(self, audit: Audit) -> None:
        """Tell once of each breach; one that is found no more is over."""
        found = {one.name: one for one in audit.breaches}
        with self._ledger.begin() as work:
            known = {
                name
                for name, one in work.conditions.of(PREFIX).items()
                # What this audit did not look at is not over because it was not found.
                if one.state == conditions.ON and one.since >= audit.since
            }
            fresh = [
                breach
                for name, breach in found.items()
                if work.conditions.enter(name, conditions.ON, normal=conditions.OFF, detail=breach.detail)
            ]
            for name in known - found.keys():
                work.conditions.enter(name, conditions.OFF, normal=conditions.OFF)
            if fresh:
                told = [
                    {"invariant": one.invariant, "conversionId": one.conversion_id, "detail": one.detail}
                    for one in fresh[:_NAMED]
                ]
                work.outbox.add(Event(events.LEDGER_AUDIT_FAILED, {"breaches": told, "count": len(fresh)}))


_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET_LENGTH = 8
"""Shorter values would be found by chance."""
