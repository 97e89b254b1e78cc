"""Messages to receivers outside: a webhook that hears of events, a sink that is told of alerts.

A message is sent at least once, in the order of its subject (a conversion, a service), and again by a ladder until it
is taken or too old. No I/O, no clock: moments and chance are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from converter.domain.events import Event

PENDING, DELIVERED, GIVEN_UP, WITHDRAWN = "pending", "delivered", "given up", "withdrawn"


@dataclass(frozen=True)
class Message:
    """What is to be sent: an event by its `sequence`, or `content`, a JSON text. None before `due_at`."""

    subject: str
    due_at: datetime
    sequence: int | None = None
    content: str = ""


@dataclass(frozen=True)
class Delivery:
    """A message to one receiver. `event` None: its content counts, or the event is no longer kept."""

    id: int
    receiver: str
    message: Message
    state: str
    attempts: int
    created_at: datetime
    error: str = ""
    event: Event | None = None


@dataclass(frozen=True)
class Receiver:
    """How a receiver stands. `due_at`: nothing is sent to it before. `disabled`: why nothing is sent at all."""

    name: str
    failures: int = 0
    due_at: datetime | None = None
    failing_since: datetime | None = None
    delivered_at: datetime | None = None
    given_up_at: datetime | None = None
    disabled: str = ""


@dataclass(frozen=True)
class Ladder:
    """When a message that was not taken is sent again: `steps` after each attempt, the last one from then on, until it
    is older than `give_up`. A receiver that takes nothing rests `rest` at first, twice as long each time, up to
    `longest_rest`."""

    steps: tuple[timedelta, ...] = (
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(hours=1),
        timedelta(hours=3),
        timedelta(hours=6),
        timedelta(hours=12),
    )
    give_up: timedelta = timedelta(days=3)
    rest: timedelta = timedelta(seconds=1)
    longest_rest: timedelta = timedelta(seconds=30)

    def next_at(self, delivery: Delivery, now: datetime, chance: float) -> datetime | None:
        """When to send it after one more failed attempt; None: give it up. `chance` from 0 to 1 makes it up to a tenth
        earlier or later, so that what failed together does not come back together."""
        step = self.steps[min(delivery.attempts, len(self.steps) - 1)]
        due_at = now + step * (0.9 + 0.2 * chance)
        return None if now - delivery.created_at >= self.give_up else due_at

    def rest_after(self, failures: int) -> timedelta:
        """How long a receiver is left alone after so many bad runs in a row."""
        doubled: int = 2 ** min(failures - 1, 20)
        return min(self.rest * doubled, self.longest_rest)


def subject_of(event: Event) -> str:
    """What an event is about, and in whose order it is sent."""
    if event.conversion_id is not None:
        return event.conversion_id
    service_id = event.payload.get("serviceId")
    return f"service:{service_id}" if service_id is not None else event.name


@dataclass(frozen=True)
class Letter:
    """What is carried: the same `id` for every attempt; `content` has `type`, `timestamp` and `data`, all of JSON."""

    id: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Receipt:
    """What became of a letter. Not taken: `error` says why, without addresses; `retry_after`: what the receiver asks
    for; `gone`: it wants nothing ever again; `alone`: it answers, and refused this letter only."""

    taken: bool
    error: str = ""
    retry_after: timedelta | None = None
    gone: bool = False
    alone: bool = False


TAKEN = Receipt(taken=True)
