"""Logs and traces of the process that serves HTTP."""

from __future__ import annotations

from converter.enqueue import let_carry
from converter.equipping import secret_values
from converter.observability import logs, tracing
from converter.ports import KeyStore
from converter.settings import Settings, environment

PROCESS = "api"


def watched_process(settings: Settings, keys: KeyStore) -> None:
    """Let this process log as the settings say, and trace where an endpoint is named."""
    own = keys.get("api", "token")
    secrets = [*secret_values(settings, keys), *([own] if own else [])]
    logs.configure(settings.logs.format, settings.logs.level, PROCESS, secrets)
    if tracing.start(environment(), PROCESS):
        let_carry(tracing.carry)
