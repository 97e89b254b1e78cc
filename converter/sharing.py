"""The part of bootstrap that wires what processes share through Redis: settings in, breakers, limits and memory out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from converter.bulletin import Bulletin
from converter.desk import Shared
from converter.domain.breaker_rules import BreakerRules
from converter.domain.exposure import Caps
from converter.domain.limits import CAUTIOUS, Budget, Limit, Limits
from converter.domain.policy import ServicePolicy
from converter.ports import Meter, NoMeter, RateLimiter
from converter.services import REGISTRY, service_class
from converter.settings import RateLimit, Settings
from converter.shared_state.adaptive import AdaptiveShadow
from converter.shared_state.balancer import Balancer
from converter.shared_state.breaker import SharedBreaker
from converter.shared_state.limiter import Limiter
from converter.shared_state.local_breaker import steady_now
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess

BACKUP_TIER = 3
_EXECUTION_LEASE, _SLOW_EXECUTION = timedelta(seconds=30), timedelta(seconds=12)
"""An order is sent within 5 s and answered within 15 s; longer than that, a probe's permit is free again."""


@dataclass(frozen=True)
class Commons:
    """What the processes of one system share. `breakers` by service, then by operation."""

    access: RedisAccess
    breakers: Mapping[str, Mapping[str, SharedBreaker]]
    limiter: RateLimiter
    desk: Shared


def build_commons(settings: Settings, places: tuple[ServicePolicy, ...], meter: Meter | None = None) -> Commons:
    """Connects to nothing yet: no process waits for Redis in order to start."""
    access = RedisAccess(settings.redis_url)
    breakers = {place.service_id: breakers_of(access, place) for place in places}
    limiter = Limiter(access, _limits(settings), processes=settings.engine.workers)
    shared = Shared(Balancer(access), Rates(access), AdaptiveShadow(access), Bulletin(), meter or NoMeter())
    return Commons(access, breakers, limiter, shared)


def breakers_of(
    access: RedisAccess, place: ServicePolicy, clock: Callable[[], int] = steady_now
) -> dict[str, SharedBreaker]:
    """The two breakers of a service. Backups and the emergency tier must prove themselves three times.

    `clock`, in milliseconds, is for the time without Redis.
    """
    rules = BreakerRules(
        max_failures=place.max_failures,
        open_for=place.recovery_time,
        successes=3 if place.tier >= BACKUP_TIER else 1,
    )
    executions = replace(rules, lease=_EXECUTION_LEASE, slow_after=_SLOW_EXECUTION)
    return {
        "quote": SharedBreaker(access, place.service_id, "quote", rules, clock),
        "execute": SharedBreaker(access, place.service_id, "execute", executions, clock),
    }


def caps(settings: Settings) -> Caps:
    """The exposure caps of a configuration."""
    given = settings.multi_service
    services: dict[str, Mapping[str, Decimal]] = {one.id: one.max_open for one in settings.services if one.max_open}
    return Caps(given.max_open_per_pair, services, given.max_per_day)


def _limits(settings: Settings) -> Limits:
    budgets: dict[str, Budget] = {}
    for one in settings.enabled_services:
        declared = service_class(one.id).capabilities.budget if one.id in REGISTRY else CAUTIOUS
        if one.rate_limit is None:
            budgets[one.id] = declared
        else:
            given = one.rate_limit
            operations: dict[str, Limit] = {operation: _limit(limit) for operation, limit in given.operations.items()}
            budgets[one.id] = Budget(_limit(given), operations, declared.requests)
    return Limits(everything=_limit(settings.engine.rate_limit), services=budgets)


def _limit(given: RateLimit) -> Limit:
    return Limit(given.calls, given.period, given.burst)
