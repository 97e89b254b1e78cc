"""What an operator looks at stays quick: indexes of failovers and of answers that failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FAILOVER = sa.text("name IN ('failover:success', 'failover:failed')")


def upgrade() -> None:
    op.create_index("events_failover", "events", ["sequence"], sqlite_where=_FAILOVER, postgresql_where=_FAILOVER)
    op.create_index(
        "quotes_failed",
        "quotes",
        ["service_id", "id"],
        sqlite_where=sa.text("failed = 1"),
        postgresql_where=sa.text("failed"),
    )


def downgrade() -> None:
    op.drop_index("quotes_failed", table_name="quotes")
    op.drop_index("events_failover", table_name="events")
