"""Orders at a service, the operations that make them, and what a service declares about each operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from converter.domain.coins import Asset
from converter.domain.limits import CAUTIOUS, Budget


class OperationKind(StrEnum):
    """The outside calls of an attempt that change something there."""

    ORDER = "order"
    APPROVAL = "approval"
    DEPOSIT = "deposit"
    TRADE = "trade"
    """The second leg of a route over a middle coin."""
    WITHDRAWAL = "withdrawal"


class OrderStatus(StrEnum):
    """Where an order stands at its service. Every word of a service maps to one of these or raises."""

    AWAITING_APPROVAL = "awaiting_approval"
    """Created; nothing moves until we approve."""
    AWAITING_DEPOSIT = "awaiting_deposit"
    """Created; nothing moves until our transfer arrives."""
    OPEN = "open"
    """The service is at work."""
    HALFWAY = "halfway"
    """Traded into the middle coin, which waits at the service for our second trade."""
    FILLED = "filled"
    """Traded; the proceeds wait at the service for our withdrawal."""
    PAYING_OUT = "paying_out"
    SETTLED = "settled"
    """Paid out to the address: final."""
    REJECTED = "rejected"
    """Closed by the service with nothing executed: final."""
    EXPIRED = "expired"
    """Closed because no deposit came in time."""
    REFUNDED = "refunded"
    """The deposit went back to our refund address."""
    HELD = "held"
    """The service holds the money (compliance, failure); a person is needed if it lasts."""


NEXT_STEP: Mapping[OrderStatus, OperationKind] = {
    OrderStatus.AWAITING_APPROVAL: OperationKind.APPROVAL,
    OrderStatus.AWAITING_DEPOSIT: OperationKind.DEPOSIT,
    OrderStatus.HALFWAY: OperationKind.TRADE,
    OrderStatus.FILLED: OperationKind.WITHDRAWAL,
}
"""What we must do for the order to go on; every other status waits for the service or is final."""

BOUND_STEPS = frozenset({OperationKind.TRADE, OperationKind.WITHDRAWAL})
"""Steps behind the commit point: a refusal of one never frees the conversion, since only this service can go on."""


@dataclass(frozen=True)
class OperationRule:
    """What is known of one kind of operation at one service, for settling a doubt.

    * `moves_money`: after it money may have moved (it is, or lies behind, the commit point);
    * `repeat_recognised`: sending the very same again cannot execute it twice;
    * `quiet`: the service refuses the request when it arrives later than `send_before`, and shows what it took within
      this time, so that an absence asked for after `send_before + quiet` is proof. None: absence proves nothing;
    * `absences`: how many such look-ups in a row make the proof.
    """

    moves_money: bool
    repeat_recognised: bool = False
    quiet: timedelta | None = None
    absences: int = 1


@dataclass(frozen=True)
class Capabilities:
    """What a service can do and how a doubt about it is settled."""

    service_id: str
    title: str
    commits_on: OperationKind
    rules: Mapping[OperationKind, OperationRule]
    firm_quotes: bool
    keys: tuple[str, ...]
    """Names of the keys without which it is not asked."""
    optional_keys: tuple[str, ...] = ()
    minimum: Mapping[str, Decimal] = field(default_factory=dict)
    """Floor per from_coin below which it is known to refuse; the true minimum moves and comes with its answers."""
    amount_decimals: int = 18
    """Decimals of the from_coin that it can take; what is finer stays with the pool."""
    send_within: timedelta = timedelta(seconds=5)
    """An operation is sent at most this long after it was prepared."""
    budget: Budget = CAUTIOUS
    """How often it may be called. Operations: `quote`, `order`, `advance`, `find`, `health`, `list`."""


@dataclass(frozen=True)
class OrderRequest:
    """What we ask a service to do. `key` is ours, at most 32 of [A-Za-z0-9_-], stored before anything is sent."""

    key: str
    from_asset: Asset
    to_asset: Asset
    amount: Decimal
    address: str
    net: Decimal
    """The net that the chosen quote promised."""
    minimum_net: Decimal
    """Executing for less than this must be refused before the commit point."""
    quote_reference: str
    prepared_at: datetime


@dataclass(frozen=True)
class Deposit:
    """Where our transfer must go for the order to start; not after `valid_until`, where the service names an end."""

    address: str
    amount: Decimal
    memo: str = ""
    valid_until: datetime | None = None


@dataclass(frozen=True)
class OrderRef:
    """How an order is found again: by our key, and by what the ledger has kept since.

    `step_key` is our key of its latest approval or withdrawal, `trade_key` that of its latest second trade; `deposit`
    is what the service asked for, `deposit_txid` our stored payment of it.
    """

    request: OrderRequest
    service_order_id: str | None = None
    step_key: str | None = None
    trade_key: str | None = None
    deposit: Deposit | None = None
    deposit_txid: str = ""


@dataclass(frozen=True)
class Refund:
    """A deposit that went back: to which address, how much and in which transaction, as far as the service says."""

    address: str
    amount: Decimal | None
    txid: str


@dataclass(frozen=True)
class Order:
    """An order as its service tells it. Amounts are None until the service names them.

    `filled` is what a trade brought in (commission off): the to_coin, or the middle coin while HALFWAY. `delivered` is
    what reached the address. A second trade that the service refused or never took leaves the order HALFWAY.
    """

    ref: OrderRef
    status: OrderStatus
    deposit: Deposit | None = None
    filled: Decimal | None = None
    delivered: Decimal | None = None
    txid: str = ""
    detail: str = ""
    refund: Refund | None = None
    untouched: bool = False
    """Closed, and by the service's own record never approved: proof that its approval was not executed, and never can
    be any more."""

    def __post_init__(self) -> None:
        if self.untouched and self.status is not OrderStatus.REJECTED:
            raise ValueError(f"an untouched order is closed, not {self.status}")


def step_done(kind: OperationKind, status: OrderStatus) -> bool:
    """Whether an order in this status proves that the operation was executed."""
    if kind is OperationKind.APPROVAL:
        return status is not OrderStatus.AWAITING_APPROVAL and status is not OrderStatus.REJECTED
    if kind is OperationKind.TRADE:
        return status is not OrderStatus.HALFWAY
    if kind is OperationKind.WITHDRAWAL:
        return status is not OrderStatus.FILLED and status is not OrderStatus.HALFWAY
    return kind is OperationKind.ORDER
