"""The sweep, which re-enqueues whatever stands still, and the audit."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from converter.domain.breaches import Breach
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


@app.task(name="ledger.audit")
def audit() -> None:
    """Look whether what must always hold does, and tell what does not."""
    found = runtime().engine.auditing.run()
    for breach in found.breaches:
        # Amounts may be in its detail, which the event and `converter audit` tell.
        log.error("the audit found a breach of %s", breach.invariant, extra=_of(breach))


def _of(breach: Breach) -> dict[str, str]:
    return {} if breach.conversion_id is None else {"conversionId": breach.conversion_id}


def _send(errand: Errand) -> bool:
    if errand.task is not None:
        return runtime().sender.send(errand.task, errand.conversion_id)
    try:
        choose_and_execute(errand.conversion_id, errand.round).apply_async()
    except (OperationalError, RedisError, OSError):
        log.warning("broker away, the next sweep will find %s", errand.conversion_id)
        return False
    return True
