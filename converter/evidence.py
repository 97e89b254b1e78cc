"""What is known of a conversion before a person: what was sent, when, under which keys, and what is answered now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from converter.desk import Desk
from converter.domain.conversions import Attempt, Conversion, Operation, State
from converter.domain.errors import ConverterError
from converter.domain.money import plain
from converter.domain.orders import Order
from converter.domain.transfers import Sighting, Transfer
from converter.ports import Deadline
from converter.reconciliation import Reconciliation

CASES = 200
"""Parked conversions that one list shows."""
_AT_ONCE = 4
"""Parked conversions whose services are asked at the same time."""


@dataclass(frozen=True)
class Answer:
    """What a service, and the chain of our deposit, say now. `error` when the service could not be asked."""

    order: Order | None = None
    sighting: Sighting | None = None
    error: str = ""

    @property
    def text(self) -> str:
        """In words."""
        if self.error:
            told = f"could not be asked: {self.error}"
        elif self.order is None:
            told = "does not know it"
        else:
            parts = [str(self.order.status), self.order.detail, self.order.txid]
            told = "shows it as " + " ".join(part for part in parts if part)
        return told if self.sighting is None else f"{told}; our deposit is {self.sighting} on its chain"

    def facts(self) -> dict[str, Any]:
        """As JSON shows it: what a person decides by. `txid` is of the payout, as the service names it."""
        order = self.order
        return {
            "known": None if self.error else order is not None,
            "status": None if order is None else str(order.status),
            "txid": (order.txid or None) if order is not None else None,
            "deposit": None if self.sighting is None else str(self.sighting),
            "error": self.error or None,
        }


@dataclass(frozen=True)
class Sent:
    """One outside call: what the ledger knows of it."""

    operation: Operation
    transfer: Transfer | None

    def facts(self) -> dict[str, Any]:
        """As JSON shows it."""
        one, paid = self.operation, self.transfer
        return {
            "operation": one.kind,
            "key": one.key,
            "state": one.state,
            "sends": one.sends,
            "preparedAt": one.created_at.isoformat(),
            "sendBefore": one.send_before.isoformat(),
            "error": one.error or None,
            "depositTxid": paid.txid if paid is not None else None,
        }


@dataclass(frozen=True)
class Case:
    """A parked conversion with its open attempt, if it has one."""

    conversion: Conversion
    attempt: Attempt | None
    sent: tuple[Sent, ...]
    answer: Answer | None = None
    earlier: tuple[Attempt, ...] = ()
    """Attempts that came to nothing."""

    @property
    def since(self) -> datetime:
        """When a person was asked."""
        return self.conversion.since

    def facts(self) -> dict[str, Any]:
        """As JSON shows it. `words`: what a person may say of it."""
        conversion, attempt = self.conversion, self.attempt
        request = conversion.request
        return {
            "id": conversion.id,
            "amount": plain(request.amount),
            "from": str(request.from_asset),
            "to": str(request.to_asset),
            "address": request.address,
            "since": self.since.isoformat(),
            "reason": conversion.reason,
            "createdAt": conversion.created_at.isoformat(),
            "idempotencyKey": request.idempotency_key,
            "service": attempt.service_id if attempt is not None else None,
            "attempt": attempt.number if attempt is not None else None,
            "attemptState": str(attempt.state) if attempt is not None else None,
            "promised": plain(attempt.promised) if attempt is not None else None,
            "orderId": attempt.service_order_id if attempt is not None else None,
            "depositAddress": (attempt.deposit_address or None) if attempt is not None else None,
            "depositAmount": None if attempt is None or attempt.deposit is None else plain(attempt.deposit.amount),
            "depositMemo": (attempt.deposit_memo or None) if attempt is not None else None,
            "sent": [one.facts() for one in self.sent],
            "earlier": [_came_to_nothing(one) for one in self.earlier],
            "answer": self.answer.text if self.answer is not None else None,
            "found": self.answer.facts() if self.answer is not None else None,
            "words": ["notExecuted", "retry"] if attempt is None else ["executed", "notExecuted", "retry"],
        }


def _came_to_nothing(attempt: Attempt) -> dict[str, Any]:
    """An attempt that is over, as JSON shows it."""
    return {
        "number": attempt.number,
        "service": attempt.service_id,
        "state": str(attempt.state),
        "error": attempt.error or None,
        "at": attempt.updated_at.isoformat(),
    }


class Evidence:
    """Reads the ledger, and asks the service and the chain. Changes nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reconciliation = Reconciliation(desk)

    def parked(self, *, ask: bool, within: timedelta | None = None) -> list[Case]:
        """All conversions before a person, the longest waiting first; `ask`: with what is answered now.

        Services are asked for some at a time. `within`: what has not come by then is told as not asked in time.
        """
        with self._desk.ledger.begin() as work:
            found = work.conversions.page(states=(State.NEEDS_REVIEW,), limit=CASES)
        cases = [self.of(one, ask=False) for one in sorted(found, key=lambda one: one.since)]
        return self._asked(cases, within) if ask else cases

    def _asked(self, cases: list[Case], within: timedelta | None) -> list[Case]:
        """The same cases with answers. Calls that are under way when the time is over end by their own deadlines."""
        pool = ThreadPoolExecutor(_AT_ONCE, "review")
        asked = {one.conversion.id: pool.submit(self._answered, one) for one in cases if one.attempt is not None}
        wait(asked.values(), None if within is None else within.total_seconds())
        pool.shutdown(wait=False, cancel_futures=True)
        late = Answer(error=f"not within {within.total_seconds():g} s" if within is not None else "")
        return [
            one
            if (coming := asked.get(one.conversion.id)) is None
            else (coming.result() if coming.done() and not coming.cancelled() else replace(one, answer=late))
            for one in cases
        ]

    def _answered(self, case: Case) -> Case:
        if case.attempt is None:
            return case
        return replace(case, answer=self.ask(case.conversion, case.attempt, case.sent))

    def of(self, conversion: Conversion, *, ask: bool) -> Case:
        """One conversion."""
        with self._desk.ledger.begin() as work:
            attempts = work.attempts.of(conversion.id)
            attempt = next((one for one in attempts if one.is_open), None)
            operations = work.attempts.operations(attempt.id) if attempt is not None else []
            sent = tuple(Sent(one, work.transfers.of(one)) for one in operations)
        answer = self.ask(conversion, attempt, sent) if ask and attempt is not None else None
        return Case(conversion, attempt, sent, answer, tuple(one for one in attempts if not one.is_open))

    def ask(self, conversion: Conversion, attempt: Attempt, sent: tuple[Sent, ...]) -> Answer:
        """What the service says of an attempt, and the chain of its deposit."""
        transfer = next((one.transfer for one in reversed(sent) if one.transfer is not None), None)
        sighting = self._sighting(conversion, transfer) if transfer is not None and transfer.raw else None
        if attempt.service_id not in self._desk.services:
            return Answer(sighting=sighting, error=f"{attempt.service_id} is not configured")
        try:
            return Answer(self._reconciliation.look(conversion, attempt), sighting)
        except ConverterError as error:
            return Answer(sighting=sighting, error=str(error))

    def _sighting(self, conversion: Conversion, transfer: Transfer) -> Sighting | None:
        wallet = self._desk.wallets.get(conversion.request.from_asset.network)
        if wallet is None:
            return None
        try:
            return wallet.observe(transfer, Deadline.after(self._desk.timing.read.total_seconds()))
        except ConverterError:
            return None
