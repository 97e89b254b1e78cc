"""What every use-case works with: the ledger, the guarded services, the wallets and the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from converter.bulletin import Bulletin
from converter.domain.coins import Asset
from converter.domain.conversions import Attempt, Conversion
from converter.domain.orders import OperationKind, OrderRequest
from converter.domain.policy import RoutingPolicy
from converter.guard import GuardedService
from converter.ports import Adaptive, Ledger, Meter, NoMeter, RateMemory, Turns, Wallet


class Next(StrEnum):
    """The task that should look at the conversion next. A hint: without it the sweep does the same, later."""

    START = "conversions.start"
    EXECUTE = "conversions.execute"
    SETTLE = "conversions.settle"


@dataclass(frozen=True)
class Timing:
    """Durations of the engine."""

    lease: timedelta = timedelta(seconds=30)
    """Longer than one operation with its answer; a lapsed lease costs time, never money."""
    quoting: timedelta = timedelta(seconds=12)
    """A round of asking that is not chosen from by then was lost with its worker."""
    handover: timedelta = timedelta(seconds=3)
    """A hint that was not taken by then is repeated by the sweep."""
    read: timedelta = timedelta(seconds=5)
    """Look-ups."""
    poll: timedelta = timedelta(seconds=1)
    """First pause before an accepted order is looked at again; doubles up to `poll_limit`."""
    poll_limit: timedelta = timedelta(seconds=30)
    park: timedelta = timedelta(hours=1)
    """An unknown operation older than this needs a person, as does an order that its service holds."""
    park_unprovable: timedelta = timedelta(minutes=15)
    """The same where neither a repeat nor a look-up can prove anything."""
    review_poll: timedelta = timedelta(minutes=5)
    """A parked conversion is still looked at this often, in case its payout turns up."""


@dataclass(frozen=True)
class Shared:
    """What this process shares with the others, and what it has to tell."""

    turns: Turns
    rates: RateMemory
    adaptive: Adaptive
    bulletin: Bulletin
    meter: Meter = field(default_factory=NoMeter)


@dataclass(frozen=True)
class Desk:
    """The wired parts. `owner` names this process in claims."""

    ledger: Ledger
    services: Mapping[str, GuardedService]
    wallets: Mapping[str, Wallet]
    """By network of the from_coin."""
    policy: RoutingPolicy
    owner: str
    shared: Shared
    timing: Timing = field(default_factory=Timing)

    def policy_of(self, conversion: Conversion) -> RoutingPolicy:
        """The policy with the conversion's own settings over it."""
        return self.policy.overridden(conversion.request.policy)

    def wallet_for(self, asset: Asset) -> Wallet | None:
        """The wallet that pays deposits of this asset."""
        wallet = self.wallets.get(asset.network)
        return wallet if wallet is not None and wallet.holds(asset) else None

    def can_deposit(self, service: GuardedService, asset: Asset) -> bool:
        """Whether a service that commits on our deposit could be paid; true for all others."""
        return service.capabilities.commits_on is not OperationKind.DEPOSIT or self.wallet_for(asset) is not None


def order_request(conversion: Conversion, attempt: Attempt) -> OrderRequest:
    """The order of an attempt, the same bytes every time it is made from the ledger."""
    return OrderRequest(
        key=attempt.key,
        from_asset=conversion.request.from_asset,
        to_asset=conversion.request.to_asset,
        amount=conversion.request.amount,
        address=conversion.request.address,
        net=attempt.promised,
        minimum_net=attempt.minimum_net,
        quote_reference=attempt.quote_reference,
        prepared_at=attempt.created_at,
    )
