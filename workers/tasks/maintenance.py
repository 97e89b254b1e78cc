"""The sweep: re-enqueues whatever stands still."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from converter.sweeping import Errand
from workers.app import app
from workers.canvas import choose_and_execute
from workers.pulse import beat_pulse
from workers.runtime import runtime

log = logging.getLogger(__name__)


@app.task(name="conversions.sweep")
def sweep() -> None:
    """Send a hint for every conversion whose due time has come."""
    for errand in runtime().engine.sweeping.due():
        if not _send(errand):
            break
    beat_pulse()


def _send(errand: Errand) -> bool:
    if errand.task is not None:
        return runtime().sender.send(errand.task, errand.conversion_id)
    try:
        choose_and_execute(errand.conversion_id, errand.round).apply_async()
    except (OperationalError, RedisError, OSError):
        log.warning("broker away, the next sweep will find %s", errand.conversion_id)
        return False
    return True
