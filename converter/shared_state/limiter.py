"""Rate limits shared by all processes.

One number in Redis for each scope, moved by one script on Redis' clock; the rule is that of `converter.domain.limits`.
A refusal is no failure of the service: a quote is left out of its round, an execution waits before its attempt exists.
While Redis is away each process keeps to its own part of every limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from converter.domain import limits as rules
from converter.domain.limits import SECOND, Admission, Limits, Scope
from converter.shared_state.redis_access import RedisAccess, RedisAway

LONGEST_HOLD = 3 * 86_400.0
"""Seconds. The longest ban that a service documents; what asks for more is heard again when it ends."""


class Limiter:
    """Admits calls and holds services. Never raises for want of Redis. Shared by threads.

    `processes` is how many share the limits: the part of each while Redis is away.
    """

    def __init__(
        self, access: RedisAccess, limits: Limits, *, processes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._access = access
        self._limits = limits
        self._processes = processes
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        self._holds: dict[str, int] = {}
        self._lock = threading.Lock()

    def admit(self, service_id: str, operation: str) -> Admission:
        """Ask for one call and count it if it may go out, in every scope or in none."""
        return self._decide(service_id, operation, counted=True)

    def look(self, service_id: str, operation: str) -> Admission:
        """Whether a call could go out now. Counts nothing."""
        return self._decide(service_id, operation, counted=False)

    def hold(self, service_id: str, seconds: float) -> None:
        """Let nothing go to the service for so long (its Retry-After, its ban). Never shortens an earlier hold."""
        micros = int(min(max(seconds, 0.0), LONGEST_HOLD) * SECOND)
        scope = self._limits.whole(service_id)
        with self._lock:  # kept here as well, for a time without Redis
            until = self._now() + micros
            self._holds[service_id] = max(self._holds.get(service_id, 0), until)
            self._arrivals = rules.held(self._arrivals, scope.divided(self._processes), until)
        keys = [_hold_key(service_id), _key(scope)]
        try:
            self._access.run("limiter_hold", keys, [micros, scope.interval, scope.tolerance])
        except RedisAway:
            return

    def _decide(self, service_id: str, operation: str, *, counted: bool) -> Admission:
        scopes = self._limits.scopes(service_id, operation)
        keys = [_hold_key(service_id), *(_key(scope) for scope in scopes)]
        figures = [figure for scope in scopes for figure in (scope.step, scope.tolerance)]
        try:
            wait, place, now = self._access.run("limiter_admit", keys, [int(counted), *figures])
        except RedisAway:
            return self._decide_here(service_id, scopes, counted=counted)
        if not wait:
            return Admission(True, at=now)
        return Admission(False, rules.HELD if place == 1 else scopes[place - 2].name, wait / SECOND, now)

    def _decide_here(self, service_id: str, scopes: tuple[Scope, ...], *, counted: bool) -> Admission:
        parts = [scope.divided(self._processes) for scope in scopes]
        with self._lock:
            held_until = self._holds.get(service_id, 0)
            admission, after = rules.admit(self._arrivals, parts, held_until, self._now())
            if counted:
                self._arrivals = after
        return admission

    def _now(self) -> int:
        return int(self._clock() * SECOND)


def _key(scope: Scope) -> str:
    return f"converter:limit:{scope.name}"


def _hold_key(service_id: str) -> str:
    return f"converter:limit:hold:{service_id}"
