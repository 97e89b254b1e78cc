"""Health checks: when misses in a row make an outage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

EVERY = timedelta(seconds=10)
LIMIT = timedelta(seconds=5)
MISSES = 2
"""So many failed checks in a row make an outage: it is known at most 2 x EVERY + LIMIT = 25 s after it began."""


@dataclass(frozen=True)
class Check:
    """The latest check of a service. `misses` counts failed ones in a row, this one included."""

    at: datetime
    error: str
    elapsed_ms: int
    misses: int = 0

    @property
    def ok(self) -> bool:
        """Whether the service was fit for use."""
        return not self.error
