"""How a conversion is to be routed: the specification's `multiService` settings, and what one conversion overrides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.balancing import Strategy, Tier
from converter.domain.exposure import Caps


@dataclass(frozen=True)
class ServicePolicy:
    """A service's place (tier 1 to 4, weight inside it), its floors, and when its breaker opens and may close again."""

    service_id: str
    tier: int
    weight: Decimal
    max_failures: int
    recovery_time: timedelta
    minimum: Mapping[str, Decimal] = field(default_factory=dict)
    """Floor per from_coin below which it is not asked."""


@dataclass(frozen=True)
class RoutingPolicy:
    """What decides whom to ask, whom to choose and whether to go on after a refusal."""

    services: tuple[ServicePolicy, ...]
    parallel_queries: bool = True
    max_parallel_requests: int = 3
    request_timeout: timedelta = timedelta(seconds=5)
    load_balancing: str = "weighted"
    auto_failover: bool = True
    always_use_best_rate: bool = True
    max_rate_difference: Decimal = Decimal("0.02")
    allow_unverified: bool = False
    """Whether a lone quote may be used that neither another service nor history confirms. Where only one service
    converts a pair at all it always may."""
    emergency_after: timedelta = timedelta(seconds=60)
    """How long the tiers below must have had nobody before the emergency tier is used."""
    adaptive_shadow: bool = False
    """Whether to log whom `adaptive` would have chosen."""
    caps: Caps = field(default_factory=Caps)
    max_attempts: int = 6
    """Attempts in a row before the conversion waits."""
    refused_for: timedelta = timedelta(seconds=60)
    """How long a service that refused this conversion is not asked again for it."""

    def place_of(self, service_id: str) -> ServicePolicy | None:
        """The service's place, None when it takes no part."""
        return next((one for one in self.services if one.service_id == service_id), None)

    def tier(self, number: int) -> Tier:
        """How the services of a tier take turns. `adaptive` orders whom to ask by weight."""
        weights = {one.service_id: one.weight for one in self.services if one.tier == number}
        adaptive = self.load_balancing == ADAPTIVE
        return Tier(number, weights, Strategy.WEIGHTED if adaptive else Strategy(self.load_balancing))

    def overridden(self, text: str) -> RoutingPolicy:
        """This policy with a conversion's own settings over it (`override_text` made the text)."""
        if not text:
            return self
        own = json.loads(text)
        chosen = own.pop("services", None)
        changes: dict[str, Any] = {name: own[name] for name in _PLAIN if name in own}
        if "max_rate_difference" in own:
            changes["max_rate_difference"] = Decimal(own["max_rate_difference"])
        if "request_timeout_ms" in own:
            changes["request_timeout"] = timedelta(milliseconds=own["request_timeout_ms"])
        if chosen is not None:
            changes["services"] = tuple(
                replace(known, tier=tier, weight=Decimal(weight))
                for service_id, tier, weight in chosen
                if (known := self.place_of(service_id)) is not None
            )
        return replace(self, **changes)


ADAPTIVE = "adaptive"

_PLAIN = ("parallel_queries", "max_parallel_requests", "load_balancing", "auto_failover", "always_use_best_rate")


def override_text(settings: Mapping[str, Any]) -> str:
    """Canonical text of a conversion's own settings, empty when there are none. Numbers of money's kind are text."""
    return json.dumps(dict(settings), sort_keys=True, separators=(",", ":")) if settings else ""


def backoff(step: int, *, first: float = 5.0, limit: float = 60.0) -> timedelta:
    """Waiting time before the next look: doubling from `first` to `limit` seconds; step 0 is the first."""
    return timedelta(seconds=min(limit, first * 2 ** min(step, 16)))
