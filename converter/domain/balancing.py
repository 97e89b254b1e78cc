"""Whose turn it is inside a tier.

A state is a mapping of text to whole numbers, so that the same rule runs here and, as a script, in Redis:

* `weighted` (smooth weighted round-robin): service -> credit. A charge gives each service its weight and takes the sum
  of all weights from the chosen one; the largest credit plus weight comes first. Over a whole number of periods the
  shares are exact, and a service that was away comes back without a burst.
* `round-robin`: service -> number of its last turn; the one whose turn is longest ago comes first.
* `least-used`: "second service" -> executions begun in that second; the fewest in the last 60 seconds come first.

Equals are settled by weight, then id.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

WINDOW_SECONDS = 60
_UNITS = 10**9  # a weight counts to nine decimals; sums of credits stay far below what a double holds exactly


class Strategy(StrEnum):
    """How the services of a tier take turns."""

    WEIGHTED = "weighted"
    ROUND_ROBIN = "round-robin"
    LEAST_USED = "least-used"


@dataclass(frozen=True)
class Member:
    """A service that takes part in one decision; its weight in whole units."""

    service_id: str
    weight: int
    waits: bool = False
    """It could have been asked but was not, and cannot be chosen: its credit grows, so that it is asked in time."""


@dataclass(frozen=True)
class Tier:
    """A tier as it is configured: its number, the weights of all its services, and how they take turns."""

    number: int
    weights: Mapping[str, Decimal]
    strategy: Strategy = Strategy.WEIGHTED
    _units: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_units", whole_weights(self.weights))

    def members(self, services: Collection[str], waiting: Collection[str] = ()) -> list[Member]:
        """The services of one decision; one that is not configured (any more) weighs nothing. Those that wait count
        for `weighted` alone: the other strategies look at executions only."""
        if self.strategy is not Strategy.WEIGHTED:
            waiting = ()
        late = sorted(set(waiting) - set(services))
        return [
            *(Member(one, self._units.get(one, 0)) for one in sorted(set(services))),
            *(Member(one, self._units.get(one, 0), waits=True) for one in late),
        ]

    def mark(self) -> str:
        """Names this configuration: a changed set or weight makes another mark, and with it a clean start."""
        text = "|".join(f"{service_id}={weight}" for service_id, weight in sorted(self._units.items()))
        return f"{self.number}:{self.strategy}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def whole_weights(weights: Mapping[str, Decimal]) -> dict[str, int]:
    """Weights in the smallest whole numbers of the same proportions: 0.4, 0.3, 0.3 are 4, 3, 3."""
    units = {service_id: max(0, round(weight * _UNITS)) for service_id, weight in weights.items()}
    divisor = math.gcd(*units.values()) or 1
    return {service_id: unit // divisor for service_id, unit in units.items()}


def turns(strategy: Strategy, state: Mapping[str, int], members: Sequence[Member], second: int) -> list[str]:
    """The order in which the members would come next; `second` is the present one on the state's clock."""
    free = [member for member in members if not member.waits]
    ranks = {member.service_id: _rank(strategy, state, member, second) for member in free}
    ordered = sorted(free, key=lambda member: (ranks[member.service_id], -member.weight, member.service_id))
    return [member.service_id for member in ordered]


def charged(
    strategy: Strategy, state: Mapping[str, int], members: Sequence[Member], chosen: str, second: int
) -> dict[str, int]:
    """The state after `chosen` executes, who was chosen among `members`. Anyone else changes nothing."""
    after = dict(state)
    if chosen not in {member.service_id for member in members if not member.waits}:
        return after
    if strategy is Strategy.WEIGHTED:
        for member in members:
            after[member.service_id] = after.get(member.service_id, 0) + member.weight
        after[chosen] -= sum(member.weight for member in members)
    elif strategy is Strategy.ROUND_ROBIN:
        after[chosen] = max(after.values(), default=0) + 1
    else:
        bucket = f"{second} {chosen}"
        after = {name: count for name, count in after.items() if _second_of(name) > second - WINDOW_SECONDS}
        after[bucket] = after.get(bucket, 0) + 1
    return after


def _rank(strategy: Strategy, state: Mapping[str, int], member: Member, second: int) -> int:
    """The smaller, the sooner."""
    known = state.get(member.service_id, 0)
    if strategy is Strategy.WEIGHTED:
        return -(known + member.weight)
    if strategy is Strategy.ROUND_ROBIN:
        return known
    return sum(
        count
        for name, count in state.items()
        if name.partition(" ")[2] == member.service_id and _second_of(name) > second - WINDOW_SECONDS
    )


def _second_of(bucket: str) -> int:
    return int(bucket.partition(" ")[0])
