"""Postings in double entry that nobody can change. The books begin with what is under way at this moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MONEY = sa.Numeric(38, 18).with_variant(sa.String(60), "sqlite")

_UNDER_WAY = """
INSERT INTO postings (key, line, conversion_id, attempt_id, from_account, to_account, coin, amount, at)
SELECT a.key || ':opened', 1, c.id, a.id, 'pool',
       CASE WHEN c.state = 'NEEDS_REVIEW' THEN 'suspense' ELSE 'transit:' || a.service_id END,
       CASE WHEN c.from_coin = c.from_network THEN c.from_coin ELSE c.from_coin || ' on ' || c.from_network END,
       c.amount, a.created_at
FROM attempts a JOIN conversions c ON c.id = a.conversion_id
WHERE a.state IN ('PREPARED', 'PENDING', 'EXECUTED')
"""

_GUARDS = {
    "sqlite": [
        f"CREATE TRIGGER postings_no_{verb} BEFORE {verb} ON postings"
        " BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END"
        for verb in ("update", "delete")
    ],
    "postgresql": [
        (
            "CREATE FUNCTION postings_are_never_changed() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'postings are never changed'; END $$"
        ),
        (
            "CREATE TRIGGER postings_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON postings"
            " FOR EACH STATEMENT EXECUTE FUNCTION postings_are_never_changed()"
        ),
    ],
}


def upgrade() -> None:
    op.create_table(
        "postings",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("conversion_id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_account", sa.String(length=60), nullable=False),
        sa.Column("to_account", sa.String(length=60), nullable=False),
        sa.Column("coin", sa.String(length=60), nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("CAST(amount AS NUMERIC) > 0", name="posting_moves_something"),
        sa.CheckConstraint("from_account <> to_account", name="posting_moves_somewhere"),
        sa.ForeignKeyConstraint(["conversion_id"], ["conversions.id"]),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", "line", name="posting_once"),
    )
    op.create_index("postings_attempt", "postings", ["attempt_id"])
    op.create_index("attempts_order", "attempts", ["service_order_id"])
    op.get_bind().exec_driver_sql(_UNDER_WAY)
    for statement in _GUARDS[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.drop_index("attempts_order", table_name="attempts")
    op.drop_table("postings")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION postings_are_never_changed")
