"""How far events were read, messages to receivers, alerts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True)
_PENDING = sa.text("state = 'pending'")
_FIRING = sa.text("resolved_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "followers",
        sa.Column("follower", sa.String(length=60), nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("follower", "event"),
    )
    op.create_table(
        "receivers",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", _UTC, nullable=True),
        sa.Column("due_at", _UTC, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", _UTC, nullable=True),
        sa.Column("delivered_at", _UTC, nullable=True),
        sa.Column("given_up_at", _UTC, nullable=True),
        sa.Column("disabled", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _deliveries()
    _alerts()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("receiver", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _UTC, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("ended_at", _UTC, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("receiver", "sequence", name="one_delivery_per_event"),
    )
    partly: dict[str, Any] = {"sqlite_where": _PENDING, "postgresql_where": _PENDING}
    op.create_index("deliveries_due", "deliveries", ["receiver", "due_at"], **partly)
    op.create_index("deliveries_subject", "deliveries", ["receiver", "subject", "id"], **partly)
    op.create_index("deliveries_ended", "deliveries", ["ended_at"])


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=True),
        sa.Column("conversion_id", sa.String(length=40), nullable=True),
        sa.Column("lasts", sa.Integer(), nullable=True),
        sa.Column("watch", sa.Text(), nullable=False),
        sa.Column("first_at", _UTC, nullable=False),
        sa.Column("last_at", _UTC, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("resolved_at", _UTC, nullable=True),
        sa.Column("told_at", _UTC, nullable=True),
        sa.Column("announced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("alerts_firing", "alerts", ["last_at"], sqlite_where=_FIRING, postgresql_where=_FIRING)
    op.create_index("alerts_resolved", "alerts", ["resolved_at"])


def downgrade() -> None:
    for name in ("alerts", "deliveries", "receivers", "followers"):
        op.drop_table(name)
