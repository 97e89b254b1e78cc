"""Payments of deposits: what is to be paid, what was signed, what a chain knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from converter.domain.coins import Asset


class Sighting(StrEnum):
    """What a chain knows of a transaction."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    """Mined, but reverted: nothing was transferred."""
    REPLACED = "replaced"
    """Another transaction took its place (same nonce, same inputs): it can never be mined."""


@dataclass(frozen=True)
class Payment:
    """What is to be paid: an amount of an asset to an address, with a memo where one was asked for."""

    asset: Asset
    address: str
    amount: Decimal
    memo: str = ""


@dataclass(frozen=True)
class Transfer:
    """A signed, stored payment of a deposit. `raw` is empty for a wallet that pays outside this system."""

    chain: str
    account: str
    nonce: int
    raw: str
    txid: str
    address: str
    amount: Decimal
