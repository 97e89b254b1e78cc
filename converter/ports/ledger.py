"""The ledger: the only truth about money, and what is kept beside it. One transaction is one `Work`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from converter.domain.conditions import Condition
from converter.domain.conversions import (
    Attempt,
    AttemptState,
    Conversion,
    ConversionRequest,
    Operation,
    OperationState,
    Sought,
    State,
)
from converter.domain.explaining import Round
from converter.domain.exposure import UnderWay
from converter.domain.health import Check
from converter.domain.quotes import QuoteRow
from converter.domain.transfers import Transfer
from converter.ports.books import Books, Inspection
from converter.ports.outgoing import Alerts, Deliveries, Followers, Outbox, Receivers


class Conversions(Protocol):
    """Conversions in the ledger. Every change is a compare-and-set; False means that it did not hold."""

    def add(self, conversion_id: str, request: ConversionRequest, due_at: datetime) -> Conversion:
        """Insert, or return the one that has this idempotency key. Raises IdempotencyConflict."""

    def known(self, request: ConversionRequest) -> Conversion | None:
        """The one that has this idempotency key, None when there is none. Raises IdempotencyConflict."""

    def get(self, conversion_id: str) -> Conversion:
        """Raises ConversionNotFound."""

    def page(
        self, *, states: Sequence[State] = (), limit: int = 50, before: str | None = None, sought: Sought | None = None
    ) -> list[Conversion]:
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

    def add(self, row: QuoteRow) -> bool:
        """Store an answer once per conversion, round and service; False for a second one, which changes nothing."""

    def of_round(self, conversion_id: str, asked_round: int) -> list[QuoteRow]:
        """All answers of a round."""

    def set_ranks(self, ranked: Sequence[int]) -> None:
        """Note the order in which quotes may be attempted (ids, best first)."""

    def late(self, row: QuoteRow) -> None:
        """Note how an answer ended that came after its round had gone on: its time, and whether it failed."""

    def attempted(self, attempt: Attempt) -> QuoteRow | None:
        """The answer whose offer an attempt took, None when it is not known any more."""

    def latencies(self, service_id: str, limit: int) -> list[int]:
        """Milliseconds of the newest answers that were no failures of ours, newest first."""

    def latest(self, service_id: str) -> QuoteRow | None:
        """The service's newest answer with an offer."""

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
        """PREPARED -> EXECUTED | NOT_EXECUTED under our fence; the latter only while its count of absences is what we
        know, so not after somebody noted that there is no row of them. Raises ClaimLost."""

    def record_unsent(self, operation: Operation, error: str) -> bool:
        """PREPARED -> NOT_EXECUTED under the operation's own fence, while it was counted as sent once: what its only
        sender knows holds whoever owns the conversion by now."""

    def note(self, operation: Operation, error: str, *, absences: int = 0) -> None:
        """Keep the text of an error and the count of absences of what is still PREPARED; changes no state."""

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

    def in_doubt_before(self, transfer: Transfer, limit: int) -> list[Transfer]:
        """Recent payments of the same account with lower nonces that are not known to be taken, the lowest first."""


class Conditions(Protocol):
    """What lasts and is told when it changes: a service that is unavailable, a pair that is held, a tier in use."""

    def enter(self, name: str, state: str, *, normal: str, detail: str = "") -> bool:
        """Note that it is in this state now. True for the one caller that found it in another (`normal` when nothing
        was known): that one tells the event, in this same transaction."""

    def restart(self, name: str) -> None:
        """It was not met for so long that its state is taken to have begun now."""

    def get(self, name: str) -> Condition | None:
        """The condition, None when it was never noted."""

    def of(self, prefix: str) -> dict[str, Condition]:
        """Conditions whose names begin so, by name."""


class Rounds(Protocol):
    """Why services were asked and chosen: one record for each round of asking."""

    def open(self, conversion_id: str, number: int, seats: Sequence[Mapping[str, Any]]) -> None:
        """Who was eligible in this round, and why not."""

    def judge(self, conversion_id: str, number: int, judgement: Mapping[str, Any]) -> None:
        """What became of the quotes, and why the first goes first."""

    def of(self, conversion_id: str) -> list[Round]:
        """Rounds of a conversion, first to last."""

    def get(self, conversion_id: str, number: int) -> Round | None:
        """One round, None when it has no record."""


class Exposure(Protocol):
    """How much is under way."""

    def under_way(self, *, serialised: bool) -> list[UnderWay]:
        """Open attempts, and those that were settled and began in the last 24 hours. `serialised`: no other transaction
        that asks so may run before this one ends, so that a cap holds exactly."""

    def candidates(self, service_id: str, from_coin: str, to_coin: str) -> list[tuple[str, Decimal]]:
        """(id, amount) of the conversions of these coins that may be attempted at the service now: chosen from, with an
        offer of it that is still good, and not attempted anywhere at this moment."""


class Memory(Protocol):
    """What is kept of shared state and of health checks, so that it survives a restart or a loss of Redis."""

    def keep_rates(self, rows: Sequence[tuple[str, str, datetime]]) -> None:
        """Replace the states of these names (name, text, when it changed)."""

    def rates(self) -> list[tuple[str, str, datetime]]:
        """All kept states."""

    def checked(self, service_id: str, check: Check) -> Check:
        """Keep the latest health check; returns it with its count of failures in a row."""

    def checks(self) -> dict[str, Check]:
        """The latest health check of each service."""


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
    def books(self) -> Books:
        """Postings."""

    @property
    def outbox(self) -> Outbox:
        """Events."""

    @property
    def followers(self) -> Followers:
        """How far the outbox was read."""

    @property
    def receivers(self) -> Receivers:
        """Who is sent messages."""

    @property
    def deliveries(self) -> Deliveries:
        """Messages to receivers."""

    @property
    def alerts(self) -> Alerts:
        """What an operator should know."""

    @property
    def conditions(self) -> Conditions:
        """What lasts."""

    @property
    def rounds(self) -> Rounds:
        """Explain records."""

    @property
    def exposure(self) -> Exposure:
        """How much is under way."""

    @property
    def inspection(self) -> Inspection:
        """What must never be."""

    @property
    def memory(self) -> Memory:
        """Kept shared state."""

    def now(self) -> datetime:
        """The ledger's clock."""

    def clock(self) -> datetime:
        """The ledger's clock, read now."""

    def statistics(self) -> dict[str, Any]:
        """Counts by service and in all."""

    def count(self, state: State, at_most: int) -> int:
        """How many conversions are in this state; no more are counted than `at_most`."""


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
