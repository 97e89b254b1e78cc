"""What a breaker says to its callers: permits, transitions and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from converter.domain.breakers import BreakerState


@dataclass(frozen=True)
class Permit:
    """Leave to make one call. Handed back with the call's end; a probe's runs out by itself."""

    generation: int
    number: int
    shared: bool

    @property
    def is_probe(self) -> bool:
        """Whether the call decides if a half-open breaker closes."""
        return self.number > 0


@dataclass(frozen=True)
class Transition:
    """A change of state, told to exactly the one caller who made it."""

    before: BreakerState
    after: BreakerState
    generation: int
    at: datetime
    until: datetime | None
    failures: int
    event: str
    """`open` once per outage, `closed` once at its end, empty for the steps between."""
    shared: bool
    """False for a breaker of this process alone, while Redis is away: others may tell the same."""


@dataclass(frozen=True)
class Admission:
    """The answer to a request for a permit: one, or None and the time until the next try (None when nobody knows)."""

    permit: Permit | None
    retry_after: timedelta | None
    transition: Transition | None


@dataclass(frozen=True)
class Snapshot:
    """How a breaker stands. Open with no time left means that it waits for a probe."""

    state: BreakerState
    since: datetime
    until: datetime | None
    failures: int
    generation: int
    trips: int
    retry_after: timedelta | None
    shared: bool

    @property
    def admits(self) -> bool:
        """Whether one who may probe would get a permit now."""
        return self.retry_after == timedelta(0)
