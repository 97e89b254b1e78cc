"""Why a service was chosen; what lasts and was told; health checks; rates that survive a loss of Redis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rounds",
        sa.Column("conversion_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("opened_at", _UTC, nullable=False),
        sa.Column("seats", sa.Text(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=False),
        sa.Column("judged_at", _UTC, nullable=True),
        sa.ForeignKeyConstraint(["conversion_id"], ["conversions.id"]),
        sa.PrimaryKeyConstraint("conversion_id", "number"),
    )
    op.create_table(
        "conditions",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("since", _UTC, nullable=False),
        sa.Column("seen_at", _UTC, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "health_checks",
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("elapsed_ms", sa.Integer(), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("service_id"),
    )
    op.create_table(
        "rate_states",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("quotes", sa.Column("late", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("attempts_state", "attempts", ["state", "service_id"])


def downgrade() -> None:
    op.drop_index("attempts_state", table_name="attempts")
    op.drop_column("quotes", "late")
    for name in ("rate_states", "health_checks", "conditions", "rounds"):
        op.drop_table(name)
