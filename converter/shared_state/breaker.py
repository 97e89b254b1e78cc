"""The breaker of one service and one class of operation (`quote` or `execute`), shared by all processes.

pybreaker's classes with the decisions taken elsewhere: `admit` and `report` are one step each, and nothing is held
between them. ::

    admission = breaker.admit()
    if admission.permit is None:
        raise BreakerRefused(...)                 # before anything is sent; admission.retry_after says how long
    ...                                           # the call; its result or error passes unchanged
    transition = breaker.report(admission.permit, Verdict.GOOD, elapsed)

A transition is told to the one caller whose step made it, so that one event is written and not one per process. There
are no listeners: a process may die between the step and the listener.

`calling()`, `call()` and the decorator do the same around a block. They raise one error of their own, CircuitRefused,
and only before the block.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import pybreaker

from converter.domain.breaker_rules import BreakerRules
from converter.domain.breakers import BreakerState, Verdict, verdict_of
from converter.domain.permits import Admission, Permit, Snapshot, Transition
from converter.shared_state.breaker_storage import SharedStorage
from converter.shared_state.local_breaker import steady_now
from converter.shared_state.redis_access import RedisAccess

T = TypeVar("T")


class CircuitRefused(pybreaker.CircuitBreakerError):
    """Raised when the breaker refuses a call, before it began. Nothing was sent."""

    def __init__(self, name: str, retry_after: timedelta | None) -> None:
        self.retry_after = retry_after
        super().__init__(f"{name} is open" + ("" if retry_after is None else f", next try in {retry_after}"))


class SharedBreaker(pybreaker.CircuitBreaker):
    """A breaker that all processes share. Safe for threads; no lock is held during a call."""

    def __init__(
        self,
        access: RedisAccess,
        service_id: str,
        operation: str,
        rules: BreakerRules,
        clock: Callable[[], int] = steady_now,
    ) -> None:
        """Connects to nothing yet. Without Redis it is a breaker of this process alone, by `clock` in milliseconds."""
        name = f"{service_id}:{operation}"
        super().__init__(
            fail_max=rules.max_failures,
            reset_timeout=rules.open_for.total_seconds(),
            success_threshold=rules.successes,
            name=name,
            throw_new_error_on_trip=False,
        )
        # Not handed to the constructor above, which would read it: no process waits for Redis in order to start.
        self._storage = self._state_storage = SharedStorage(access, name, rules, clock=clock)
        self._slow_after = rules.slow_after

    def admit(self, *, may_probe: bool = True) -> Admission:
        """Ask for a permit. One who may not probe is refused by a breaker that is not closed."""
        return self._storage.admit(may_probe=may_probe)

    def report(self, permit: Permit, verdict: Verdict, elapsed: timedelta) -> Transition | None:
        """Hand the permit back with the call's end. The change of state, if this step made one."""
        slow = verdict is Verdict.GOOD and elapsed > self._slow_after
        return self._storage.report(permit, Verdict.SLOW if slow else verdict)

    def move(self, target: BreakerState) -> Transition | None:
        """Put it into a state by hand. Forced-open refuses every call until `release`, which alone ends it."""
        return self._storage.move(target)

    def release(self) -> Transition | None:
        """End an isolation: closed, and counting from nothing. Any other state stays."""
        return self._storage.release()

    def snapshot(self) -> Snapshot:
        """How it stands."""
        return self._storage.look()

    # --- pybreaker's own ways in ---

    def call(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `func` if the breaker lets it through."""
        with self.calling():
            return func(*args, **kwargs)

    @contextlib.contextmanager
    def calling(self) -> Iterator[Passage]:
        """Around a call; the passage's `transitions` hold what this call changed. Raises CircuitRefused."""
        with Passage(self) as passage:
            yield passage

    def call_async(self, func: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Not offered: pybreaker's own would hold its lock during the call."""
        raise NotImplementedError("use admit and report around a coroutine")

    def add_listener(self, listener: Any) -> NoReturn:
        """Not offered: a transition is told to the caller who made it."""
        raise NotImplementedError("admit, report and the passage of calling() tell the transitions")

    def open(self) -> bool:
        """Open it now, for as long as a failure would."""
        self._storage.move(BreakerState.OPEN)
        return False


class Passage:
    """One call under a breaker, as a context manager. The call's error passes unchanged."""

    def __init__(self, breaker: SharedBreaker) -> None:
        self.transitions: list[Transition] = []
        self._breaker = breaker
        self._permit: Permit | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        """Ask for a permit. Raises CircuitRefused."""
        admission = self._breaker.admit()
        if admission.permit is None:
            raise CircuitRefused(str(self._breaker.name), admission.retry_after)
        self._note(admission.transition)
        self._permit = admission.permit
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Report how it ended."""
        elapsed = timedelta(seconds=time.monotonic() - self._began)
        verdict = Verdict.GOOD
        if error is not None:
            verdict = verdict_of(error)
        if self._permit is not None:
            self._note(self._breaker.report(self._permit, verdict, elapsed))

    def _note(self, transition: Transition | None) -> None:
        if transition is not None:
            self.transitions.append(transition)
