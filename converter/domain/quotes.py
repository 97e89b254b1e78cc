"""Quotes: what a service offers, reduced to the one figure that is compared, the net."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from converter.domain.coins import Asset
from converter.domain.money import EXACT, floor_unit


@dataclass(frozen=True)
class QuoteRequest:
    """Price `amount` of one asset in another."""

    from_asset: Asset
    to_asset: Asset
    amount: Decimal


@dataclass(frozen=True)
class Fee:
    """A fee in units of the to_coin. `kind` is `service`, `network` or `withdrawal`."""

    kind: str
    amount: Decimal


@dataclass(frozen=True)
class Quote:
    """A service's offer for a request.

    `net` is what reaches the address: gross less every fee, floored to the coin's unit. `firm` offers bind the service
    until `expires_at`; the others are estimates that we check again before the commit point. `reference` is the
    service's own name for the offer, empty if it has none.
    """

    service_id: str
    request: QuoteRequest
    gross: Decimal
    fees: tuple[Fee, ...]
    net: Decimal
    firm: bool
    expires_at: datetime
    reference: str = ""

    def is_expired(self, now: datetime) -> bool:
        """Whether the offer may no longer be used."""
        return now >= self.expires_at


@dataclass(frozen=True)
class QuoteRow:
    """A service's answer in a round of asking, as the ledger keeps it. `quote` is None for a refusal."""

    id: int
    conversion_id: str
    round: int
    service_id: str
    quote: Quote | None
    error: str
    elapsed_ms: int
    asked_at: datetime
    failed: bool = False
    """The service did not answer as it should (a refusal is no failure)."""
    late: bool = False
    """It had not answered when the round went on: failed until it does, and then `elapsed_ms` is what it took."""
    minimum: Decimal | None = None
    """The service's minimum, when the amount was below it."""
    rank: int | None = None
    """Its place in the order of attempts, from 0; None when it may not be attempted."""


def net_of(gross: Decimal, fees: Iterable[Fee], asset: Asset) -> Decimal:
    """Gross less every fee, floored to the asset's unit; may be zero or negative when the fees eat it up."""
    rest = gross
    for fee in fees:
        rest = EXACT.subtract(rest, fee.amount)
    return floor_unit(rest, asset.decimals)
