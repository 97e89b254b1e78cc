"""Finding a conversion by what a service calls its order."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from converter.domain.conversions import TERMINAL, State
from converter.ledger.tables import attempts, conversions

_UNFINISHED = tuple(state for state in State if state not in TERMINAL)


def find_conversion(connection: Connection, service_id: str, order_id: str, reference: str) -> str | None:
    """The unfinished conversion with an attempt of this key or, failing that, of this order id at the service.

    An empty name matches nothing. Only what is unfinished is searched, so the effort does not grow with the ledger.
    """
    for column, name in ((attempts.c.key, reference), (attempts.c.service_order_id, order_id)):
        if not name:
            continue
        query = (
            sa.select(conversions.c.id)
            .join(attempts, attempts.c.conversion_id == conversions.c.id)
            .where(conversions.c.state.in_(_UNFINISHED), attempts.c.service_id == service_id, column == name)
            .order_by(attempts.c.id.desc())
            .limit(1)
        )
        found: str | None = connection.execute(query).scalar()
        if found is not None:
            return found
    return None
