"""When a breaker trips, how long it stays open and how it recovers: the figures, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from converter.domain.errors import ConfigurationError

MOST_OUTCOMES = 100
MOST_PERMITS = 100


def milliseconds(length: timedelta) -> int:
    """Whole milliseconds of a duration."""
    return length // timedelta(milliseconds=1)


@dataclass(frozen=True)
class BreakerRules:
    """When a breaker trips, how long it stays open and how it recovers."""

    max_failures: int = 3
    """Failures in a row that open it."""
    open_for: timedelta = timedelta(minutes=5)
    """The first open time; it doubles with each repeat."""
    open_cap: timedelta | None = None
    """The longest open time before the jitter; one hour or four times `open_for` when not given. A healthy time of
    this length takes back one doubling."""
    jitter_percent: int = 10
    window_size: int = 20
    window_age: timedelta = timedelta(minutes=10)
    """The last outcomes that are looked at together, and how old they may be."""
    minimum_calls: int = 10
    failure_percent: int = 50
    slow_percent: int = 80
    """Share of the window that failed, or that was slow or failed, from which it opens."""
    slow_after: timedelta = timedelta(seconds=4)
    permitted: int = 1
    """Probes under way at once when half-open, over all processes."""
    successes: int = 1
    """Good probes that close it."""
    lease: timedelta = timedelta(seconds=15)
    """How long a probe may take before its permit is given to another."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, by name."""
        for name in ("open_for", "window_age", "slow_after", "lease"):
            if milliseconds(getattr(self, name)) < 1:
                raise ConfigurationError(f"breaker {name}: accepted: at least a millisecond")
        if milliseconds(self.cap) < milliseconds(self.open_for):
            raise ConfigurationError("breaker open_cap: accepted: at least open_for")
        for name, low, high in (
            ("max_failures", 1, 1_000_000),
            ("jitter_percent", 0, 100),
            ("window_size", 1, MOST_OUTCOMES),
            ("minimum_calls", 1, self.window_size),
            ("failure_percent", 1, 100),
            ("slow_percent", 1, 100),
            ("permitted", 1, MOST_PERMITS),
            ("successes", 1, MOST_PERMITS),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(f"breaker {name}: accepted: {low} to {high}")

    @property
    def cap(self) -> timedelta:
        """The longest open time before the jitter."""
        return max(timedelta(hours=1), 4 * self.open_for) if self.open_cap is None else self.open_cap

    @property
    def keep(self) -> timedelta:
        """After this long without any call nothing is worth remembering."""
        return max(timedelta(days=1), 4 * (self.cap + self.window_age + self.lease))
