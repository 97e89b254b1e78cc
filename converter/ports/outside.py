"""The outside world: services, wallets, keys, and the time that a call to them may take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from converter.domain.coins import Asset
from converter.domain.deliveries import Letter, Receipt
from converter.domain.orders import Capabilities, Order, OrderRef, OrderRequest, Refund
from converter.domain.payouts import Payout
from converter.domain.quotes import Quote, QuoteRequest
from converter.domain.transfers import Payment, Sighting, Transfer


@dataclass(frozen=True)
class Deadline:
    """A moment on this process' monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; negative when it has passed."""
        return self.at - time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining() <= 0


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """Aware UTC time."""


class ConversionService(Protocol):
    """An outside service. It translates: it never retries, sleeps, chooses or stores. Shared by threads."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do and how doubts about it are settled."""

    def supports(self, from_asset: Asset, to_asset: Asset) -> bool:
        """Whether it converts this pair at all; no network."""

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Price a conversion. Reserves and creates nothing; safe to repeat."""

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Place the order; moves money where `commits_on` is the order. Integrity of the answer is checked."""

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Take the next step there (approve, second trade, withdraw), under the key in `order.ref`. Moves money."""

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """Look an order up, its later steps included. None only when the service is certain that it has none."""

    def check_health(self, deadline: Deadline) -> None:
        """Make a cheap harmless call; raises ServiceError when the service is not fit for use."""


@runtime_checkable
class PayoutList(Protocol):
    """What a service adds that keeps a list of what it paid. Optional: see `lists`."""

    @property
    def lists(self) -> bool:
        """Whether it has one for the keys that we have."""

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Everything that it shows as paid out or under way since then, also what is not ours; safe to repeat.

        Complete or not at all: what is more than its pages, or older than it shows, raises ServiceError. It goes by the
        service's clock and may lag behind: a payment that is missing is not proven to be absent.
        """


class Wallet(Protocol):
    """Pays deposits: prepare -> store -> broadcast -> observe. Never "send"."""

    @property
    def pays_itself(self) -> bool:
        """False where a person pays and reports the transaction."""

    def holds(self, asset: Asset) -> bool:
        """Whether it pays this asset; no network."""

    def account(self, deadline: Deadline) -> tuple[str, str, int]:
        """Chain, account, and the account's next nonce there (a floor for the ledger's own count)."""

    def prepare(self, payment: Payment, deadline: Deadline) -> Any:
        """Read what signing needs and check the balance; may set coins aside. ServiceRejected when funds are short."""

    def sign(self, payment: Payment, nonce: int, prepared: Any) -> Transfer:
        """Sign what was prepared. No network, no effect."""

    def release(self, prepared: Any, deadline: Deadline) -> None:
        """Free the coins that `prepare` set aside, for a payment that was never stored."""

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        """Hand a stored transaction to the chain; repeating is harmless. Raises OutcomeUnknown when in doubt."""

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        """What the chain knows of it."""

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:
        """What a refund's transaction paid to its address, once confirmed; None before. Raises ServiceError."""


class Carrier(Protocol):
    """Takes messages to one receiver. Shared by threads."""

    def carry(self, letter: Letter) -> Receipt:
        """Hand it over once, within its time limit. Never raises for what happens outside."""


class KeyStore(Protocol):
    """Keys of the services."""

    def get(self, service_id: str, name: str) -> str | None:
        """The key, or None."""
