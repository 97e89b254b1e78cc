"""A sign of life: who watches the workers sees from it that beat sends and a worker takes."""

from __future__ import annotations

import logging
import time
from functools import cache

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from converter.enqueue import PULSE_KEY
from workers.runtime import runtime

log = logging.getLogger(__name__)


@cache
def _client(redis_url: str) -> Redis:
    # Its own client without retries: redis-py's default of ten would hold the sweep up while Redis is away.
    return Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))


def beat_pulse() -> None:
    """Note that a sweep ran; a Redis that is away is no reason to fail."""
    redis_url = runtime().engine.settings.redis_url
    if not redis_url:
        return
    try:
        _client(redis_url).set(PULSE_KEY, int(time.time() * 1000), ex=600)
    except RedisError as error:
        log.warning("no pulse: %s", type(error).__name__)
