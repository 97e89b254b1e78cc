"""Deletes what went out long ago, in small steps: each transaction is short, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from converter.following import PRUNED
from converter.ports import Deadline, Ledger

_STEP = 1000
_RUN = 5.0
"""Seconds after which no further step is begun."""


class Pruning:
    """The use-case behind `events.prune`. `receivers`: those that are configured."""

    def __init__(self, ledger: Ledger, keep: timedelta, receivers: Sequence[str] = ()) -> None:
        self._ledger = ledger
        self._keep = keep
        self._receivers = tuple(receivers)

    def run(self) -> int:
        """Delete for some seconds; returns up to where events were looked at. What a follower or a receiver still
        needs is kept twice as long, the ends of conversions for good."""
        end = Deadline.after(_RUN)
        before, reached = -1, self._step()
        while reached > before and not end.expired:
            before, reached = reached, self._step()
        while not end.expired and self._ended():
            pass
        return reached

    def _step(self) -> int:
        with self._ledger.begin() as work:
            start = work.followers.take(PRUNED, 0)
            if start is None:
                return 0
            now, last = work.now(), work.outbox.last()
            needed = [work.followers.slowest(now - 2 * self._keep, (PRUNED,)), last]
            first = work.deliveries.first_needed(self._receivers)
            needed.append(None if first is None else first - 1)
            free = min(one for one in needed if one is not None)
            reached = work.outbox.prune(start, min(free, start + _STEP), now - self._keep)
            if reached < start + _STEP:  # what is needed goes as well when it is twice as old
                reached = work.outbox.prune(reached, min(last, start + _STEP), now - 2 * self._keep)
            work.followers.move(PRUNED, reached)
        return reached

    def _ended(self) -> bool:
        """Deliveries and alerts that ended long ago; whether there were any."""
        with self._ledger.begin() as work:
            horizon = work.now() - self._keep
            ended = work.deliveries.prune(horizon, _STEP, self._receivers)
            return bool(ended + work.alerts.prune(horizon, _STEP))
