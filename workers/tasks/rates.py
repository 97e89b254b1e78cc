"""Asking services and choosing among their quotes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from converter.desk import Next
from workers.app import app
from workers.failing import failed
from workers.runtime import runtime

log = logging.getLogger(__name__)


@app.task(name="rates.query", ignore_result=False)
def query(conversion_id: str, asked_round: int, service_ids: Sequence[str]) -> dict[str, Any]:
    """Ask services under the deadline. Never raises: one broken answer must not cost the whole chord."""
    try:
        return runtime().engine.quoting.ask(conversion_id, asked_round, service_ids)
    except Exception as error:
        log.error("rates.query of %s failed", ",".join(service_ids), exc_info=failed(error))  # noqa: TRY400  no text
        return {"conversion": conversion_id, "round": asked_round, "error": "internal"}


@app.task(name="rates.shadow")
def shadow() -> None:
    """Ask the services in quarantine for show."""
    runtime().engine.shadowing.run()


@app.task(name="rates.keep")
def keep() -> None:
    """Keep what is remembered of rates in the ledger."""
    runtime().engine.keep_rates()


@app.task(name="rates.select", ignore_result=False)
def select(records: list[dict[str, Any]], conversion_id: str, asked_round: int) -> dict[str, Any]:
    """Choose from the quotes in the ledger; the records that came through the broker are for onlookers only."""
    process = runtime()
    following = process.engine.selecting.select(conversion_id, asked_round)
    if following is Next.START:  # execution follows in the chain
        process.sender.send(following, conversion_id)
    chosen = following is Next.EXECUTE
    return {"conversion": conversion_id, "round": asked_round, "answers": len(records), "chosen": chosen}
