"""The explain record: what was known and decided in one round of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Round:
    """`seats`: every service with its tier, turn and objection; `judgement`: what became of the quotes, empty until
    the round was chosen from. Both are plain JSON: amounts are text."""

    conversion_id: str
    number: int
    opened_at: datetime
    seats: Sequence[Mapping[str, Any]]
    judgement: Mapping[str, Any]
    judged_at: datetime | None
