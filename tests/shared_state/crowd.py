"""Other processes that use balancer and limiter, all at once."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from converter.domain.balancing import Tier
from converter.domain.limits import Limits
from converter.shared_state.balancer import Balancer
from converter.shared_state.limiter import Limiter
from converter.shared_state.redis_access import RedisAccess

PATIENT = 10.0
"""Time limit for a crowd on few cores: what is measured is the sharing, not the speed."""


def run_at_once(work: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Results of fresh processes that all begin at the same moment; what one raised is raised here."""
    given = list(arguments)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(given))
    with context.Pool(len(given), initializer=_remember, initargs=(barrier,)) as pool:
        running = [pool.apply_async(_together, (work, arguments)) for arguments in given]
        return [one.get(100) for one in running]


_barrier: Any = None


def _remember(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603
    _barrier = barrier


def _together(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    _barrier.wait(60)
    return work(*arguments)


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
