"""Conditions: what lasts and is told when it begins and when it ends, not each time it is met.

A condition has one state at a time. Whoever finds it in another state changes it and tells the event in the same
transaction, so that an outage is told once, whichever process meets it first and however often it is met.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from converter.domain.coins import Asset

OPEN, CLOSED = "open", "closed"
TRIAL = "trial"
"""Of a breaker for executions: its time is over and the service answers; the next conversion there decides."""
ON, OFF = "on", "off"
NOBODY = "nobody"
"""The tier in use while no tier below the emergency tier has a service."""

EMERGENCY = "emergency"
"""An operator's word that the emergency tier may be used."""


@dataclass(frozen=True)
class Condition:
    """`since`: when it entered its state; `seen_at`: when it was last met in it."""

    name: str
    state: str
    since: datetime
    seen_at: datetime
    detail: str = ""


def breaker_of(service_id: str, operation: str) -> str:
    """Whether calls of a class of operations are let through: OPEN or CLOSED."""
    return f"breaker:{service_id}:{operation}"


def isolation_of(service_id: str) -> str:
    """Whether an operator took the service out: ON or OFF."""
    return f"isolated:{service_id}"


def quarantine_of(service_id: str) -> str:
    """Whether its rates may not be used: ON or OFF."""
    return f"quarantine:{service_id}"


def pair_of(from_asset: Asset, to_asset: Asset) -> str:
    """A pair's name: `ETH-BTC`, `USDT.TRX-BTC.LIGHTNING`."""
    return f"{_side(from_asset)}-{_side(to_asset)}"


def tier_of(pair: str, policy: str = "") -> str:
    """The lowest tier that has a service for the pair: its number, or NOBODY. Conversions with settings of their own
    (`policy`, their text) may have other services and tiers, and a condition of their own."""
    return f"tier:{pair}" + (f":{hashlib.sha256(policy.encode()).hexdigest()[:12]}" if policy else "")


def hold_of(pair: str) -> str:
    """Why the pair is held, OFF when it is not."""
    return f"hold:{pair}"


def _side(asset: Asset) -> str:
    return asset.coin if asset.coin == asset.network else f"{asset.coin}.{asset.network}"
