"""What strikes two regions: cables cut in silence, workers killed, workers stopped for longer than their lease.

The whole plan follows from a seed; faults overlap as they will.
"""

from __future__ import annotations

import heapq
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.partitions.regions import LEASE, REGIONS, Regions, stamp

_SHORT, _LONG = (0.3, 3.5), (4.0, 20.0)
_LONG_SHARE = {"cut ledger": 0.2, "cut outside": 0.45, "cut ledger from all": 0.2}
"""TCP mends a short cut by itself: only one that outlasts a call's deadline leaves an outcome unknown."""

_KINDS = {"cut ledger": 6, "cut outside": 6, "cut ledger from all": 2, "kill": 2, "stop": 1}
_MEAN_PAUSE = 1.5


@dataclass(frozen=True)
class Fault:
    """What happens, where, when (seconds from the beginning) and for how long."""

    kind: str
    region: str
    at: float
    lasts: float


def plan(seed: int, seconds: float) -> list[Fault]:
    """Faults that all end within this time."""
    chance = Random(f"nemesis {seed}")
    faults: list[Fault] = []
    at = 2.0
    while at < seconds:
        [kind] = chance.choices(list(_KINDS), list(_KINDS.values()))
        low, high = _LONG if chance.random() < _LONG_SHARE.get(kind, 0.0) else _SHORT
        lasts = chance.uniform(low, high)
        if kind == "stop":
            lasts = LEASE + chance.uniform(1, 4)
        if kind == "kill":
            lasts = 0.0
        faults.append(Fault(kind, chance.choice(REGIONS), at, min(lasts, max(0.3, seconds - at))))
        at += chance.expovariate(1 / _MEAN_PAUSE)
    return faults


def profile(faults: list[Fault]) -> dict[str, int]:
    """How many of each."""
    return dict(Counter(fault.kind for fault in faults))


class Nemesis:
    """Plays a plan on running regions."""

    def __init__(self, regions: Regions, faults: list[Fault]) -> None:
        self._regions = regions
        self._faults = faults

    def play(self) -> None:
        """Strike and lift in time, watching over the regions meanwhile; returns when the last fault is over."""
        number = itertools.count()
        due: list[tuple[float, int, Callable[[], None]]] = []
        for fault in self._faults:
            strike, lift = self._acts(fault)
            heapq.heappush(due, (fault.at, next(number), strike))
            heapq.heappush(due, (fault.at + fault.lasts, next(number), lift))
        began, watched = time.monotonic(), 0.0
        while due:
            now = time.monotonic() - began
            if now >= due[0][0]:
                heapq.heappop(due)[2]()
            elif now - watched > 0.5:
                self._regions.watch()
                watched = now
            else:
                time.sleep(min(0.1, due[0][0] - now))

    def _acts(self, fault: Fault) -> tuple[Callable[[], None], Callable[[], None]]:
        region = self._regions.regions[fault.region]
        if fault.kind == "kill":
            return region.stack.workers[0].kill, lambda: None
        if fault.kind == "stop":
            began: list[float] = []

            def stop() -> None:
                began.append(stamp())
                region.signal_worker(signal.SIGSTOP)

            def go_on() -> None:
                region.signal_worker(signal.SIGCONT)
                region.stopped.append((began[0], stamp()))

            return stop, go_on
        names = {
            "cut ledger": [f"{fault.region}-ledger"],
            "cut outside": [f"{fault.region}-outside"],
            "cut ledger from all": [f"{name}-ledger" for name in REGIONS],
        }[fault.kind]
        cables = [self._regions.net.cables[name] for name in names]
        return lambda: [one.cut() for one in cables] and None, lambda: [one.heal() for one in cables] and None
