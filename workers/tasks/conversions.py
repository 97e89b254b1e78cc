"""Starting, executing and settling a conversion."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from workers.app import app
from workers.canvas import ask_and_execute
from workers.runtime import runtime

log = logging.getLogger(__name__)


@app.task(name="conversions.start")
def start(conversion_id: str) -> None:
    """Open a round of asking."""
    plan = runtime().engine.planning.start(conversion_id)
    if plan is None:
        return
    try:
        ask_and_execute(plan).apply_async()
    except (OperationalError, RedisError, OSError):
        log.warning("broker away, the sweep will repeat the round of %s", conversion_id)


@app.task(name="conversions.execute")
def execute(conversion_id: str) -> None:
    """Attempt what was chosen. Moves money."""
    process = runtime()
    following = process.engine.execution.execute(conversion_id)
    if following is not None:
        process.sender.send(following, conversion_id)


@app.task(name="conversions.settle")
def settle(conversion_id: str) -> None:
    """Look at what is under way and take it further. May move money."""
    process = runtime()
    following = process.engine.settlement.settle(conversion_id)
    if following is not None:
        process.sender.send(following, conversion_id)
