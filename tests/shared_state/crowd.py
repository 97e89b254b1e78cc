"""Other processes that use balancer and limiter, all at once."""

from __future__ import annotations

import time
from collections import Counter

from converter.domain.balancing import Tier
from converter.domain.limits import Limits
from converter.shared_state.balancer import Balancer
from converter.shared_state.limiter import Limiter
from converter.shared_state.redis_access import RedisAccess
from tests.ledger.processes import run_at_once

__all__ = ["PATIENT", "call_as_often_as_admitted", "read_then_charge", "run_at_once", "take_turns"]

PATIENT = 10.0
"""Time limit for a crowd on few cores: what is measured is the sharing, not the speed."""


def take_turns(url: str, tier: Tier, times: int) -> Counter[str]:
    """Whom this process took, how often."""
    balancer = Balancer(RedisAccess(url, timeout=PATIENT))
    return Counter(balancer.take(tier, tier.weights) for _ in range(times))


def read_then_charge(url: str, tier: Tier, times: int) -> Counter[str]:
    """The same in two steps, between which the other processes get in."""
    balancer = Balancer(RedisAccess(url, timeout=PATIENT))
    taken: Counter[str] = Counter()
    for _ in range(times):
        first = balancer.turns(tier, tier.weights)[0]
        balancer.charge(tier, tier.weights, first)
        taken[first] += 1
    return taken


def call_as_often_as_admitted(url: str, limits: Limits, calls: list[tuple[str, str]], seconds: float) -> list[int]:
    """The moments, by the deciding clock, at which this process was admitted."""
    limiter = Limiter(RedisAccess(url, timeout=PATIENT), limits, processes=8)
    admitted, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        for service_id, operation in calls:
            admission = limiter.admit(service_id, operation)
            if admission.admitted:
                admitted.append(admission.at)
    return admitted
