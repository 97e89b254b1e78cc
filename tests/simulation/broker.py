"""Hints, as a broker and a beat bring them: late, twice, or never. Each delivery is a task of some worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import greenlet

from converter.desk import Next
from converter.planning import Plan
from tests.builders import START
from tests.fakes import Crash
from tests.simulation.schedule import MICRO

if TYPE_CHECKING:
    from tests.simulation.world import Office, World

Task = Callable[["Office"], None]

_TICK, _CHECK = MICRO, 10 * MICRO


class Chord:
    """Queries of one round; the last that ends lets the choice begin."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.left = set(plan.groups)


class Broker:
    """Delivers hints to the workers of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._random = world.chance.random
        self._ticks = False
        self._checks = _CHECK
        self._redis_dies = self._next_loss(0)

    def accepted(self, cid: str) -> None:
        """A conversion has come in."""
        self.hint(Next.START, cid)
        self.tick()

    def tick(self) -> None:
        """Let beat tick, if it has stopped."""
        if not self._ticks:
            self._ticks = True
            self._scheduler.at(self._scheduler.now + _TICK, self._tick)

    def hint(self, task: Next | None, cid: str) -> None:
        """Send what a use-case asked for."""
        if task is Next.START:
            self._send(cid, partial(self._start, cid))
        elif task is Next.EXECUTE:
            self._send(cid, partial(self._execute, cid))
        elif task is Next.SETTLE:
            self._send(cid, partial(self._settle, cid))

    # Delivering

    def _send(self, cid: str, task: Task) -> None:
        faults, drawn = self._world.faults, self._random()
        soon = self._scheduler.now + 2_000 + int(self._random() * 60_000)
        if drawn < faults.never:
            return
        self._deliver(soon, cid, task)
        if drawn < faults.never + faults.twice:
            later = self._random() * (300 if self._random() < 0.2 else 3)
            self._deliver(soon + int(later * MICRO), cid, task)

    def _deliver(self, moment: int, cid: str, task: Task) -> None:
        self._scheduler.spawn(moment, partial(self._run, cid, task))

    def _run(self, cid: str, task: Task) -> None:
        """A task from its begin to its end, or to the death of its process."""
        world = self._world
        office = world.take_office()
        me = greenlet.getcurrent()
        world.at_work[me] = office.owner, cid
        try:
            task(office)
        except Crash:
            if self._random() < 0.5:  # the broker notices, some time later
                self._deliver(self._scheduler.now + int((1 + self._random() * 60) * MICRO), cid, task)
            office.bulletin._notes.clear()  # a new process under the old name
        except Exception as error:  # noqa: BLE001  whatever nobody foresaw is a finding
            world.observed[cid or "a task"] = f"broken: {type(error).__name__}: {error}"
            world.note("", f"BREAKS: {type(error).__name__}: {error}")
        world.idle.append(office)
        del world.at_work[me]
        if cid:
            world.watch(cid)

    # Tasks

    def _start(self, cid: str, office: Office) -> None:
        plan = office.planning.start(cid)
        if plan is None:
            return
        chord = Chord(plan)
        for group in plan.groups:
            self._send(cid, partial(self._query, chord, group))

    def _query(self, chord: Chord, group: tuple[str, ...], office: Office) -> None:
        plan = chord.plan
        office.quoting.ask(plan.conversion_id, plan.round, group)
        if group in chord.left:
            chord.left.remove(group)
            if not chord.left:
                self._send(plan.conversion_id, partial(self._select, plan.conversion_id, plan.round))

    def _select(self, cid: str, asked_round: int, office: Office) -> None:
        self.hint(office.selecting.select(cid, asked_round), cid)

    def _execute(self, cid: str, office: Office) -> None:
        self.hint(office.execution.execute(cid), cid)

    def _settle(self, cid: str, office: Office) -> None:
        self.hint(office.settlement.settle(cid), cid)

    # Beat

    def _tick(self) -> None:
        """Each second while something is unfinished; a time in which nothing at all happens passes at once."""
        world, now, entries = self._world, self._scheduler.now, self._world.ledger.store.due.entries
        if not world.unfinished:
            self._ticks = False
            return
        if now >= self._redis_dies:
            world.forget()
            self._redis_dies = self._next_loss(now)
        if now >= self._checks:
            self._checks = now + _CHECK
            for name in world.services:
                if not world.breakers[name]["quote"].is_closed or not world.breakers[name]["execute"].is_closed:
                    self._deliver(now, "", partial(self._check, name))
        due = _micros(entries[0][0]) if entries else None
        if due is not None and due <= now:
            self._deliver(now, "", self._sweep)
        pause = _TICK
        coming = self._scheduler.next_event
        if due is not None and due > now + _TICK and (coming is None or coming > now + _TICK):
            pause = (due if coming is None else min(due, coming)) - now
        if due is not None or coming is not None:
            self._scheduler.at(now + pause, self._tick)

    def _sweep(self, office: Office) -> None:
        for errand in office.sweeping.due():
            if errand.task is None:
                self._send(errand.conversion_id, partial(self._select, errand.conversion_id, errand.round))
            else:
                self.hint(errand.task, errand.conversion_id)

    @staticmethod
    def _check(name: str, office: Office) -> None:
        office.checking.check(name)

    def _next_loss(self, now: int) -> int:
        lives = self._world.setup.profile.redis_lives
        return now + int(self._random() * 2 * lives * MICRO) if lives else 1 << 60


def _micros(moment: datetime) -> int:
    return (moment - START) // timedelta(microseconds=1)
