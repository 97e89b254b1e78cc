"""The first schema: conversions, quotes, attempts, operations, transfers, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MONEY = sa.Numeric(38, 18).with_variant(sa.String(60), "sqlite")
UTC = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "conversions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("from_coin", sa.String(length=20), nullable=False),
        sa.Column("from_network", sa.String(length=20), nullable=False),
        sa.Column("to_coin", sa.String(length=20), nullable=False),
        sa.Column("to_network", sa.String(length=20), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", UTC, nullable=True),
        sa.Column("due_at", UTC, nullable=True),
        sa.Column("service_id", sa.String(length=40), nullable=True),
        sa.Column("promised", MONEY, nullable=True),
        sa.Column("delivered", MONEY, nullable=True),
        sa.Column("txid", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failovers", sa.Integer(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.Column("since", UTC, nullable=False),
        sa.Column("completed_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "conversions_due",
        "conversions",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("conversions_state", "conversions", ["state", "id"], unique=False)
    op.create_table(
        "events",
        sa.Column("sequence", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("conversion_id", sa.String(length=40), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("events_conversion", "events", ["conversion_id", "sequence"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("conversion_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("promised", MONEY, nullable=False),
        sa.Column("minimum_net", MONEY, nullable=False),
        sa.Column("quote_reference", sa.String(length=200), nullable=False),
        sa.Column("service_order_id", sa.String(length=200), nullable=True),
        sa.Column("deposit_address", sa.String(length=200), nullable=False),
        sa.Column("deposit_amount", MONEY, nullable=True),
        sa.Column("deposit_memo", sa.String(length=200), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversion_id"],
            ["conversions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("conversion_id", "number", name="attempt_number"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("attempts_service", "attempts", ["service_id", "id"], unique=False)
    op.create_index(
        "one_open_attempt",
        "attempts",
        ["conversion_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('PREPARED', 'PENDING', 'EXECUTED', 'SETTLED')"),
        postgresql_where=sa.text("state IN ('PREPARED', 'PENDING', 'EXECUTED', 'SETTLED')"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("conversion_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversion_id"],
            ["conversions.id"],
        ),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "quotes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("conversion_id", sa.String(length=40), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("gross", MONEY, nullable=True),
        sa.Column("net", MONEY, nullable=True),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("firm", sa.Boolean(), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("expires_at", UTC, nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("minimum", MONEY, nullable=True),
        sa.Column("elapsed_ms", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("asked_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversion_id"],
            ["conversions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("conversion_id", "round", "service_id", name="one_quote_per_round"),
    )
    op.create_index("quotes_service", "quotes", ["service_id", "id"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("attempt_id", ID, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("absences", sa.Integer(), nullable=False),
        sa.Column("send_before", UTC, nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["attempts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("attempt_id", "sequence", name="operation_sequence"),
        sa.UniqueConstraint("key"),
    )
    op.create_index(
        "one_operation_per_step",
        "operations",
        ["attempt_id", "kind"],
        unique=True,
        sqlite_where=sa.text("state <> 'NOT_EXECUTED'"),
        postgresql_where=sa.text("state <> 'NOT_EXECUTED'"),
    )
    op.create_table(
        "transfers",
        sa.Column("operation_id", ID, autoincrement=False, nullable=False),
        sa.Column("chain", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=100), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("txid", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
        ),
        sa.PrimaryKeyConstraint("operation_id"),
        sa.UniqueConstraint("chain", "account", "nonce", name="one_transfer_per_nonce"),
        sa.UniqueConstraint("chain", "txid", name="one_operation_per_transaction"),
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger is never emptied by a migration")
