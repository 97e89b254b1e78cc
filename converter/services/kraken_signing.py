"""Signing Kraken's private calls, with a nonce that grows over all threads and processes that share the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from converter.domain.errors import AuthenticationFailed
from converter.ports import Clock, Counter
from converter.services.base import Call, ServiceSettings, encode

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class _OwnCounter:
    """Counts for this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}

    def next(self, name: str, at_least: int) -> int:
        with self._lock:
            self._last[name] = max(self._last.get(name, 0) + 1, at_least)
            return self._last[name]


_OWN = _OwnCounter()


def signature(secret: bytes, path: str, nonce: str, body: bytes) -> str:
    """`API-Sign` of a call: over its path, its nonce and the very bytes of its body."""
    inner = hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(hmac.new(secret, path.encode() + inner, hashlib.sha512).digest()).decode()


class Signer:
    """Makes signed calls. The nonce is taken last, so that a call is not overtaken while it is put together."""

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._counter: Counter = settings.counter or _OWN

    def call(self, operation: str, method: str, params: Mapping[str, str]) -> Call:
        """A private call, ready to be sent at once. Raises AuthenticationFailed when our key cannot be one."""
        path, key = f"/0/private/{method}", self._settings.keys["api_key"]
        try:
            secret = base64.b64decode(self._settings.keys["private_key"], validate=True)
        except ValueError:
            secret = b""
        if not secret:
            raise AuthenticationFailed("kraken", operation, detail="the private key is not base64")
        name = f"kraken:{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        nonce = str(self._counter.next(name, (self._clock.now() - _EPOCH) // _MICROSECOND))
        body = encode({"nonce": nonce, **params}).encode()
        signed = {"API-Key": key, "API-Sign": signature(secret, path, nonce, body)}
        return Call(operation, "POST", path, "", {**signed, "Content-Type": "application/x-www-form-urlencoded"}, body)
