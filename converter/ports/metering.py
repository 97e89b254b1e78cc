"""Counting what a process does, and the figures of the ledger that are shown beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from converter.domain.events import Event
from converter.domain.orders import OperationKind


class Meter(Protocol):
    """Counts. Never raises and never waits: nothing may depend on being counted."""

    def called(self, service_id: str, call: str, error: BaseException | None, elapsed: timedelta) -> None:
        """A call that moves nothing has ended (`quote`, `find`, `health`, `list`), or was refused by us."""

    def sent(self, service_id: str, kind: OperationKind, outcome: str, elapsed: timedelta) -> None:
        """An operation that may move money has left, or could not leave in time; what is known of its outcome."""

    def told(self, events: Sequence[Event]) -> None:
        """Events were committed by this process."""


class NoMeter:
    """Counts nothing."""

    def called(self, service_id: str, call: str, error: BaseException | None, elapsed: timedelta) -> None:
        """Nothing."""

    def sent(self, service_id: str, kind: OperationKind, outcome: str, elapsed: timedelta) -> None:
        """Nothing."""

    def told(self, events: Sequence[Event]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Figures:
    """How the ledger stands. Ages are seconds by the ledger's clock; states and services with nothing are left out."""

    open: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Unfinished conversions by state: how many, and the age of the one that has been in it for longest."""
    overdue: float = 0.0
    """For how long the conversion that is due for longest has been due; 0 when none is."""
    unknown: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Operations whose outcome is unknown, by service: how many, and the age of the oldest doubt."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """The state of every lasting condition, by its name."""
    checks: Mapping[str, float] = field(default_factory=dict)
    """The age of each service's latest health check."""
    events: tuple[int, float] = (0, 0.0)
    """The newest event's sequence number and its age."""
    followers: Mapping[str, int] = field(default_factory=dict)
    """The sequence number up to which each follower of the engine's own has read."""
    messages: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Messages that wait to be taken, by receiver: how many, and the age of the oldest."""


class Gauging(Protocol):
    """Reads the figures."""

    def figures(self) -> Figures:
        """Read them now, in a short transaction that bars nobody from writing."""

    def ended(self) -> Mapping[str, int]:
        """Ended conversions by state. It takes the longer the more have ended, and is not for every scrape."""
