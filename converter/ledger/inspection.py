"""Looks for what must never be in the ledger. Reads only; each check is one sentence of `domain/breaches.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain import events as named
from converter.domain.breaches import Breach
from converter.domain.conversions import OPEN_ATTEMPT, TERMINAL, Attempt, AttemptState, Conversion, State
from converter.domain.money import plain
from converter.domain.postings import SUSPENSE, holder, transit_of
from converter.ledger.attempts import attempt_of
from converter.ledger.conversions import SqlConversions
from converter.ledger.tables import attempts, conversions, events, operations, postings, quotes

_OVERDUE = timedelta(minutes=10)
_ON_THE_WAY = tuple(state for state in OPEN_ATTEMPT if state is not AttemptState.SETTLED)
_ENDS = {
    State.COMPLETED: named.CONVERSION_COMPLETED,
    State.FAILED: named.CONVERSION_FAILED,
    State.CANCELLED: named.CONVERSION_CANCELLED,
}
_BEGINNINGS = (named.CONVERSION_QUOTED, named.CONVERSION_EXECUTING, named.CONVERSION_UNKNOWN)
_TEXTS = (
    (conversions.c.reason, conversions.c.updated_at),
    (attempts.c.error, attempts.c.updated_at),
    (operations.c.error, operations.c.updated_at),
    (quotes.c.error, quotes.c.asked_at),
    (events.c.payload, events.c.at),
)


class SqlInspection:
    """The `Inspection` port on one transaction."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now
        self._checks: dict[str, Callable[[datetime, Sequence[str]], Iterator[Breach]]] = {
            "I2": self._open_attempts,
            "I3": self._completed,
            "I4": self._ended_unexecuted,
            "I5": self._unprepared,
            "I6": self._fences,
            "I7": self._changed_ends,
            "I8": self._guards,
            "I9": self._books,
            "I10": self._shortfalls,
            "I11": self._forgotten,
            "I12": self._told,
            "I13": self._in_texts,
        }

    def breaches(self, invariant: str, since: datetime, secrets: Sequence[str] = ()) -> list[Breach]:
        """Breaches of one of I2 to I13 among what is open, and among what changed since then."""
        return list(self._checks[invariant](since, secrets))

    def owner(self, service_id: str, reference: str, order_id: str) -> tuple[Conversion, Attempt] | None:
        """Whose payment at a service this is; None when it is not ours."""
        if not reference and not order_id:
            return None
        named = sa.select(operations.c.attempt_id).where(operations.c.key == reference)
        theirs = attempts.c.service_order_id == order_id
        query = sa.select(attempts).where(attempts.c.id.in_(named) if reference else theirs)
        row = self._connection.execute(
            query.where(attempts.c.service_id == service_id).order_by(attempts.c.id.desc()).limit(1)
        ).one_or_none()
        if row is None:
            return None
        return SqlConversions(self._connection, self._now).get(row.conversion_id), attempt_of(row)

    def overdue(self, states: Sequence[State], before: datetime) -> tuple[int, Conversion | None]:
        """How many conversions are in one of these states since before then, and the oldest of them."""
        table = conversions.c
        began = table.since if len(states) == 1 else table.created_at
        late = (table.state.in_(list(states)), began < before)
        count = self._connection.execute(sa.select(sa.func.count()).select_from(conversions).where(*late)).scalar_one()
        if not count:
            return 0, None
        oldest = self._connection.execute(sa.select(table.id).where(*late).order_by(began).limit(1)).scalar_one()
        return int(count), SqlConversions(self._connection, self._now).get(oldest)

    def _rows(self, query: Any) -> Iterator[Any]:
        return iter(self._connection.execute(query).all())

    def _open_attempts(self, _since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        count = sa.func.count()
        query = (
            sa.select(attempts.c.conversion_id, count)
            .where(attempts.c.state.in_(OPEN_ATTEMPT))
            .group_by(attempts.c.conversion_id)
            .having(count > 1)
        )
        return (Breach("I2", one, f"{found} open attempts") for one, found in self._rows(query))

    def _completed(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        settled = (
            sa.select(sa.func.count())
            .where(attempts.c.conversion_id == conversions.c.id, attempts.c.state == AttemptState.SETTLED)
            .scalar_subquery()
        )
        is_completed = conversions.c.state == State.COMPLETED
        wrong = sa.or_(sa.and_(is_completed, settled != 1), sa.and_(sa.not_(is_completed), settled != 0))
        query = sa.select(conversions.c.id, conversions.c.state, settled).where(
            wrong, conversions.c.updated_at >= since
        )
        return (Breach("I3", one, f"{state} with {found} settled attempts") for one, state, found in self._rows(query))

    def _ended_unexecuted(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        query = (
            sa.select(conversions.c.id, conversions.c.state, attempts.c.service_id, attempts.c.state)
            .join(attempts, attempts.c.conversion_id == conversions.c.id)
            .where(
                conversions.c.state.in_([state for state in TERMINAL if state is not State.COMPLETED]),
                attempts.c.state.in_(OPEN_ATTEMPT),
                conversions.c.updated_at >= since,
            )
        )
        return (Breach("I4", one, f"{state}, but {which} is {how}") for one, state, which, how in self._rows(query))

    def _unprepared(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        """Every attempt holds the operation with which it began, counted as sent before it was."""
        begun = sa.exists().where(
            operations.c.attempt_id == attempts.c.id,
            operations.c.sequence == 1,
            operations.c.sends >= 1,
            operations.c.created_at <= operations.c.send_before,
        )
        query = sa.select(attempts.c.conversion_id, attempts.c.key).where(
            sa.not_(begun), attempts.c.updated_at >= since
        )
        return (Breach("I5", one, f"{key} has no prepared operation") for one, key in self._rows(query))

    def _fences(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        query = (
            sa.select(conversions.c.id, operations.c.key)
            .join(attempts, attempts.c.conversion_id == conversions.c.id)
            .join(operations, operations.c.attempt_id == attempts.c.id)
            .where(operations.c.fence > conversions.c.fence, operations.c.updated_at >= since)
        )
        return (Breach("I6", one, f"{key} was sent under a later fence") for one, key in self._rows(query))

    def _changed_ends(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        table = conversions.c
        held = sa.or_(table.due_at.is_not(None), table.owner.is_not(None), table.completed_at.is_(None))
        query = sa.select(table.id).where(table.state.in_(TERMINAL), held, table.updated_at >= since)
        for (one,) in self._rows(query):
            yield Breach("I7", one, "it has ended and is still looked at")
        later = events.alias()
        again = (
            sa.select(events.c.conversion_id, later.c.name)
            .join(later, sa.and_(later.c.conversion_id == events.c.conversion_id, later.c.name.in_(_BEGINNINGS)))
            .where(events.c.name.in_(list(_ENDS.values())), later.c.sequence > events.c.sequence, events.c.at >= since)
        )
        for one, name in self._rows(again):
            yield Breach("I7", one, f"{name} was told after its end")

    def _guards(self, _since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        """The triggers that bar a change of the books."""
        sqlite = self._connection.dialect.name == "sqlite"
        catalogue = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'postings'"
        if not sqlite:
            catalogue = (
                "SELECT count(*) FROM pg_trigger"
                " WHERE tgrelid = 'postings'::regclass AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
            )
        found = self._connection.exec_driver_sql(catalogue).scalar_one()
        if found < (2 if sqlite else 1):
            yield Breach("I8", None, "the database lets postings be changed")

    def _books(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        """Open attempts hold their coins at the service, or in suspense before a person; ended ones nowhere."""
        table = attempts.c
        query = (
            sa.select(table.id, table.key, table.conversion_id, table.service_id, table.state)
            .add_columns(conversions.c.state.label("of"), postings.c.from_account, postings.c.to_account)
            .join(conversions, conversions.c.id == table.conversion_id)
            .join(postings, postings.c.attempt_id == table.id, isouter=True)
            .where(sa.or_(table.state.in_(_ON_THE_WAY), table.updated_at >= since))
            .order_by(table.id, postings.c.id)
        )
        # One statement: between two of them a worker might go on, and what is right would look wrong.
        for _, group in groupby(self._rows(query), key=lambda row: row.id):
            rows = list(group)
            one = rows[0]
            held, expected = holder([row for row in rows if row.to_account is not None]), None
            if one.state in _ON_THE_WAY:
                expected = SUSPENSE if one.of == State.NEEDS_REVIEW else transit_of(one.service_id)
            if held != expected:
                yield Breach("I9", one.conversion_id, f"{one.key} is {one.state}, its coins are {held or 'nowhere'}")

    def _shortfalls(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        table = conversions.c
        query = (
            sa.select(table.id, table.delivered, attempts.c.minimum_net)
            .join(attempts, sa.and_(attempts.c.conversion_id == table.id, attempts.c.state == AttemptState.SETTLED))
            .where(table.state == State.COMPLETED, table.delivered.is_not(None), table.reason == "")
            .where(table.updated_at >= since)
        )
        for one, delivered, minimum in self._rows(query):
            if delivered < minimum:
                yield Breach("I10", one, f"{plain(delivered)} arrived, at least {plain(minimum)} was promised")

    def _forgotten(self, _since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        table, now = conversions.c, self._now()
        free = sa.or_(table.lease_until.is_(None), table.lease_until < now)
        overdue = sa.or_(table.due_at.is_(None), sa.and_(table.due_at < now - _OVERDUE, free))
        query = sa.select(table.id, table.state).where(table.state.not_in(TERMINAL), overdue)
        for one, state in self._rows(query):
            yield Breach("I11", one, f"it is {state}, and nobody has looked at it when it was due")
        told = sa.exists().where(events.c.conversion_id == table.id, events.c.name == named.CONVERSION_NEEDS_REVIEW)
        query = sa.select(table.id, table.state).where(table.state == State.NEEDS_REVIEW, sa.not_(told))
        for one, _ in self._rows(query):
            yield Breach("I11", one, "it waits for a person, and nobody was told")

    def _told(self, since: datetime, _secrets: Sequence[str]) -> Iterator[Breach]:
        table = conversions.c
        for state, name in _ENDS.items():
            told = (
                sa.select(sa.func.count())
                .where(events.c.conversion_id == table.id, events.c.name == name)
                .scalar_subquery()
            )
            query = sa.select(table.id, told).where(table.state == state, told != 1, table.updated_at >= since)
            for one, count in self._rows(query):
                yield Breach("I12", one, f"{name} was told {count} times")

    def _in_texts(self, since: datetime, secrets: Sequence[str]) -> Iterator[Breach]:
        for secret in secrets:
            for column, moment in _TEXTS:
                query = sa.select(sa.func.count()).where(moment >= since, column.contains(secret, autoescape=True))
                if self._connection.execute(query).scalar_one():
                    yield Breach("I13", None, f"a key is in {column.table.name}.{column.name}")
