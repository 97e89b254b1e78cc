"""Which keys a command of an operator has."""

from __future__ import annotations

from converter.local.home import read_run_file
from converter.security.keys import EnvironmentKeys
from converter.settings import Settings, environment


def operator_keys(settings: Settings) -> EnvironmentKeys:
    """Keys of this environment; beside a running `up --sandbox`, those of the sandbox over them."""
    environ = dict(environment())
    facts = read_run_file(settings.home)
    if facts is not None and facts.get("sandbox") and not environ.get("CONVERTER_CONFIG"):
        from converter.local.sandbox_config import sandbox_environment  # noqa: PLC0415  for the sandbox only

        environ.update(sandbox_environment())
    return EnvironmentKeys(environ)
