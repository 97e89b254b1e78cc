"""Strikes the running system by a plan that the seed decides: what, in which order, how long after the one before.

Not decided by the seed: which work the processes have in hand at that moment, and how fast the machine is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import redis as redis_client
from redis.exceptions import RedisError

from converter.local.chaos.faults import down, faults_of
from converter.local.chaos.outside import Outside
from converter.local.chaos.profiles import Blow, Profile, Strike
from converter.local.processes import Child
from converter.local.stack import Stack

_FIRST = (0.1, 0.5)
"""The first blow of each kind falls when this share of the conversions was accepted, the next ones by time: so a short
drill meets the kill of a worker too."""

_MOVES = ("-0.025", "-0.015", "0.015", "0.025")
"""Shares by which a price moves: on both sides of what may be lost between choosing and executing."""


@dataclass
class _Plan:
    strike: Strike
    chance: Random
    first_at: float
    due: float | None = None


@dataclass
class Nemesis:
    """Acts when it is told the time; keeps count of what it did in `done`.

    `act` has to be called from the thread that started the stack: what it starts again follows that thread.
    """

    stack: Stack
    outside: Outside
    profile: Profile
    seed: int
    lease: float
    done: Counter[Blow] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._operations = self.outside.operations()
        self._plans = [self._plan(strike) for strike in self.profile.strikes]
        self._undo: list[tuple[float, Callable[[], str]]] = []
        self._down: str | None = None
        self._blows: dict[Blow, Callable[[Random, float], str]] = {
            Blow.KILL: self._kill,
            Blow.KILL_BEAT: self._kill_beat,
            Blow.PAUSE: self._pause,
            Blow.FLUSH: self._flush,
            Blow.REDIS: self._stop_redis,
            Blow.OUTAGE: self._take_down,
            Blow.PRICE: self._move_price,
        }

    def begin(self) -> None:
        """Set the faults of the profile on everything outside."""
        for name, operations in self._operations.items():
            self.outside.strike(name, faults_of(self.profile, operations))

    def act(self, now: float, accepted: float) -> list[str]:
        """Do what is due, given the clock in seconds and the share of conversions accepted; says what was done."""
        said = self._undo_due(now)
        for plan in self._plans:
            if plan.due is None and accepted >= plan.first_at:
                plan.due = now
            if plan.due is None or now < plan.due:
                continue
            plan.due = now + plan.strike.every * plan.chance.uniform(0.7, 1.3)
            lasts = plan.chance.uniform(*plan.strike.lasts)
            said.append(self._blows[plan.strike.blow](plan.chance, now + lasts))
        return [line for line in said if line]

    def end(self) -> int:
        """Take everything back at once: paused workers go on, Redis runs, no faults. How many faults had struck."""
        self._undo_due(float("inf"))
        struck = self.outside.struck()
        self.outside.calm()
        return struck

    def _plan(self, strike: Strike) -> _Plan:
        chance = Random(f"{self.seed} {strike.blow}")
        return _Plan(strike, chance, chance.uniform(*_FIRST))

    def _undo_due(self, now: float) -> list[str]:
        due = [one for one in self._undo if one[0] <= now]
        self._undo = [one for one in self._undo if one[0] > now]
        return [undo() for _, undo in due]

    def _kill(self, chance: Random, _until: float) -> str:
        worker = chance.choice(self.stack.workers)
        return self._killed(Blow.KILL, worker)

    def _kill_beat(self, _chance: Random, _until: float) -> str:
        return self._killed(Blow.KILL_BEAT, self.stack.beat)

    def _killed(self, blow: Blow, child: Child) -> str:
        if not child.is_alive:
            return ""
        child.kill()
        self.done[blow] += 1
        return f"{child.name} killed (kill -9)"

    def _pause(self, chance: Random, until: float) -> str:
        worker = chance.choice(self.stack.workers)
        pid = worker.pid
        if not worker.is_alive or pid is None:
            return ""
        os.kill(pid, signal.SIGSTOP)
        self.done[Blow.PAUSE] += 1

        def go_on() -> str:
            if worker.pid != pid or not worker.is_alive:  # killed meanwhile, and started again
                return ""
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            return f"{worker.name} goes on"

        self._undo.append((until + self.lease, go_on))
        return f"{worker.name} stopped (SIGSTOP) for longer than its lease"

    def _flush(self, _chance: Random, _until: float) -> str:
        server = self.stack.redis
        if server is None or not self._redis_runs():
            return ""
        try:
            with redis_client.Redis.from_url(server.url, socket_timeout=2, socket_connect_timeout=2) as client:
                client.flushall()
        except RedisError as error:
            return f"Redis could not be emptied: {type(error).__name__}"
        self.done[Blow.FLUSH] += 1
        return "Redis emptied (FLUSHALL)"

    def _redis_runs(self) -> bool:
        return self.stack.redis is not None and self.stack.redis.pid is not None

    def _stop_redis(self, _chance: Random, until: float) -> str:
        server = self.stack.redis
        if server is None or not self._redis_runs():
            return ""
        server.stop()
        self.done[Blow.REDIS] += 1

        def start() -> str:
            server.restart()
            return "Redis runs again"

        self._undo.append((until, start))
        return "Redis stopped"

    def _take_down(self, chance: Random, until: float) -> str:
        name = chance.choice(sorted(self._operations))
        if self._down is not None:
            return ""
        self.outside.strike(name, down())
        self._down = name
        self.done[Blow.OUTAGE] += 1

        def bring_back() -> str:
            self._down = None
            self.outside.strike(name, faults_of(self.profile, self._operations[name]))
            return f"{name} is back"

        self._undo.append((until, bring_back))
        return f"{name} is down"

    def _move_price(self, chance: Random, _until: float) -> str:
        prices = self.outside.prices()
        coin = chance.choice(sorted(coin for coin, price in prices.items() if price != 1))
        move = Decimal(chance.choice(_MOVES))
        self.outside.set_price(coin, prices[coin] * (1 + move))
        self.done[Blow.PRICE] += 1
        return f"{coin} moves by {move:+.1%}"
