"""Tables of the ledger. Amounts are NUMERIC(38, 18), text on SQLite, which has no exact numbers; times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from converter.domain.conversions import OPEN_ATTEMPT, OperationState
from converter.domain.money import plain


class Money(TypeDecorator[Decimal]):
    """An exact amount."""

    impl = sa.Numeric(38, 18)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database would make it a float."""
        return dialect.type_descriptor(sa.String(60) if dialect.name == "sqlite" else sa.Numeric(38, 18))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Decimal in, plain text or Decimal out."""
        if value is None or dialect.name != "sqlite":
            return value
        return plain(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """The same digits on every database."""
        return None if value is None else Decimal(plain(Decimal(value)))


class Utc(TypeDecorator[datetime]):
    """An aware UTC moment; SQLite keeps it without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Always aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Note(TypeDecorator[str]):
    """A text that may come from outside; what no database stores (NUL, half surrogates) is replaced."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Any text in."""
        return value and value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


metadata = sa.MetaData()

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("state IN ({})".format(", ".join(f"'{state}'" for state in OPEN_ATTEMPT)))
_NOT_REFUSED = sa.text(f"state <> '{OperationState.NOT_EXECUTED}'")

conversions = sa.Table(
    "conversions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("from_coin", sa.String(20), nullable=False),
    sa.Column("from_network", sa.String(20), nullable=False),
    sa.Column("to_coin", sa.String(20), nullable=False),
    sa.Column("to_network", sa.String(20), nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.String(200)),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(100)),
    sa.Column("lease_until", Utc),
    sa.Column("due_at", Utc),
    sa.Column("service_id", sa.String(40)),
    sa.Column("promised", Money),
    sa.Column("delivered", Money),
    sa.Column("txid", sa.String(200), nullable=False),
    sa.Column("reason", Note, nullable=False),
    sa.Column("failovers", sa.Integer, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("updated_at", Utc, nullable=False),
    sa.Column("since", Utc, nullable=False),
    sa.Column("completed_at", Utc),
    sa.Index(
        "conversions_due",
        "due_at",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    ),
    sa.Index("conversions_state", "state", "id"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("conversion_id", sa.ForeignKey("conversions.id"), nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)

quotes = sa.Table(
    "quotes",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("conversion_id", sa.ForeignKey("conversions.id"), nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("service_id", sa.String(40), nullable=False),
    sa.Column("gross", Money),
    sa.Column("net", Money),
    sa.Column("fees", sa.Text, nullable=False),
    sa.Column("firm", sa.Boolean, nullable=False),
    sa.Column("reference", sa.String(200), nullable=False),
    sa.Column("expires_at", Utc),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("late", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("error", Note, nullable=False),
    sa.Column("minimum", Money),
    sa.Column("elapsed_ms", sa.Integer, nullable=False),
    sa.Column("rank", sa.Integer),
    sa.Column("asked_at", Utc, nullable=False),
    sa.UniqueConstraint("conversion_id", "round", "service_id", name="one_quote_per_round"),
    sa.Index("quotes_service", "service_id", "id"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("conversion_id", sa.ForeignKey("conversions.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("service_id", sa.String(40), nullable=False),
    sa.Column("key", sa.String(40), nullable=False, unique=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("promised", Money, nullable=False),
    sa.Column("minimum_net", Money, nullable=False),
    sa.Column("quote_reference", sa.String(200), nullable=False),
    sa.Column("service_order_id", sa.String(200)),
    sa.Column("deposit_address", sa.String(200), nullable=False),
    sa.Column("deposit_amount", Money),
    sa.Column("deposit_memo", sa.String(200), nullable=False),
    sa.Column("deposit_valid_until", Utc),
    sa.Column("refund_txid", sa.String(200)),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("error", Note, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("updated_at", Utc, nullable=False),
    sa.UniqueConstraint("conversion_id", "number", name="attempt_number"),
    sa.Index("one_open_attempt", "conversion_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    sa.Index("attempts_service", "service_id", "id"),
    sa.Index("attempts_state", "state", "service_id"),
    sa.Index("attempts_order", "service_order_id"),
    sa.Index("one_attempt_per_refund", "refund_txid", unique=True),
)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("key", sa.String(40), nullable=False, unique=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("sends", sa.Integer, nullable=False),
    sa.Column("absences", sa.Integer, nullable=False),
    sa.Column("send_before", Utc, nullable=False),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("error", Note, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("updated_at", Utc, nullable=False),
    sa.UniqueConstraint("attempt_id", "sequence", name="operation_sequence"),
    # A step is taken again only after the one before it is proven not executed, whatever a look-up says meanwhile.
    sa.Index(
        "one_operation_per_step",
        "attempt_id",
        "kind",
        unique=True,
        sqlite_where=_NOT_REFUSED,
        postgresql_where=_NOT_REFUSED,
    ),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("operation_id", sa.ForeignKey("operations.id"), primary_key=True, autoincrement=False),
    sa.Column("chain", sa.String(40), nullable=False),
    sa.Column("account", sa.String(100), nullable=False),
    sa.Column("nonce", sa.BigInteger),
    sa.Column("raw", sa.Text, nullable=False),
    sa.Column("txid", sa.String(200), nullable=False),
    sa.Column("address", sa.String(200), nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.UniqueConstraint("chain", "account", "nonce", name="one_transfer_per_nonce"),
    sa.UniqueConstraint("chain", "txid", name="one_operation_per_transaction"),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("conversion_id", sa.ForeignKey("conversions.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("seats", Note, nullable=False),
    sa.Column("judgement", Note, nullable=False),
    sa.Column("judged_at", Utc),
)

conditions = sa.Table(
    "conditions",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("state", sa.String(40), nullable=False),
    sa.Column("since", Utc, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
    sa.Column("detail", Note, nullable=False),
)

health_checks = sa.Table(
    "health_checks",
    metadata,
    sa.Column("service_id", sa.String(40), primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("error", Note, nullable=False),
    sa.Column("elapsed_ms", sa.Integer, nullable=False),
    sa.Column("misses", sa.Integer, nullable=False),
)

rate_states = sa.Table(
    "rate_states",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
)

postings = sa.Table(
    "postings",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(80), nullable=False),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("conversion_id", sa.ForeignKey("conversions.id"), nullable=False),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False),
    sa.Column("from_account", sa.String(60), nullable=False),
    sa.Column("to_account", sa.String(60), nullable=False),
    sa.Column("coin", sa.String(60), nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.CheckConstraint("CAST(amount AS NUMERIC) > 0", name="posting_moves_something"),
    sa.CheckConstraint("from_account <> to_account", name="posting_moves_somewhere"),
    sa.UniqueConstraint("key", "line", name="posting_once"),
    sa.Index("postings_attempt", "attempt_id"),
)
"""Append-only: triggers of the database bar every change."""

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("sequence", _ID, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("conversion_id", sa.String(40)),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Index("events_conversion", "conversion_id", "sequence"),
)
