"""One long drill: conversions under way while the nemesis strikes; then quiet, the end of all, and the comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from converter.domain.conversions import Conversion, State
from converter.enqueue import TaskSender
from converter.ledger.repository import open_ledger
from converter.local.chaos.findings import Course, find
from converter.local.chaos.nemesis import Nemesis
from converter.local.chaos.outside import Outside
from converter.local.chaos.profiles import Profile
from converter.local.chaos.report import Report
from converter.local.chaos.wishing import Pool, Wish, wishes
from converter.local.stack import Stack
from converter.sandbox.clients import calling_back, plenty, saving

Tell = Callable[[str], None]

HINTS = ("conversions.start", "conversions.execute", "conversions.settle")
OPEN = tuple(state for state in State if not state.is_terminal and state is not State.NEEDS_REVIEW)
_LOOK, _WATCH, _LINGER = 0.3, 0.5, 60.0
_SAVED = 100
"""Addresses that the pool saved beforehand where a service pays to saved ones only."""

_WAITS = timedelta(seconds=20)
_MOST_OPEN = 10
"""Times `under_way`: how many may be open when many wait for a proof."""


@dataclass(frozen=True)
class Task:
    """What is to be done. `under_way`: how many conversions are kept busy at once; `patience`: seconds from the last
    fault within which everything must have ended or be parked; `lease`: of the engine, in seconds."""

    profile: Profile
    conversions: int
    seed: int
    under_way: int
    lease: float
    patience: float = 600.0


class Trial:
    """Runs a task on a stack that was started from this thread."""

    def __init__(self, stack: Stack, task: Task, tell: Tell) -> None:
        self._stack = stack
        self._task = task
        self._tell = tell
        self._chance = Random(f"{task.seed} hints")
        self._ledger = open_ledger(stack.ledger_url)
        self._sender = TaskSender(stack.redis.url if stack.redis is not None else "")
        self._outside = Outside(stack.sandbox_url or "")
        self._nemesis = Nemesis(stack, self._outside, task.profile, task.seed, task.lease)
        self._accepted: list[str] = []
        self._hints = 0
        self._next_watch = 0.0
        self._open: list[Conversion] = []

    def run(self) -> Report:
        """Convert under fire, end the faults, wait for the end of all, compare."""
        pool = Pool(self._stack.home)
        try:
            wanted = wishes(self._task.seed, self._task.conversions, pool.tiers)
            self._prepare(wanted)
            began = time.monotonic()
            self._nemesis.begin()
            try:
                self._feed(pool, wanted)
            finally:
                struck = self._nemesis.end()
            quiet_at = self._ledger.now()
            under_fire = time.monotonic() - began
            self._tell(f"all {len(self._accepted)} accepted, the faults are over; {len(self._look())} are open")
            self._drain()
            course = Course(
                self._task.profile,
                self._task.seed,
                under_fire=under_fire,
                seconds=time.monotonic() - began,
                quiet_at=quiet_at,
                faults_struck=struck,
                strikes={str(blow): count for blow, count in sorted(self._nemesis.done.items())},
                hints=self._hints,
                repeated=pool.repeated,
                settings=dict(self._settings()),
            )
            return find(self._ledger, self._outside, pool.stats(), course)
        finally:
            pool.close()
            self._sender.close()
            self._ledger.close()

    def _settings(self) -> dict[str, str]:
        """What was set over the default configuration, for the report."""
        own = {name: text for name, text in self._stack.environment.items() if name.startswith("CONVERTER_ENGINE__")}
        return {**own, "workers": str(len(self._stack.workers)), "under_way": str(self._task.under_way)}

    def _prepare(self, wanted: Sequence[Wish]) -> None:
        """Set up the pool's accounts outside."""
        addresses = [one.address for one in wanted if one.to_coin == "BTC"]
        accounts = [plenty(), saving(addresses[:: 1 + len(addresses) // _SAVED])]
        if self._stack.api_url is not None:
            accounts.append(calling_back(self._stack.api_url))
        for settings in accounts:
            for service_id, one in settings.items():
                self._outside.configure(service_id, one)

    def _feed(self, pool: Pool, wanted: Sequence[Wish]) -> None:
        """Keep so many under way until all were accepted; after each acceptance the nemesis has its turn."""
        room = self._task.under_way
        for wish in wanted:
            while room <= 0:
                time.sleep(_LOOK)
                self._turn()
                room = self._room()
            while (handle := pool.convert(wish)) is None:
                self._turn()
            self._accepted.append(handle.id)
            room -= 1
            self._double_hints()
            self._turn()
            if len(self._accepted) % 250 == 0:
                self._tell(f"{len(self._accepted)} accepted, {len(self._open)} open")
        self._linger()

    def _linger(self) -> None:
        """A short drill accepts faster than it converts: the faults go on until most of it is done, for a while."""
        end = time.monotonic() + _LINGER
        while len(self._look()) > self._task.conversions // 4 and time.monotonic() < end:
            self._turn()
            time.sleep(_LOOK)

    def _room(self) -> int:
        """How many more may be accepted now. One that has waited long waits for a proof or for a chain, and is no work
        for anybody."""
        now = self._ledger.now()
        busy = sum(now - one.created_at < _WAITS for one in self._look())
        return min(self._task.under_way - busy, self._task.under_way * _MOST_OPEN - len(self._open))

    def _look(self) -> list[Conversion]:
        """What is neither ended nor parked."""
        with self._ledger.begin() as work:
            self._open = work.conversions.page(states=OPEN, limit=self._task.conversions)
        return self._open

    def _turn(self) -> None:
        """The nemesis acts, and the stack is watched over as `converter up` does."""
        now = time.monotonic()
        said = self._nemesis.act(now, len(self._accepted) / self._task.conversions)
        if now >= self._next_watch:
            said += self._stack.watch()
            self._next_watch = now + _WATCH
        for line in said:
            self._tell(line)

    def _double_hints(self) -> None:
        """Hints that nobody asked for, for conversions that live: what a redelivery or a late message is."""
        if self._chance.random() >= self._task.profile.hints_doubled or not self._open:
            return
        for hint in HINTS:
            self._hints += self._sender.send(hint, self._chance.choice(self._open).id)

    def _drain(self) -> None:
        """Wait until nothing is open, or the patience is over."""
        end = time.monotonic() + self._task.patience
        while self._look() and time.monotonic() < end:
            for line in self._stack.watch():
                self._tell(line)
            time.sleep(_WATCH)
