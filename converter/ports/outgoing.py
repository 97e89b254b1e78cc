"""What goes out of the system: events, how far they were read, messages to receivers, alerts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from converter.domain.alerts import Alert
from converter.domain.deliveries import Delivery, Message, Receiver
from converter.domain.events import Event, Only


class Outbox(Protocol):
    """Events, written with the change that they tell."""

    def add(self, event: Event) -> None:
        """Append."""

    def after(self, sequence: int, limit: int = 100) -> list[Event]:
        """Events behind a sequence number, oldest first."""

    def between(self, after: int, until: int, only: Only, limit: int, *, newest: bool = False) -> list[Event]:
        """Events behind `after` up to `until`, oldest first: the first `limit` of them, or the last."""

    def last(self) -> int:
        """The newest sequence number, 0 when there is none."""

    def prune(self, after: int, until: int, before: datetime) -> int:
        """Delete what is behind `after` up to `until`, older than `before`, and of no use to an audit: the ends of
        conversions stay, and everything of those that have not ended. Returns up to where it came."""


class Followers(Protocol):
    """How far each follower has read. One follower may keep a position for each name of event; "" is all of them."""

    def get(self, follower: str, event: str = "") -> int | None:
        """Its position, None when it has none."""

    def take(self, follower: str, start: int) -> int | None:
        """Its position, for this transaction alone; `start` when it is new, None while another transaction has it."""

    def move(self, follower: str, position: int, events: Collection[str] = ("",)) -> None:
        """Keep a position; one never moves back."""

    def slowest(self, since: datetime, besides: Collection[str] = ()) -> int | None:
        """The lowest position of those that have moved since then, None when there is none."""


class Receivers(Protocol):
    """Who is sent messages. One worker at a time sends to a receiver: the one that claimed it."""

    def get(self, name: str) -> Receiver:
        """How it stands; one that is not known stands well."""

    def claim(self, name: str, owner: str, lease: timedelta) -> bool:
        """Take it for so long, if it is free or ours already; nobody else sends to it meanwhile."""

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is still ours."""

    def note(self, name: str, **changes: Any) -> None:
        """Change how it stands: `failures`, `due_at`, `failing_since`, `delivered_at`, `given_up_at`, `disabled`."""

    def waiting(self, names: Collection[str]) -> list[str]:
        """Those of these that are free, may be sent to now, and have something that is due."""


class Deliveries(Protocol):
    """Messages to receivers, each until it is delivered, given up or withdrawn."""

    def add(self, receiver: str, messages: Sequence[Message]) -> None:
        """Plan messages, in this order."""

    def due(self, receiver: str, limit: int) -> list[Delivery]:
        """What may be sent now: of each subject its first that is pending, if its time has come."""

    def delivered(self, delivery: Delivery) -> None:
        """It was taken."""

    def failed(self, delivery: Delivery, error: str, due_at: datetime | None) -> None:
        """It was not taken; again at `due_at`, or given up."""

    def withdraw(self, receiver: str, subject: str) -> int:
        """Take back what is planned for later of a subject and was never tried; returns how many."""

    def again(self, receiver: str, now: datetime) -> int:
        """Plan anew what was given up, and let what waits for another attempt be due; returns how many."""

    def counts(self, receiver: str) -> Mapping[str, int]:
        """How many there are in each state."""

    def oldest(self, receiver: str) -> Delivery | None:
        """The first that is pending."""

    def first_needed(self, receivers: Collection[str]) -> int | None:
        """The lowest sequence number of an event that is still to be sent to these, None when there is none."""

    def prune(self, before: datetime, limit: int, receivers: Collection[str]) -> int:
        """Delete some of those that ended before then, and what was planned before then for others than these
        receivers, which are no more; returns how many of the first."""


class Alerts(Protocol):
    """What an operator should know, each under its key, firing until it ends."""

    def get(self, key: str) -> Alert | None:
        """The alert of this key, None when there never was one."""

    def put(self, alert: Alert) -> None:
        """Keep it in the place of the one with its key."""

    def firing(self) -> list[Alert]:
        """All that have not ended."""

    def page(self, *, active: bool, limit: int = 200) -> list[Alert]:
        """Firing first, then the newest; `active`: only those that are firing."""

    def prune(self, before: datetime, limit: int) -> int:
        """Delete some of those that ended before then; returns how many."""
