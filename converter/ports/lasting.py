"""What lasts beside the conversions: conditions and who was told of them, explain records, kept shared state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from converter.domain.conditions import Condition
from converter.domain.explaining import Round
from converter.domain.health import Check


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
