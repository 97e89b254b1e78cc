"""Health checks: one task for each service, so that one that hangs delays no other."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from converter.domain.health import EVERY
from workers.app import app
from workers.runtime import runtime

log = logging.getLogger(__name__)


@app.task(name="services.check_all")
def check_all() -> None:
    """Send a check for every service. One that was not taken before the next is due is worthless."""
    for service_id in runtime().engine.checking.services:
        try:
            check.apply_async(args=(service_id,), expires=EVERY.total_seconds())
        except (OperationalError, RedisError, OSError):
            log.warning("broker away, the next tick will check the services")
            return


@app.task(name="services.check")
def check(service_id: str) -> None:
    """Check one service, and let it recover."""
    runtime().engine.checking.check(service_id)
