"""Conversions, attempts and operations, and the tables of what may follow what."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from converter.domain.coins import Asset
from converter.domain.errors import IllegalTransition, InvalidRequest
from converter.domain.money import plain
from converter.domain.orders import Deposit, OperationKind


class State(StrEnum):
    """Where a conversion stands."""

    RECEIVED = "RECEIVED"
    QUOTING = "QUOTING"
    EXECUTING = "EXECUTING"
    SETTLING = "SETTLING"
    WAITING = "WAITING"
    RECONCILING = "RECONCILING"
    NEEDS_REVIEW = "NEEDS_REVIEW"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def is_terminal(self) -> bool:
        """Terminal never changes."""
        return self in TERMINAL


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED})

_ENDS_EARLY = {State.FAILED, State.CANCELLED, State.EXPIRED}
_FOLLOW_UP = {State.SETTLING, State.RECONCILING, State.NEEDS_REVIEW, State.COMPLETED}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.QUOTING, State.WAITING} | _ENDS_EARLY),
    State.QUOTING: frozenset({State.QUOTING, State.EXECUTING, State.WAITING} | _ENDS_EARLY),
    State.WAITING: frozenset({State.QUOTING, State.WAITING} | _ENDS_EARLY),
    State.EXECUTING: frozenset({State.EXECUTING, State.QUOTING, State.WAITING, State.FAILED} | _FOLLOW_UP),
    State.RECONCILING: frozenset({State.EXECUTING, State.RECONCILING} | _FOLLOW_UP),
    State.SETTLING: frozenset({State.EXECUTING} | _FOLLOW_UP),
    State.NEEDS_REVIEW: frozenset({State.EXECUTING, State.FAILED} | _FOLLOW_UP),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}
"""A conversion fails, is cancelled or expires only while nothing may have moved: EXECUTING may fail only with its last
attempt proven not executed, NEEDS_REVIEW only by a person's word."""


class AttemptState(StrEnum):
    """Where an attempt stands. PREPARED past its `send_before` is what "unknown" means; no extra write is needed."""

    PREPARED = "PREPARED"
    PENDING = "PENDING"
    EXECUTED = "EXECUTED"
    SETTLED = "SETTLED"
    NOT_EXECUTED = "NOT_EXECUTED"
    REFUNDED = "REFUNDED"


OPEN_ATTEMPT = (AttemptState.PREPARED, AttemptState.PENDING, AttemptState.EXECUTED, AttemptState.SETTLED)
"""At most one attempt per conversion may be in one of these; the database holds it."""

ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.PREPARED: frozenset({AttemptState.PENDING, AttemptState.EXECUTED, AttemptState.NOT_EXECUTED}),
    AttemptState.PENDING: frozenset({AttemptState.EXECUTED, AttemptState.SETTLED, AttemptState.NOT_EXECUTED}),
    AttemptState.EXECUTED: frozenset({AttemptState.SETTLED, AttemptState.REFUNDED, AttemptState.NOT_EXECUTED}),
    AttemptState.SETTLED: frozenset(),
    AttemptState.NOT_EXECUTED: frozenset(),
    AttemptState.REFUNDED: frozenset(),
}
"""PREPARED: its order is not yet confirmed. PENDING: the service has the order, nothing of ours has moved. EXECUTED: an
operation that moves money went through. An executed attempt goes back to not executed only when the service itself
closes the order with proof that nothing was executed (an order that filled nothing). REFUNDED: the service sent the
deposit back and its chain shows it with us."""


class OperationState(StrEnum):
    """Where one outside call stands."""

    PREPARED = "PREPARED"
    EXECUTED = "EXECUTED"
    NOT_EXECUTED = "NOT_EXECUTED"


def check_transition(thing: str, from_state: State | AttemptState, to_state: State | AttemptState) -> None:
    """Raise IllegalTransition unless the tables allow the change."""
    allowed = TRANSITIONS[from_state] if isinstance(from_state, State) else ATTEMPT_TRANSITIONS[from_state]
    if to_state not in allowed:
        raise IllegalTransition(thing, from_state, to_state)


@dataclass(frozen=True)
class ConversionRequest:
    """A validated request: exact amount, checked address."""

    from_asset: Asset
    to_asset: Asset
    amount: Decimal
    address: str
    idempotency_key: str | None = None
    policy: str = ""
    """Settings of this conversion's own, as canonical JSON; empty for the configured ones."""

    def content_hash(self) -> str:
        """Hash of what is asked for, to tell a repeat from another request under the same idempotency key."""
        content = [str(self.from_asset), str(self.to_asset), plain(self.amount), self.address]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Conversion:
    """The whole job, as the ledger knows it. `fence` grows with every claim."""

    id: str
    request: ConversionRequest
    state: State
    round: int
    fence: int
    owner: str | None
    lease_until: datetime | None
    due_at: datetime | None
    service_id: str | None
    promised: Decimal | None
    delivered: Decimal | None
    txid: str
    reason: str
    failovers: int
    created_at: datetime
    updated_at: datetime
    since: datetime
    """When the present state was entered; for WAITING and RECONCILING, when the first of a row of them was."""
    completed_at: datetime | None


ID_LENGTH = 29
"""Characters of a conversion's id: `cv_` and 26 that sort by time."""

_ID = re.compile(r"cv_[0-9A-HJKMNP-TV-Z]{26}")


def is_conversion_id(text: str) -> bool:
    """Whether a text has the form of the ids that we give."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Sought:
    """Which conversions are looked for; what is empty is no condition. `id_prefix`: how the id begins."""

    service_id: str = ""
    from_coin: str = ""
    to_coin: str = ""
    address: str = ""
    id_prefix: str = ""


@dataclass(frozen=True)
class Attempt:
    """One try of a conversion at one service."""

    id: int
    conversion_id: str
    number: int
    service_id: str
    key: str
    state: AttemptState
    promised: Decimal
    minimum_net: Decimal
    quote_reference: str
    service_order_id: str | None
    deposit_address: str
    deposit_amount: Decimal | None
    deposit_memo: str
    deposit_valid_until: datetime | None
    """When the deposit must have left, where the service names an end."""
    refund_txid: str | None
    """The transaction that brought the deposit back; it counts for one attempt only."""
    refused: bool
    """The service said no, or could not be reached; as opposed to an attempt that came to nothing on our side."""
    error: str
    created_at: datetime
    updated_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether it bars every other attempt of its conversion."""
        return self.state in OPEN_ATTEMPT

    @property
    def deposit(self) -> Deposit | None:
        """The deposit that the service asked for."""
        if self.deposit_amount is None:
            return None
        return Deposit(self.deposit_address, self.deposit_amount, self.deposit_memo, self.deposit_valid_until)


@dataclass(frozen=True)
class Operation:
    """One irrevocable (or preparing) outside call of an attempt."""

    id: int
    attempt_id: int
    sequence: int
    kind: OperationKind
    key: str
    state: OperationState
    fence: int
    sends: int
    absences: int
    """Look-ups in a row, after the quiet period, in which the service knew nothing of it."""
    send_before: datetime
    request_hash: str
    error: str
    created_at: datetime
    updated_at: datetime


def check_idempotency_key(key: object) -> str | None:
    """A key of the caller's: 1 to 200 visible ASCII characters, or None."""
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        raise InvalidRequest("idempotency_key", "is not usable", "1 to 200 printable ASCII characters")
    return key


def attempt_key(conversion_id: str, number: int) -> str:
    """Our order id at a service: derived, never random at send time, at most 32 characters of [A-Za-z0-9-]."""
    return f"{conversion_id.removeprefix('cv_')}-{_short(number)}"


_OURS = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}-[0-9a-z]{1,5}")


def is_our_key(text: str) -> bool:
    """Whether a text has the form of our keys, of attempts or operations."""
    return _OURS.fullmatch(text) is not None


def operation_key(attempt: str, kind: OperationKind, sequence: int) -> str:
    """Key of one operation of an attempt; the order carries the attempt's own key."""
    return attempt if kind is OperationKind.ORDER else f"{attempt}{kind[0]}{_short(sequence)}"


def _short(number: int) -> str:
    """A number in base 36: keys of a conversion that is tried for days still fit into 32 characters."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[number] if number < 36 else _short(number // 36) + digits[number % 36]
