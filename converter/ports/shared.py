"""What all processes share: the right to call a service, whose turn it is, and what is remembered of rates.

Nothing here raises for want of Redis: each process then goes on by itself, by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from converter.domain.adaptive import Ending
from converter.domain.anomalies import Judgement, PairState
from converter.domain.balancing import Tier
from converter.domain.breakers import BreakerState, Verdict
from converter.domain.limits import Admission as RateAdmission
from converter.domain.permits import Admission, Permit, Snapshot, Transition
from converter.domain.quarantine import Change, Standing


class Breaker(Protocol):
    """The breaker of one service and one class of operation."""

    def admit(self, *, may_probe: bool = True) -> Admission:
        """Ask for a permit. One who may not probe is refused by a breaker that is not closed."""

    def report(self, permit: Permit, verdict: Verdict, elapsed: timedelta) -> Transition | None:
        """Hand the permit back with the call's end. The change of state, if this step made one."""

    def move(self, target: BreakerState) -> Transition | None:
        """Put it into a state by hand. Forced-open refuses every call until `release`, which alone ends it."""

    def release(self) -> Transition | None:
        """End an isolation."""

    def snapshot(self) -> Snapshot:
        """How it stands."""


class RateLimiter(Protocol):
    """How often services may be called."""

    def admit(self, service_id: str, operation: str) -> RateAdmission:
        """Ask for one call and count it if it may go out, in every scope or in none."""

    def look(self, service_id: str, operation: str) -> RateAdmission:
        """Whether a call could go out now. Counts nothing."""

    def hold(self, service_id: str, seconds: float) -> None:
        """Let nothing go to the service for so long."""


class Turns(Protocol):
    """Whose turn it is inside a tier."""

    def turns(self, tier: Tier, services: Collection[str]) -> list[str]:
        """The order in which these services come next. Charges nobody."""

    def take(self, tier: Tier, services: Collection[str], waiting: Collection[str] = ()) -> str:
        """Read the order of these services (at least one) and charge the first, in one step; returns it.

        `waiting` could have been asked but were not: their credit grows with this choice.
        """


class RateMemory(Protocol):
    """What is remembered of pairs and of services' strikes."""

    def pair(self, pair: str) -> PairState:
        """What is remembered of a pair."""

    def learn(self, pair: str, step: Callable[[PairState], Judgement], now: datetime) -> Judgement:
        """Judge a round with what is remembered of the pair, and remember what came of it."""

    def confirm(self, pair: str, rate: Decimal | None, now: datetime) -> PairState:
        """An operator's word that the market is at `rate`, or where the quotes of the held pair say when it is None."""

    def standings(self, service_ids: Collection[str]) -> dict[str, Standing]:
        """How these services stand."""

    def note(self, service_id: str, step: Callable[[Standing], Change], now: datetime) -> Change:
        """Change how a service stands."""

    def snapshot(self) -> list[tuple[str, str, datetime]]:
        """All states, to be kept in the ledger; nothing while Redis is away."""

    def reload(self, rows: Iterable[tuple[str, str, datetime]], now: datetime) -> int:
        """Take kept states back wherever nothing newer is known; returns how many."""


class Adaptive(Protocol):
    """Choosing by expected value."""

    def note(self, service_id: str, ending: Ending) -> None:
        """Count an attempt that has ended, or fallen into doubt."""

    def compare(self, nets: Mapping[str, Decimal], taken: str) -> str | None:
        """Whom it would have chosen where `taken` was; logged, None when unknown."""
