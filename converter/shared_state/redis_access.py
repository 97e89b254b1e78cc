"""One way to Redis for everything that the processes share: scripts from package files, and quick to give up.

Redis is never waited for. A call that does not come through within the time limits raises `RedisAway`, and for a
moment afterwards every further call raises it at once, save one that tries again; the caller then goes on by its own
means. A script that runs twice, or not at all, does no lasting harm to anything that is kept there.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

TIMEOUT_SECONDS = 0.1  # to connect, and again for each answer: together below a quarter of a second
AWAY_SECONDS = 1.0

log = logging.getLogger(__name__)


class RedisAway(Exception):
    """Raised when Redis did not answer, or did not answer a moment ago."""


class RedisAccess:
    """Runs the scripts of this package. Shared by threads; one for each process.

    Without a URL there is no Redis at all, and every call raises RedisAway at once.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS, away: float = AWAY_SECONDS) -> None:
        self._client = _client(url, timeout) if url else None
        self._away = away
        self._next_try: float | None = None  # None while Redis answers
        self._lock = threading.Lock()

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """The reply of `scripts/<script>.lua`, run as one atomic step. Raises RedisAway."""
        if self._client is None:
            raise RedisAway("none is configured")
        self._let_one_try()
        try:
            reply = _evaluate(self._client, script, keys, arguments)
        except (RedisError, OSError) as error:
            self._note_away(error)
            raise RedisAway(type(error).__name__) from error
        if self._next_try is not None:
            log.warning("Redis answers again")
            self._next_try = None
        return reply

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _let_one_try(self) -> None:
        with self._lock:
            if self._next_try is None:
                return
            if time.monotonic() < self._next_try:
                raise RedisAway("it did not answer a moment ago")
            self._next_try = time.monotonic() + self._away

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            if self._next_try is None:
                # Only the kind of error: its text may name the server's address.
                log.warning("Redis is away (%s): every process goes on by itself", type(error).__name__)
            self._next_try = time.monotonic() + self._away


def _client(url: str, timeout: float) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # the library's own retries would multiply the time limit
        decode_responses=True,
    )


def _evaluate(client: redis.Redis, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
    text, digest = script_of(script)
    try:
        return client.evalsha(digest, len(keys), *keys, *arguments)
    except NoScriptError:
        return client.eval(text, len(keys), *keys, *arguments)  # which also makes Redis remember it


@functools.cache
def script_of(name: str) -> tuple[str, str]:
    """A script's text and the digest by which Redis knows it. A breaker's script stands behind their common part."""
    folder = importlib.resources.files(__package__).joinpath("scripts")
    parts = ["breaker_common", name] if name.startswith("breaker_") else [name]
    text = "\n".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in parts)
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
