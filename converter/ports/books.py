"""The books of the ledger, and the look at what must never be in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from converter.domain.breaches import Breach
from converter.domain.conversions import Attempt, Conversion, State
from converter.domain.postings import Posting


class Books(Protocol):
    """Postings in double entry: only ever added."""

    def post(self, postings: Sequence[Posting]) -> None:
        """Add a transaction of the books. One that is there already is an error, and undoes the whole transaction."""

    def of(self, attempt_id: int) -> list[Posting]:
        """Postings of an attempt, first to last."""

    def balances(self) -> dict[tuple[str, str], Decimal]:
        """What each account holds of each coin, by (account, coin)."""


class Inspection(Protocol):
    """Looks for what must never be."""

    def breaches(self, invariant: str, since: datetime, secrets: Sequence[str] = ()) -> list[Breach]:
        """Breaches of one of I2 to I13 among what is open, and among what changed since then. `secrets`: what no
        stored text may hold."""

    def owner(self, service_id: str, reference: str, order_id: str) -> tuple[Conversion, Attempt] | None:
        """Whose payment at a service this is: by our key of an attempt or an operation, or where none is given by the
        service's own id of the order. None when it is not ours."""

    def overdue(self, states: Sequence[State], before: datetime) -> tuple[int, Conversion | None]:
        """How many conversions are in one of these states and were accepted before then (in a single state: entered it
        before then), and the oldest of them."""
