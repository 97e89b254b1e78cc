"""Numbers that strictly increase over all processes and hosts, such as the nonces of a service's key."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from converter.ledger.tables import counters


class SqlCounter:
    """The `Counter` port. Each number is committed before it is used, so none is ever given out twice."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def next(self, name: str, at_least: int) -> int:
        """The next number of this name: the last one plus 1, or `at_least` if that is more."""
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        last = counters.c.value
        statement = insert(counters).values(name=name, value=at_least)
        following = sa.case((last >= statement.excluded.value, last + 1), else_=statement.excluded.value)
        statement = statement.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": following})
        with self._engine.begin() as connection:
            return int(connection.execute(statement.returning(last)).scalar_one())
