"""What an operator sees of the ledger: reading that is bounded however much there is, and that bars no writer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from converter.domain.coins import Asset
from converter.domain.conversions import Conversion, State
from converter.domain.quotes import QuoteRow
from converter.ports.ledger import Ledger, Work

Sides = tuple[Asset, Asset]
"""What is given and what is delivered."""


@dataclass(frozen=True)
class JudgedRow:
    """An answer with an offer, and the judgement of its round; empty while that was not chosen from."""

    row: QuoteRow
    judgement: Mapping[str, Any]


@dataclass(frozen=True)
class Failover:
    """One change of service, from the outbox. `to_service` is None where no other service took over."""

    sequence: int
    at: datetime
    conversion_id: str
    from_service: str
    to_service: str | None
    reason: str

    @property
    def succeeded(self) -> bool:
        """Whether another service took over."""
        return self.to_service is not None


class Views(Protocol):
    """Questions of an operator. Each reads a bounded number of rows, or an index."""

    def states(self) -> dict[State, int]:
        """How many conversions are in each state that has any."""

    def oldest(self, state: State) -> Conversion | None:
        """The oldest conversion in this state."""

    def attempts_since(self, since: datetime) -> dict[str, int]:
        """Attempts begun since then, by service; of many thousands only the newest count."""

    def last_failure(self, service_id: str) -> tuple[datetime, str] | None:
        """When the service last failed to answer or refused an attempt, and what was said."""

    def pairs(self) -> list[Sides]:
        """What the newest conversions convert, the newest first."""

    def quoted(self, sides: Sides, since: datetime, limit: int) -> list[JudgedRow]:
        """Offers for these sides since then, newest first; of the newest answers of all pairs only."""

    def failovers(self, limit: int, before: int | None = None) -> list[Failover]:
        """Newest first; `before` is the last sequence number of the page before."""


class ViewWork(Work, Protocol):
    """A transaction that an operator's questions read in."""

    @property
    def views(self) -> Views:
        """Views."""


class ViewedLedger(Ledger, Protocol):
    """A ledger that can be looked at beside the work on it."""

    def view(self) -> AbstractContextManager[ViewWork]:
        """A transaction that only reads: it bars no writer and waits for none."""
