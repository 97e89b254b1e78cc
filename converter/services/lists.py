"""What the services' lists of payments have in common: pages, read until they are older than what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from converter.domain.errors import MalformedResponse
from converter.domain.payouts import Payout, PayoutState
from converter.services.base import text


@dataclass(frozen=True)
class Row:
    """A row of a list: its id there, its moment, and the payment that it shows; None for what is no payment."""

    row_id: str
    at: datetime | None
    payout: Payout | None


Page = tuple[list[Row], bool]
"""Rows, and whether the service says that they are the last."""


def gathered(service_id: str, pages: Iterable[Page], since: datetime, most: int) -> list[Payout]:
    """The payments of the pages since a moment, each once. Lists tell whole seconds, so `since` is taken as one.

    Reading ends early where all rows so far run from new to old and the whole of a page is older than `since`. Raises
    MalformedResponse when `most` pages do not reach the end, or a page brings nothing new: half a list is none.
    """
    start, found = since.replace(microsecond=0), dict[str, Row]()
    for number, (rows, is_last) in enumerate(pages, 1):
        before = len(found)
        for row in rows:
            found.setdefault(row.row_id, row)
        if is_last or _is_past(rows, list(found.values()), start):
            return [one.payout for one in found.values() if one.payout and (one.at is None or one.at >= start)]
        if len(found) == before:
            raise MalformedResponse(service_id, "list", detail="its pages do not go on")
        if number == most:
            break
    raise MalformedResponse(service_id, "list", detail=f"it is longer than {most} pages since then")


def _is_past(page: list[Row], rows: list[Row], start: datetime) -> bool:
    """Whether what follows is older still. A single row, or many of one moment, tell no direction."""
    moments = [row.at for row in rows if row.at is not None]
    if len(moments) < len(rows) or not moments or moments[0] == moments[-1]:
        return False
    return all(one >= other for one, other in pairwise(moments)) and all(row.at and row.at < start for row in page)


def state_of(states: Mapping[Any, PayoutState], word: Any) -> PayoutState:
    """What a status word means; UNKNOWN for one that is not documented."""
    plain = isinstance(word, str | int) and not isinstance(word, bool)
    return states.get(word, PayoutState.UNKNOWN) if plain else PayoutState.UNKNOWN


def told(value: Any) -> str:
    """A text, empty while there is nothing to tell; ValueError for what is no text."""
    return "" if value is None or value == "" else text(value)


def utc(value: Any) -> datetime:
    """A moment from ISO 8601, in UTC unless it says otherwise; ValueError for anything else."""
    at = datetime.fromisoformat(text(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def from_seconds(value: Any) -> datetime:
    """A moment from whole Unix seconds; ValueError for anything else."""
    if type(value) is not int:
        raise ValueError("no whole number of seconds")
    return datetime.fromtimestamp(value, UTC)
