"""The schema: made by migrations only, exactly what the tables say, and harmless to make again."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine

from converter.domain.conversions import OPEN_ATTEMPT
from converter.domain.errors import ConfigurationError
from converter.ledger.engines import create_engine
from converter.ledger.migrations import run
from converter.ledger.repository import SCHEMA_VERSION, open_ledger, schema_version
from converter.ledger.tables import metadata
from tests.builders import START
from tests.ledger.processes import open_and_migrate, run_at_once


def test_the_migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_partial_indexes_have_their_conditions(engine: Engine) -> None:
    """What alembic does not compare."""
    by_backend = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }
    with engine.connect() as connection:
        found = dict(connection.exec_driver_sql(by_backend[engine.dialect.name]).all())
    assert "UNIQUE" in found["one_open_attempt"]
    for state in OPEN_ATTEMPT:
        assert f"'{state}'" in found["one_open_attempt"]
    assert found["one_open_attempt"].count("'") == 2 * len(OPEN_ATTEMPT)
    assert "due_at IS NOT NULL" in found["conversions_due"]
    assert "UNIQUE" in found["one_operation_per_step"]
    assert "NOT_EXECUTED" in found["one_operation_per_step"]


def test_foreign_keys_hold(engine: Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(
            metadata.tables["idempotency_keys"].insert(),
            {"key": "k", "content_hash": "h", "conversion_id": "nobody", "created_at": START},
        )


def test_an_empty_database_is_refused_until_it_is_migrated(empty_url: str) -> None:
    engine = create_engine(empty_url)
    assert schema_version(engine) is None
    with pytest.raises(ConfigurationError, match="converter migrate"):
        open_ledger(empty_url)
    open_ledger(empty_url, migrate=True).close()
    assert schema_version(engine) == SCHEMA_VERSION
    ledger = open_ledger(empty_url)
    with ledger.begin() as work:
        assert work.conversions.page() == []
    ledger.close()
    engine.dispose()


def test_upgrading_again_changes_nothing(empty_url: str) -> None:
    engine = create_engine(empty_url)
    for _ in range(2):
        run.upgrade(engine)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_processes_that_upgrade_at_once_do_not_disturb_each_other(empty_url: str) -> None:
    run_at_once(open_and_migrate, [(empty_url,)] * 3)
    engine = create_engine(empty_url)
    assert schema_version(engine) == SCHEMA_VERSION
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert rows == [SCHEMA_VERSION]
    engine.dispose()


def test_a_database_of_another_version_is_refused(empty_url: str) -> None:
    open_ledger(empty_url, migrate=True).close()
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="not current"):
        open_ledger(empty_url)
    engine.dispose()


def test_the_newest_migration_is_the_one_that_workers_ask_for() -> None:
    scripts = ScriptDirectory(str(Path(run.__file__).parent))
    assert scripts.get_heads() == [SCHEMA_VERSION]


@pytest.mark.parametrize("url", ["", "ledger.db", "mysql://localhost/x", "postgres", "sqlite"])
def test_other_databases_are_refused_with_what_is_accepted(url: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted: sqlite:///path or postgresql://"):
        create_engine(url)
