"""Keys from the environment: `CONVERTER_KEY_<SERVICE>_<NAME>`, such as `CONVERTER_KEY_BINANCE_SECRET_KEY`."""

from __future__ import annotations

from collections.abc import Mapping


class EnvironmentKeys:
    """The `KeyStore` port on a mapping; an empty value counts as missing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, service_id: str, name: str) -> str | None:
        """The key, or None."""
        return self._environ.get(variable(service_id, name)) or None


def variable(service_id: str, name: str) -> str:
    """Name of the variable that holds a key."""
    return f"CONVERTER_KEY_{service_id}_{name}".upper()
