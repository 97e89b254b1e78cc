"""Threads for what blocks, in lanes: so many at the same time of one kind, so that a flood of one starves no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

from converter.api.problems import Problem

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a request waits for its turn. After that it is refused, and nothing was done."""


class Lane:
    """`at_once`: how many run at the same time, on threads of their own. `patience`: seconds to wait for a turn."""

    def __init__(self, at_once: int, patience: float = PATIENCE) -> None:
        self._turns = CapacityLimiter(at_once)
        self._patience = patience

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises Problem (503) when its turn does not come in time."""
        turn = object()
        try:
            with fail_after(self._patience):
                await self._turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            detail = "too many requests of this kind are in hand; nothing was done"
            raise Problem(503, "Busy", detail, {"Retry-After": "1"}) from None
        try:
            return await to_thread.run_sync(work, limiter=CapacityLimiter(1))
        finally:
            self._turns.release_on_behalf_of(turn)
