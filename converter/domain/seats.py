"""Who takes part in a round: every configured service with its place, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from converter.domain.conditions import NOBODY, Condition
from converter.domain.money import plain

EMERGENCY_TIER = 4
SEEN_WITHIN = timedelta(minutes=3)
"""A tier condition that nobody met for longer says nothing about the time in between."""


class Bar(StrEnum):
    """Why a service cannot be asked. The first three are its nature or ours, the others pass."""

    UNSUPPORTED = "unsupported"
    AMOUNT = "amount"
    SETTINGS = "settings"
    UNAVAILABLE = "unavailable"
    """Its breaker is open, an operator took it out, or its rates are in quarantine."""
    BUSY = "busy"
    """Its rate budget is used up."""
    EXPOSED = "exposed"
    """An exposure cap is reached."""
    REFUSED = "refused"
    """It refused this conversion a moment ago."""
    TIER = "tier"
    """The emergency tier is closed."""


_THERE = (Bar.BUSY, Bar.EXPOSED, Bar.REFUSED)
"""What speaks against one conversion, or for a moment: its tier is in use."""

_BY_NATURE = (Bar.UNSUPPORTED, Bar.AMOUNT, Bar.SETTINGS)


@dataclass(frozen=True)
class Objection:
    """What speaks against a service, in words."""

    bar: Bar
    text: str


@dataclass(frozen=True)
class Seat:
    """A service in a round: eligible when nothing speaks against it."""

    service_id: str
    tier: int
    weight: Decimal
    objection: Objection | None = None

    def facts(self, turn: int | None, *, asked: bool) -> dict[str, Any]:
        """For the explain record. `turn` is its position in the balancer's order of its tier."""
        return {
            "service": self.service_id,
            "tier": self.tier,
            "weight": plain(self.weight),
            "turn": turn,
            "eligible": self.objection is None,
            "asked": asked,
            "objection": self.objection.text if self.objection else "",
        }


def eligible(seats: Sequence[Seat]) -> list[Seat]:
    """Seats against which nothing speaks."""
    return [seat for seat in seats if seat.objection is None]


def tier_in_use(seats: Sequence[Seat]) -> tuple[int | None, int | None]:
    """The lowest tier below the emergency tier that would convert the pair, and the lowest that can now; None: none.

    A service that is only busy, or refused this one conversion, keeps its tier in use.
    """
    regular = [seat for seat in seats if seat.tier < EMERGENCY_TIER]
    able = [seat.tier for seat in regular if seat.objection is None or seat.objection.bar not in _BY_NATURE]
    present = [seat.tier for seat in regular if seat.objection is None or seat.objection.bar in _THERE]
    return min(able, default=None), min(present, default=None)


def nobody_for(tier: Condition | None, so_long: timedelta, now: datetime) -> bool:
    """Whether the tiers below the emergency tier had nobody for so long, by the pair's condition before this moment."""
    if tier is None or tier.state != NOBODY or now - tier.seen_at > SEEN_WITHIN:
        return False
    return now - tier.since >= so_long
