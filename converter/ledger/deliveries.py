"""Messages to receivers, and how the receivers stand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from converter.domain.deliveries import DELIVERED, GIVEN_UP, PENDING, WITHDRAWN, Delivery, Message, Receiver
from converter.ledger.lasting import insert_into
from converter.ledger.outbox import event_of
from converter.ledger.outgoing_tables import deliveries, receivers
from converter.ledger.tables import events

_STANDING = ("name", "failures", "due_at", "failing_since", "delivered_at", "given_up_at", "disabled")


class SqlReceivers:
    """The `Receivers` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def get(self, name: str) -> Receiver:
        """How it stands; one that is not known stands well."""
        query = sa.select(*(receivers.c[one] for one in _STANDING)).where(receivers.c.name == name)
        row = self._connection.execute(query).mappings().one_or_none()
        return Receiver(name) if row is None else Receiver(**row)

    def claim(self, name: str, owner: str, lease: timedelta) -> bool:
        """Take it for so long, if it is free or ours already."""
        self._know(name)
        table, now = receivers.c, self._now()
        free = sa.or_(table.owner.is_(None), table.owner == owner, table.lease_until < now)
        taken = sa.update(receivers).where(table.name == name, free).values(owner=owner, lease_until=now + lease)
        return bool(self._connection.execute(taken).rowcount)

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is still ours."""
        table = receivers.c
        given = sa.update(receivers).where(table.name == name, table.owner == owner)
        self._connection.execute(given.values(owner=None, lease_until=None))

    def note(self, name: str, **changes: Any) -> None:
        """Change how it stands."""
        self._know(name)
        self._connection.execute(sa.update(receivers).where(receivers.c.name == name).values(**changes))

    def waiting(self, names: Collection[str]) -> list[str]:
        """Those of these that are free, may be sent to now, and have something that is due."""
        table, now = receivers.c, self._now()
        due = sa.select(deliveries.c.receiver).where(deliveries.c.receiver.in_(list(names)), *_sendable(now))
        held = sa.select(table.name).where(
            sa.or_(table.lease_until >= now, table.due_at > now, table.disabled != ""), table.name.in_(list(names))
        )
        found = self._connection.execute(due.where(deliveries.c.receiver.not_in(held)).distinct())
        return sorted(found.scalars())

    def _know(self, name: str) -> None:
        known = {"name": name, "failures": 0, "disabled": ""}
        self._connection.execute(insert_into(self._connection, receivers).values(**known).on_conflict_do_nothing())


class SqlDeliveries:
    """The `Deliveries` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def add(self, receiver: str, messages: Sequence[Message]) -> None:
        """Plan messages, in this order. An event that is planned already stays as it is."""
        rows = [
            {
                "receiver": receiver,
                "subject": one.subject,
                "sequence": one.sequence,
                "content": one.content,
                "state": PENDING,
                "attempts": 0,
                "due_at": one.due_at,
                "error": "",
                "created_at": self._now(),
            }
            for one in messages
        ]
        if rows:
            self._connection.execute(insert_into(self._connection, deliveries).on_conflict_do_nothing(), rows)

    def due(self, receiver: str, limit: int) -> list[Delivery]:
        """What may be sent now: of each subject its first that is pending, if its time has come."""
        table = deliveries.c
        here = (table.receiver == receiver, *_sendable(self._now()))
        return self._read(_SELECT.where(*here).order_by(table.due_at, table.id).limit(limit))

    def delivered(self, delivery: Delivery) -> None:
        """It was taken."""
        self._end(delivery, state=DELIVERED, attempts=delivery.attempts + 1, error="", ended_at=self._now())

    def failed(self, delivery: Delivery, error: str, due_at: datetime | None) -> None:
        """It was not taken; again at `due_at`, or given up."""
        changes: dict[str, Any] = {"attempts": delivery.attempts + 1, "error": error}
        if due_at is None:
            self._end(delivery, **changes, state=GIVEN_UP, ended_at=self._now())
        else:
            self._end(delivery, **changes, due_at=due_at)

    def withdraw(self, receiver: str, subject: str) -> int:
        """Take back what is planned for later of a subject and was never tried; returns how many."""
        table, now = deliveries.c, self._now()
        here = (table.receiver == receiver, table.subject == subject, table.state == PENDING)
        query = sa.update(deliveries).where(*here, table.attempts == 0, table.due_at > now)
        return int(self._connection.execute(query.values(state=WITHDRAWN, ended_at=now)).rowcount)

    def again(self, receiver: str, now: datetime) -> int:
        """Plan anew what was given up, and let what waits for another attempt be due; returns how many."""
        table = deliveries.c
        tried = sa.and_(table.state == PENDING, table.attempts > 0)
        query = sa.update(deliveries).where(table.receiver == receiver, sa.or_(table.state == GIVEN_UP, tried))
        fresh = {"state": PENDING, "attempts": 0, "due_at": now, "created_at": now, "ended_at": None}
        return int(self._connection.execute(query.values(**fresh)).rowcount)

    def counts(self, receiver: str) -> Mapping[str, int]:
        """How many there are in each state."""
        table = deliveries.c
        query = sa.select(table.state, sa.func.count()).where(table.receiver == receiver).group_by(table.state)
        return {state: count for state, count in self._connection.execute(query)}  # noqa: C416  rows, not pairs

    def oldest(self, receiver: str) -> Delivery | None:
        """The first that is pending."""
        table = deliveries.c
        query = _SELECT.where(table.receiver == receiver, table.state == PENDING).order_by(table.id).limit(1)
        return next(iter(self._read(query)), None)

    def first_needed(self, receivers: Collection[str]) -> int | None:
        """The lowest sequence number of an event that is still to be sent to these, None when there is none."""
        table = deliveries.c
        query = sa.select(sa.func.min(table.sequence)).where(
            table.receiver.in_(list(receivers)), table.state == PENDING
        )
        found = self._connection.execute(query).scalar()
        return None if found is None else int(found)

    def prune(self, before: datetime, limit: int, receivers: Collection[str]) -> int:
        """Delete some of those that ended before then, and what was planned before then for others than these
        receivers; returns how many of the first."""
        table = deliveries.c
        lost = (table.state == PENDING, table.receiver.not_in(list(receivers)), table.created_at < before)
        self._connection.execute(sa.delete(deliveries).where(*lost))
        old = sa.select(table.id).where(table.ended_at < before).order_by(table.ended_at).limit(limit)
        return int(self._connection.execute(sa.delete(deliveries).where(table.id.in_(old))).rowcount)

    def _end(self, delivery: Delivery, **changes: Any) -> None:
        """Only as it was seen: what somebody else ended meanwhile stays ended."""
        table = deliveries.c
        here = (table.id == delivery.id, table.state == PENDING, table.attempts == delivery.attempts)
        self._connection.execute(sa.update(deliveries).where(*here).values(**changes))

    def _read(self, query: sa.Select[Any]) -> list[Delivery]:
        return [_delivery(row) for row in self._connection.execute(query)]


def _sendable(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """Pending, due, and the first of its subject that is pending."""
    table, earlier = deliveries.c, deliveries.alias("earlier")
    ahead = sa.exists().where(
        earlier.c.receiver == table.receiver,
        earlier.c.subject == table.subject,
        earlier.c.state == PENDING,
        earlier.c.id < table.id,
    )
    return table.state == PENDING, table.due_at <= now, sa.not_(ahead)


_SELECT = sa.select(
    *(deliveries.c[one].label(f"own_{one}") for one in deliveries.c.keys()),  # noqa: SIM118  a column collection
    events.c.sequence,
    events.c.name,
    events.c.conversion_id,
    events.c.payload,
    events.c.at,
).join_from(deliveries, events, events.c.sequence == deliveries.c.sequence, isouter=True)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.own_id,
        receiver=row.own_receiver,
        message=Message(row.own_subject, row.own_due_at, row.own_sequence, row.own_content),
        state=row.own_state,
        attempts=row.own_attempts,
        created_at=row.own_created_at,
        error=row.own_error,
        event=None if row.sequence is None else event_of(row),
    )
