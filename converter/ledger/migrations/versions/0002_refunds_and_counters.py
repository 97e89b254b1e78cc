"""Until when a deposit may be sent; refunds; numbers that increase over all processes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("deposit_valid_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("refund_txid", sa.String(length=200), nullable=True))
    op.create_index("one_attempt_per_refund", "attempts", ["refund_txid"], unique=True)
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("counters")
    op.drop_index("one_attempt_per_refund", table_name="attempts")
    op.drop_column("attempts", "refund_txid")
    op.drop_column("attempts", "deposit_valid_until")
