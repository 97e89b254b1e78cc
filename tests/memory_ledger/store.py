"""Rows, indexes and the journal of one transaction.

A row is the domain's own frozen object. A change replaces the row and notes in the journal how to take it back, so that
a transaction that breaks costs nothing to those that do not. One thread, one transaction at a time, and nothing else
may run inside a transaction: `begin` refuses a second one, so a scheduler that switches there is found out at once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa

from converter.domain.conditions import Condition
from converter.domain.conversions import OPEN_ATTEMPT, Attempt, Conversion, Operation
from converter.domain.events import Event
from converter.domain.explaining import Round
from converter.domain.health import Check
from converter.domain.money import plain
from converter.domain.postings import Posting
from converter.domain.quotes import QuoteRow
from converter.domain.transfers import Transfer

T = TypeVar("T")
Row = TypeVar("Row", Conversion, Attempt, Operation, QuoteRow, Condition)


class Guard(StrEnum):
    """What stands between a fault and the money, each to be taken out by itself in tests of the tests."""

    CLAIM = "claim"
    """A conversion that somebody holds is not claimed."""
    FENCE = "fence"
    """A write needs the fence of the latest claim."""
    LEASE = "lease"
    """What will be sent needs a lease that still holds."""
    STATE = "state"
    """A row is changed only from the state in which it was seen."""
    TRANSITIONS = "transitions"
    """The tables of what may follow what; terminal never changes."""
    COUNTED_SENDS = "counted_sends"
    """A repeat is counted, under its sender's fence."""
    IDEMPOTENCY = "idempotency"
    ONE_OPEN_ATTEMPT = "one_open_attempt"
    ATTEMPT_NUMBER = "attempt_number"
    ATTEMPT_KEY = "attempt_key"
    OPERATION_SEQUENCE = "operation_sequence"
    OPERATION_KEY = "operation_key"
    ONE_OPERATION_PER_STEP = "one_operation_per_step"
    ONE_ATTEMPT_PER_REFUND = "one_attempt_per_refund"
    ONE_TRANSFER_PER_OPERATION = "one_transfer_per_operation"
    ONE_TRANSFER_PER_NONCE = "one_transfer_per_nonce"
    ONE_OPERATION_PER_TRANSACTION = "one_operation_per_transaction"
    ONE_QUOTE_PER_ROUND = "one_quote_per_round"
    ONE_POSTING = "one_posting"
    ABSENCES = "absences"
    """Absences prove something only while nobody saw the operation meanwhile."""


ALL_GUARDS = frozenset(Guard)


class Due:
    """Ids in the order of their due times. An entry never changes: (due, id)."""

    def __init__(self) -> None:
        self.entries: list[tuple[datetime, str]] = []

    def add(self, entry: tuple[datetime, str]) -> None:
        insort(self.entries, entry)

    def discard(self, entry: tuple[datetime, str]) -> None:
        del self.entries[bisect_left(self.entries, entry)]


class Store:
    """Everything that the ledger holds. Public to be read; written through the methods below only."""

    def __init__(self, clock: Callable[[], datetime], guards: Collection[str]) -> None:
        self.clock = clock
        self.guards = frozenset(guards)
        self.conversions: dict[str, Conversion] = {}
        self.unfinished: dict[str, bool] = {}
        self.due = Due()
        self.idempotency_keys: dict[str, tuple[str, str]] = {}
        """The conversion of each key, and the hash of what was asked for."""
        self.quotes: dict[int, QuoteRow] = {}
        self.quotes_of_round: dict[tuple[str, int], tuple[int, ...]] = {}
        self.quotes_of_service: dict[str, list[int]] = {}
        self.answer_times: dict[str, list[int | None]] = {}
        """Beside `quotes_of_service`: the last hundred are read for every quote."""
        self.attempts: dict[int, Attempt] = {}
        self.attempts_of: dict[str, tuple[int, ...]] = {}
        self.attempt_keys: dict[str, int] = {}
        self.refunds: dict[str, int] = {}
        self.order_ids: dict[tuple[str, str], tuple[int, ...]] = {}
        self.open_attempts: dict[int, bool] = {}
        self.operations: dict[int, Operation] = {}
        self.operations_of: dict[int, tuple[int, ...]] = {}
        self.operation_keys: dict[str, int] = {}
        self.transfers: dict[int, Transfer] = {}
        self.nonces: dict[tuple[str, str], int] = {}
        """The highest nonce of each (chain, account)."""
        self.taken_nonces: dict[tuple[str, str, int], int] = {}
        self.txids: dict[tuple[str, str], int] = {}
        self.postings: dict[int, tuple[Posting, ...]] = {}
        """By attempt."""
        self.posting_keys: dict[tuple[str, int], bool] = {}
        self.events: list[tuple[Event, str]] = []
        """Without its payload, which is kept as JSON beside it."""
        self.conditions: dict[str, Condition] = {}
        self.rounds: dict[tuple[str, int], Round] = {}
        self.rounds_of: dict[str, tuple[int, ...]] = {}
        self.kept_rates: dict[str, tuple[str, str, datetime]] = {}
        self.checks: dict[str, Check] = {}
        self.transactions = 0
        self._time: datetime | None = None
        self._journal: list[tuple[Any, ...]] | None = None

    # Transactions

    def begin(self) -> None:
        if self._journal is not None:
            raise RuntimeError("a transaction inside another: something was switched in the middle of one")
        self._journal = []
        self._time = None
        self.transactions += 1

    def end(self, *, committed: bool) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            raise RuntimeError("no transaction is open")
        if not committed:
            for undo, *given in reversed(journal):
                undo(*given)

    def now(self) -> datetime:
        """The ledger's clock, read once per transaction."""
        if self._time is None:
            self._time = self.clock()
        return self._time

    # Writing

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Insert or replace."""
        if key in table:
            self._log(table.__setitem__, key, table[key])
        else:
            self._log(table.pop, key)
        table[key] = value

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        if key in table:
            self._log(table.__setitem__, key, table.pop(key))

    def push(self, rows: list[T], row: T) -> None:
        self._log(rows.pop)
        rows.append(row)

    def put_at(self, rows: list[T], place: int, row: T) -> None:
        self._log(rows.__setitem__, place, rows[place])
        rows[place] = row

    def put_conversion(self, before: Conversion | None, after: Conversion) -> None:
        """Insert or replace a conversion, with its place among those that are due."""
        self.put(self.conversions, after.id, after)
        due_before = before.due_at if before is not None else None
        if due_before != after.due_at:
            if due_before is not None:
                self._log(self.due.add, (due_before, after.id))
                self.due.discard((due_before, after.id))
            if after.due_at is not None:
                self._log(self.due.discard, (after.due_at, after.id))
                self.due.add((after.due_at, after.id))
        if before is None or before.state is not after.state:
            if after.state.is_terminal:
                self.drop(self.unfinished, after.id)
            else:
                self.put(self.unfinished, after.id, True)

    def put_attempt(self, before: Attempt | None, after: Attempt) -> None:
        """Insert or replace an attempt, with the ways in which it is found."""
        if before is None:
            self.put(self.attempts_of, after.conversion_id, (*self.attempts_of.get(after.conversion_id, ()), after.id))
            self.put(self.attempt_keys, after.key, after.id)
        if after.state in OPEN_ATTEMPT:
            self.put(self.open_attempts, after.id, True)
        else:
            self.drop(self.open_attempts, after.id)
        self._index(self.refunds, before and before.refund_txid, after.refund_txid, after.id)
        places = [one and one.service_order_id and (one.service_id, one.service_order_id) for one in (before, after)]
        if places[0] != places[1]:
            for place in filter(None, places):
                others = tuple(one for one in self.order_ids.get(place, ()) if one != after.id)
                self.put(self.order_ids, place, (*others, after.id) if place == places[1] else others)
        self.put(self.attempts, after.id, after)

    def _index(self, index: dict[str, int], before: str | None, after: str | None, row_id: int) -> None:
        """Where a name of a row has changed."""
        if before != after:
            if before is not None:
                self.drop(index, before)
            if after is not None:
                self.put(index, after, row_id)

    def _log(self, undo: Callable[..., Any], *given: Any) -> None:
        if self._journal is None:
            raise RuntimeError("a write outside of a transaction")
        self._journal.append((undo, *given))

    # Guarding

    def bars(self, guard: Guard, *, violated: bool) -> bool:
        """Whether the guard stands and is violated."""
        return violated and guard in self.guards

    def unique(self, guard: Guard, *, taken: bool) -> None:
        """Raise what a database raises where a unique index is violated."""
        if taken and guard in self.guards:
            raise violation(guard)

    def known(self, table: dict[Any, Any], key: Any) -> None:
        """A foreign key."""
        if key not in table:
            raise violation("FOREIGN KEY constraint failed")


def violation(what: str) -> sa.exc.IntegrityError:
    """The error of a database, so that the same tests speak to all ledgers."""
    return sa.exc.IntegrityError("in memory", None, ValueError(what))


def altered(row: Row, **changes: Any) -> Row:
    """`dataclasses.replace` for rows without `__post_init__`, at a quarter of its time."""
    if not changes.keys() <= row.__dict__.keys():
        raise TypeError(f"{type(row).__name__} has no {sorted(changes.keys() - row.__dict__.keys())}")
    new = object.__new__(type(row))
    new.__dict__.update(row.__dict__, **changes)
    return new


@lru_cache(maxsize=50_000)
def _normal(amount: Decimal) -> Decimal:
    return Decimal(plain(amount))


def money(amount: Decimal | None) -> Decimal | None:
    """An amount in the one spelling that every database gives back."""
    return None if amount is None else _normal(amount)


def utc(moment: datetime | None) -> datetime | None:
    """An aware moment in UTC. Refuses one without a zone."""
    if moment is None or moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise sa.exc.StatementError("a moment without a time zone", "in memory", None, ValueError())
    return moment.astimezone(UTC)


def note(text: str) -> str:
    """A text from outside, as databases can store it."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
