"""The data folder (`CONVERTER_HOME`): the ledger, Redis' file, logs, and the note of what runs from it.

`run.json` is written by `converter up` when everything is ready and removed when it stops; only the owner may read it,
since it holds the password of Redis.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from converter.settings import Settings, load_settings

RUN_FILE = "run.json"


def write_run_file(home: Path, facts: dict[str, Any]) -> None:
    """Note what runs, atomically, readable by the owner only."""
    fresh = home / f".{RUN_FILE}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file)
    fresh.replace(home / RUN_FILE)


def remove_run_file(home: Path) -> None:
    """Forget what ran."""
    (home / RUN_FILE).unlink(missing_ok=True)


def read_run_file(home: Path) -> dict[str, Any] | None:
    """What runs from this folder, or None when nothing does."""
    try:
        facts: dict[str, Any] = json.loads((home / RUN_FILE).read_text())
        os.kill(int(facts["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return facts


def running_settings(overrides: dict[str, Any] | None = None) -> Settings:
    """The settings, with the addresses of what runs from the same home filled in where none are configured."""
    given = dict(overrides or {})
    settings = load_settings(**given)
    facts = read_run_file(settings.home)
    if facts is None:
        return settings
    if facts.get("config") and not os.environ.get("CONVERTER_CONFIG"):
        settings = load_settings(config=Path(facts["config"]), **given)
    found = {"redis_url": settings.redis_url or facts["redis"], "ledger_url": settings.ledger_url or facts["ledger"]}
    return settings.model_copy(update=found)
