"""What choosing by expected value would have done: counted, compared and logged, never acted upon.

The counts of each service live in Redis and forget by themselves (`converter.domain.adaptive`). While Redis is away
nothing is counted and nothing is compared: a shadow that misses a few attempts misleads nobody.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from decimal import Decimal

from converter.domain.adaptive import KEEP, Counts, Ending, choose
from converter.shared_state.redis_access import RedisAccess, RedisAway

_TTL_SECONDS = 30 * 86_400

log = logging.getLogger(__name__)


class AdaptiveShadow:
    """Counts how attempts end and logs whom it would have chosen. Never raises for want of Redis."""

    def __init__(self, access: RedisAccess, chance: random.Random | None = None) -> None:
        self._access = access
        self._chance = chance or random.Random()

    def note(self, service_id: str, ending: Ending) -> None:
        """Count an attempt that has ended, or fallen into doubt."""
        try:
            self._access.run("adaptive_note", [_key(service_id)], [ending.value, repr(KEEP), _TTL_SECONDS])
        except RedisAway:
            return

    def compare(self, nets: Mapping[str, Decimal], taken: str) -> str | None:
        """Whom it would have chosen among the candidates (the positive net of each) where `taken` was; None: unknown.

        The log keeps both nets, so that what either choice brought can be compared.
        """
        if not nets:
            return None
        try:
            counts = self.counts(list(nets))
        except RedisAway:
            return None
        chosen = choose(nets, counts, self._chance.betavariate, self._chance.random())
        log.info(
            "adaptive (shadow): %s net %s, taken: %s net %s", chosen, nets[chosen], taken, nets.get(taken, "unknown")
        )
        return chosen

    def counts(self, services: list[str]) -> dict[str, Counts]:
        """The counts of these services. Raises RedisAway."""
        rows = self._access.run("adaptive_counts", [_key(service_id) for service_id in services], [])
        return {
            service_id: Counts(*(float(count or 0) for count in row))
            for service_id, row in zip(services, rows, strict=True)
        }


def _key(service_id: str) -> str:
    return f"converter:adaptive:{service_id}"
