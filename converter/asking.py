"""Calls a service for a quote without being held up by it: answers that are too late still count, for the next time.

Each call runs on a thread of its own up to its last moment; who asked goes on after the service's own deadline. Several
who ask the same thing at the same moment share one call, where the answer binds nobody. At most so many calls of one
service are under way in this process: one that hangs cannot use up the threads of the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self

from converter.domain.errors import LimiterRefused, ServiceError
from converter.domain.quotes import Quote, QuoteRequest
from converter.guard import GuardedService
from converter.ports import Deadline

CALLS_PER_SERVICE = 8
_THREADS = 64
_KEPT = 1000


@dataclass(frozen=True)
class Answer:
    """How a call for a quote ended."""

    quote: Quote | None
    error: ServiceError | None
    elapsed_ms: int


@dataclass(frozen=True)
class Terms:
    """`patience`: until when the one who asks waits; `last`: when the call itself is given up; `share`: whether an
    answer that another was given a moment ago will do."""

    patience: Deadline
    last: Deadline
    share: bool


class Asking:
    """Shared by threads, one for each process. `fresh_for`: how old a shared answer may be; zero shares nothing."""

    def __init__(self, fresh_for: timedelta = timedelta(seconds=1), pool: Executor | None = None) -> None:
        self._fresh_for = fresh_for.total_seconds()
        self._pool = pool or ThreadPoolExecutor(_THREADS, "quote")
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}
        self._known: dict[tuple[str, QuoteRequest], tuple[float, Future[Answer]]] = {}

    def ask(self, guard: GuardedService, request: QuoteRequest, terms: Terms) -> Answer | Future[Answer]:
        """The answer, or its future when it was not there in time."""
        try:
            future = self._call(guard, request, terms)
        except LimiterRefused as refusal:
            return Answer(None, refusal, 0)
        try:
            return future.result(max(0.0, terms.patience.remaining()))
        except NotYet:
            return future

    def _call(self, guard: GuardedService, request: QuoteRequest, terms: Terms) -> Future[Answer]:
        key, now = (guard.service_id, request), time.monotonic()
        may_share = terms.share and self._fresh_for > 0 and not guard.capabilities.firm_quotes
        with self._lock:
            if may_share and (found := self._known.get(key)) is not None and self._is_good(found, now):
                return found[1]
            if self._under_way.get(guard.service_id, 0) >= CALLS_PER_SERVICE:
                raise LimiterRefused(guard.service_id, "quote", detail=f"{CALLS_PER_SERVICE} calls are under way")
            self._under_way[guard.service_id] = self._under_way.get(guard.service_id, 0) + 1
            future: Future[Answer] = Future()
            if may_share:
                self._forget(now)
                self._known[key] = (now, future)
        call = partial(_timed, guard, request, terms.last)
        try:
            # In the context of the one who asks: what is logged or traced of the call belongs to it.
            self._pool.submit(copy_context().run, self._run, call, future, guard.service_id)
        except RuntimeError:  # no thread, or the process is ending
            self._ended(guard.service_id)
            future.set_result(Answer(None, LimiterRefused(guard.service_id, "quote", detail="no thread is free"), 0))
        return future

    def _run(self, call: Callable[[], Answer], future: Future[Answer], service_id: str) -> None:
        with _Filled(future, partial(self._ended, service_id)) as filled:
            filled.answer = call()

    def _ended(self, service_id: str) -> None:
        with self._lock:
            self._under_way[service_id] -= 1

    def _is_good(self, known: tuple[float, Future[Answer]], now: float) -> bool:
        asked, future = known
        if now - asked > self._fresh_for:
            return False
        return not future.done() or (future.exception() is None and future.result().quote is not None)

    def _forget(self, now: float) -> None:
        if len(self._known) >= _KEPT:
            self._known = {key: one for key, one in self._known.items() if now - one[0] <= self._fresh_for}


class _Filled:
    """A future that ends as the block does, with its answer or its error; `ended` is called first in either case."""

    def __init__(self, future: Future[Answer], ended: Callable[[], None]) -> None:
        self.answer: Answer | None = None
        self._future = future
        self._ended = ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._ended()
        if error is not None:
            self._future.set_exception(error)  # raised again where the answer is asked for
        elif self.answer is not None:
            self._future.set_result(self.answer)
        return error is not None


def _timed(guard: GuardedService, request: QuoteRequest, last: Deadline) -> Answer:
    started = time.monotonic()
    quote: Quote | None = None
    error: ServiceError | None = None
    try:
        quote = guard.quote(request, last)
    except ServiceError as failure:
        error = failure
    return Answer(quote, error, round((time.monotonic() - started) * 1000))
