"""Keys from the environment: `CONVERTER_KEY_<SERVICE>_<NAME>`, such as `CONVERTER_KEY_BINANCE_SECRET_KEY`.

Each may come from a file: the one named by `CONVERTER_KEY_<SERVICE>_<NAME>_FILE`, else `<service>_<name>` in the folder
named by `CONVERTER_KEYS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.security.given import given, given_in_folder


class EnvironmentKeys:
    """The `KeyStore` port on a mapping; an empty value counts as missing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, service_id: str, name: str) -> str | None:
        """The key, or None. Raises ConfigurationError when a file that is named for it cannot be read."""
        found = given(self._environ, variable(service_id, name))
        return found or given_in_folder(self._environ, f"{service_id}_{name}".lower())


def variable(service_id: str, name: str) -> str:
    """Name of the variable that holds a key."""
    return f"CONVERTER_KEY_{service_id}_{name}".upper()
