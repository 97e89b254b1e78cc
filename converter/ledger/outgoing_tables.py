"""Tables of what goes out of the system: how far events were read, messages to receivers, alerts."""

from __future__ import annotations

import sqlalchemy as sa

from converter.domain.deliveries import PENDING
from converter.ledger.tables import Note, Utc, metadata

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PENDING = sa.text(f"state = '{PENDING}'")
_FIRING = sa.text("resolved_at IS NULL")

followers = sa.Table(
    "followers",
    metadata,
    sa.Column("follower", sa.String(60), primary_key=True),
    sa.Column("event", sa.String(60), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("moved_at", Utc, nullable=False),
)

receivers = sa.Table(
    "receivers",
    metadata,
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("owner", sa.String(100)),
    sa.Column("lease_until", Utc),
    sa.Column("due_at", Utc),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", Utc),
    sa.Column("delivered_at", Utc),
    sa.Column("given_up_at", Utc),
    sa.Column("disabled", Note, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("receiver", sa.String(60), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("content", Note, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", Utc, nullable=False),
    sa.Column("error", Note, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("ended_at", Utc),
    sa.UniqueConstraint("receiver", "sequence", name="one_delivery_per_event"),
    sa.Index("deliveries_due", "receiver", "due_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index("deliveries_subject", "receiver", "subject", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index("deliveries_ended", "ended_at"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("severity", sa.String(20), nullable=False),
    sa.Column("text", Note, nullable=False),
    sa.Column("service_id", sa.String(40)),
    sa.Column("conversion_id", sa.String(40)),
    sa.Column("lasts", sa.Integer),
    sa.Column("watch", sa.Text, nullable=False),
    sa.Column("first_at", Utc, nullable=False),
    sa.Column("last_at", Utc, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("resolved_at", Utc),
    sa.Column("told_at", Utc),
    sa.Column("announced", sa.Boolean, nullable=False),
    sa.Index("alerts_firing", "last_at", sqlite_where=_FIRING, postgresql_where=_FIRING),
    sa.Index("alerts_resolved", "resolved_at"),
)
