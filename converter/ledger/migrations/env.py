"""Alembic's entry point: migrate on the connection that the caller gives."""

from alembic import context

from converter.ledger import outgoing_tables  # noqa: F401  the tables of `metadata` that are not beside it
from converter.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
