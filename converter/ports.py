"""What the use-cases need of the outside, as Protocols."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from converter.domain.coins import Asset
from converter.domain.conversions import (
    Attempt,
    AttemptState,
    Conversion,
    ConversionRequest,
    Operation,
    OperationState,
    State,
)
from converter.domain.events import Event
from converter.domain.orders import Capabilities, Order, OrderRef, OrderRequest, Refund
from converter.domain.quotes import Quote, QuoteRequest, QuoteRow
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


class Conversions(Protocol):
    """Conversions in the ledger. Every change is a compare-and-set; False means that it did not hold."""

    def add(self, conversion_id: str, request: ConversionRequest, due_at: datetime) -> Conversion:
        """Insert, or return the one that has this idempotency key. Raises IdempotencyConflict."""

    def get(self, conversion_id: str) -> Conversion:
        """Raises ConversionNotFound."""

    def page(self, *, states: Sequence[State] = (), limit: int = 50, before: str | None = None) -> list[Conversion]:
        """Newest first; `before` is the last id of the page before."""

    def claim(self, conversion_id: str, owner: str, lease: timedelta, states: Sequence[State]) -> Conversion | None:
        """Take it: owner, fence + 1, lease, only if free and in one of these states."""

    def hold(self, conversion: Conversion, lease: timedelta) -> None:
        """Prolong a lease that still holds, by the ledger's clock and under our fence. Raises ClaimLost."""

    def move(self, conversion: Conversion, to_state: State, *, release: bool = True, **changes: Any) -> Conversion:
        """Change state under our fence and, unless told otherwise, give the claim up.

        `changes` may name round, due_at, service_id, promised, delivered, txid, reason, failovers.
        Raises ClaimLost, IllegalTransition.
        """

    def find(self, service_id: str, order_id: str, reference: str) -> str | None:
        """The unfinished conversion with an attempt of this key or, failing that, of this order id at the service."""

    def due(self, limit: int) -> list[Conversion]:
        """Those whose due time has come and that nobody holds, oldest first."""

    def postpone(self, conversion: Conversion, due_at: datetime) -> bool:
        """Move the due time, if it is still the one that we saw."""


class Quotes(Protocol):
    """Answers to rate queries."""

    def add(self, row: QuoteRow) -> int:
        """Store an answer once per conversion, round and service; a second one changes nothing."""

    def of_round(self, conversion_id: str, asked_round: int) -> list[QuoteRow]:
        """All answers of a round."""

    def set_ranks(self, ranked: Sequence[int]) -> None:
        """Note the order in which quotes may be attempted (ids, best first)."""

    def recent_failures(self, service_id: str) -> int:
        """How many answers in a row failed, newest first (refusals neither count nor end the row)."""


class Attempts(Protocol):
    """Attempts and their operations, changed only under the conversion's fence."""

    def prepare(self, conversion: Conversion, attempt: Attempt, operation: Operation) -> tuple[Attempt, Operation]:
        """Insert an attempt with its order operation, counted as sent once. The one-open index bars a second."""

    def prepare_step(self, conversion: Conversion, operation: Operation) -> Operation:
        """Insert the next operation of an open attempt, counted as sent once. ClaimLost while its step is taken."""

    def of(self, conversion_id: str) -> list[Attempt]:
        """Attempts of a conversion, first to last."""

    def of_refund(self, txid: str) -> Attempt | None:
        """The attempt whose deposit came back in this transaction."""

    def operations(self, attempt_id: int) -> list[Operation]:
        """Operations of an attempt, first to last."""

    def record(self, conversion: Conversion, operation: Operation, state: OperationState, error: str = "") -> None:
        """PREPARED -> EXECUTED | NOT_EXECUTED under our fence. Raises ClaimLost."""

    def record_unsent(self, operation: Operation, error: str) -> bool:
        """PREPARED -> NOT_EXECUTED under the operation's own fence, while it was counted as sent once: what its only
        sender knows holds whoever owns the conversion by now."""

    def note(self, operation: Operation, error: str, *, absences: int = 0) -> None:
        """Keep the text of an error and the count of absences; changes no state."""

    def count_send(self, conversion: Conversion, operation: Operation, send_before: datetime) -> Operation:
        """Count another send of the same bytes before it leaves. Raises ClaimLost."""

    def move(self, conversion: Conversion, attempt: Attempt, to_state: AttemptState, **changes: Any) -> Attempt:
        """Change an attempt under our fence. Raises ClaimLost, IllegalTransition."""


class Transfers(Protocol):
    """Signed payments of deposits, one per operation, one per nonce."""

    def add(self, operation: Operation, place: tuple[str, str, int], sign: Callable[[int], Transfer]) -> Transfer:
        """Allocate the next nonce of (chain, account, floor), sign and store, in this transaction."""

    def report(self, operation: Operation, transfer: Transfer) -> None:
        """Store a payment that a person made."""

    def of(self, operation: Operation) -> Transfer | None:
        """The payment of an operation."""


class Outbox(Protocol):
    """Events, written with the change that they tell."""

    def add(self, event: Event) -> None:
        """Append."""

    def after(self, sequence: int, limit: int = 100) -> list[Event]:
        """Events behind a sequence number, oldest first."""

    def last(self) -> int:
        """The newest sequence number, 0 when there is none."""


class Work(Protocol):
    """One transaction of the ledger."""

    @property
    def conversions(self) -> Conversions:
        """Conversions."""

    @property
    def quotes(self) -> Quotes:
        """Quotes."""

    @property
    def attempts(self) -> Attempts:
        """Attempts and operations."""

    @property
    def transfers(self) -> Transfers:
        """Transfers."""

    @property
    def outbox(self) -> Outbox:
        """Events."""

    def now(self) -> datetime:
        """The ledger's clock."""

    def clock(self) -> datetime:
        """The ledger's clock, read now."""

    def statistics(self) -> dict[str, Any]:
        """Counts by service and in all."""


class Counter(Protocol):
    """Numbers that strictly increase over all processes (nonces)."""

    def next(self, name: str, at_least: int) -> int:
        """The next number of this name: the last one plus 1, or `at_least` if that is more."""


class Ledger(Protocol):
    """The only truth about money. No HTTP inside a transaction."""

    def begin(self) -> AbstractContextManager[Work]:
        """A transaction: committed at the end, rolled back by an exception."""

    def now(self) -> datetime:
        """The ledger's clock, read by itself."""


class KeyStore(Protocol):
    """Keys of the services."""

    def get(self, service_id: str, name: str) -> str | None:
        """The key, or None."""
