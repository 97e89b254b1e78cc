"""Runs Celery with a worker or a beat that kills itself (-9) at named points. The product knows nothing of it: its
methods are wrapped here, in the test's own process.

The test writes into `CONVERTER_HOME/crash-at` which conversion is to be caught at which point. A thread that gets its
conversion there waits, and nothing else is begun for it; when the last one has arrived, the process dies with all of
them. So one death is a death at many points. What it did is in `CONVERTER_HOME/deaths`, one line of JSON for each.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from celery.__main__ import main
from celery.beat import Scheduler
from redis import Redis

from converter.closing import Closing
from converter.domain.conversions import OperationState
from converter.execution import Execution
from converter.guard import GuardedService
from converter.ledger.attempts import SqlAttempts
from converter.ledger.repository import SqlLedger, SqlWork
from converter.planning import Planning
from converter.reconciliation import Reconciliation
from converter.selecting import Selecting
from converter.sending import Sending
from converter.settlement import Settlement
from converter.transport.connections import TrackedConnection
from converter.transport.exchange import _current

_HOME = Path(os.environ["CONVERTER_HOME"])
_WORKER, _BEAT, _DEATHS, _KEYS = (_HOME / name for name in ("crash-at", "beat-crash-at", "deaths", "keys.json"))
_LONGEST = 90.0
_here = threading.local()


def _die(**facts: Any) -> None:
    with _DEATHS.open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), **facts}) + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


class Ambush:
    """The points of this process' life at which it is to die.

    Tasks of conversions that are not to be caught end before the death: one in the middle of an operation that is
    proven only after minutes, or never, would be a death at a point that the test did not name.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._caught: dict[str, str] = {}
        self._busy = 0
        self._closing = False

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Around a task; none is begun for a conversion that is caught already (its lease may end), nor at the end."""
        with self._changed:
            while self._closing or _conversion() in self._caught:
                self._changed.wait(_LONGEST)
            self._busy += 1
        try:
            yield
        finally:
            self._end_task()

    def waits_at(self, point: str) -> bool:
        """Whether this thread's conversion is to be caught here."""
        return bool(point == _armed()["points"].get(_conversion()))

    def reach(self, point: str, *, in_task: bool = True) -> None:
        """Stop here, if it is to be caught here; the last one to arrive takes all down."""
        armed = _armed()
        if armed["points"].get(_conversion()) != point:
            return
        with self._changed:
            complete = self._caught.keys() >= armed["points"].keys()
            self._caught[_conversion()] = point
            is_last = not complete and self._caught.keys() >= armed["points"].keys()
        if in_task:
            self._end_task()
        if is_last:
            self._close(still_busy=0)
            _WORKER.unlink()
            if armed["flush"]:
                Redis.from_url(os.environ["CONVERTER_REDIS_URL"]).flushall()
            _die(points=armed["points"])
        threading.Event().wait(_LONGEST)

    def be_last_at(self, point: str) -> None:
        """Let all others arrive first: for a point at which nobody can be kept waiting."""
        armed = _armed()["points"]
        if armed.get(_conversion()) == point:
            with self._changed:
                others = armed.keys() - {_conversion()}
                self._changed.wait_for(lambda: self._caught.keys() >= others, _LONGEST)
            self._close(still_busy=1)

    def _close(self, still_busy: int) -> None:
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._busy <= still_busy, _LONGEST)

    def _end_task(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()


ambush = Ambush()


def _armed() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_WORKER.read_text())
    except FileNotFoundError:
        return {"points": {}, "flush": False}
    return found


def _conversion() -> str:
    return getattr(_here, "conversion", "")


@contextmanager
def _set(**facts: Any) -> Iterator[None]:
    """What this thread is at."""
    before = {name: getattr(_here, name, "") for name in facts}
    _here.__dict__.update(facts)
    try:
        yield
    finally:
        _here.__dict__.update(before)


def _wrap(owner: type, name: str) -> Callable[[Callable[..., Any]], None]:
    """Put a function in the place of a method; it gets the original first."""
    original: Callable[..., Any] = getattr(owner, name)

    def replace(around: Callable[..., Any]) -> None:
        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, wrapped)

    return replace


def _hint(owner: type, name: str, point: str) -> None:
    """A task that moves nothing."""

    @_wrap(owner, name)
    def hint(original: Callable[..., Any], self: Any, conversion_id: str, *rest: Any) -> Any:
        with _set(conversion=conversion_id):
            ambush.reach(point, in_task=False)
            return original(self, conversion_id, *rest)


def _task(owner: type, name: str) -> None:
    """A task that may move money."""

    @_wrap(owner, name)
    def task(original: Callable[..., Any], self: Any, conversion_id: str) -> Any:
        with _set(conversion=conversion_id), ambush.busy():
            return original(self, conversion_id)


_hint(Planning, "start", "message in hand")
_hint(Selecting, "select", "quotes in")
_task(Execution, "execute")
_task(Settlement, "settle")


@_wrap(Execution, "_attempt_all")
def _claimed(original: Callable[..., Any], *args: Any) -> Any:
    ambush.reach("claimed")
    return original(*args)


@_wrap(GuardedService, "_count")
def _admitted(original: Callable[..., Any], self: Any, operation: str) -> None:
    if operation == "order":
        ambush.reach("admitted")
    original(self, operation)


@_wrap(GuardedService, "enter")
def _charged(original: Callable[..., Any], self: Any) -> Any:
    leave = original(self)
    ambush.reach("charged")
    return leave


def _operation(name: str) -> None:
    @_wrap(Sending, name)
    def sent(original: Callable[..., Any], self: Any, conversion: Any, prepared: Any, *rest: Any) -> Any:
        kind = str(prepared.operation.kind)
        ambush.reach(f"prepared {kind}")
        with _set(call=kind):
            answer = original(self, conversion, prepared, *rest)
        ambush.reach(f"answer read {kind}")
        return answer


for _name in ("place", "advance", "broadcast"):
    _operation(_name)


@_wrap(Reconciliation, "find")
def _looking_up(original: Callable[..., Any], *args: Any) -> Any:
    with _set(call="look-up"):
        return original(*args)


_WITH_A_BODY = re.compile(rb"(?i)\r\ncontent-length: *[1-9]")


@_wrap(TrackedConnection, "send")
def _half_written(original: Callable[..., Any], self: Any, data: bytes) -> None:
    """Half of the body or, where there is none, half of the head."""
    point = f"half written {getattr(_here, 'call', '')}"
    if not _may_execute() or not ambush.waits_at(point) or _WITH_A_BODY.search(data):
        original(self, data)
        return
    original(self, data[: len(data) // 2])
    ambush.reach(point)


@_wrap(TrackedConnection, "getresponse")
def _answer_on_its_way(original: Callable[..., Any], self: Any, *args: Any) -> Any:
    call = getattr(_here, "call", "")
    point = "looking up" if call == "look-up" else f"answer on its way {call}"
    if ambush.waits_at(point) and (call == "look-up" or _may_execute()):
        select.select([self.sock], [], [], _LONGEST)  # it is here, and nobody has read it
        ambush.reach(point)
    return original(self, *args)


def _may_execute() -> bool:
    """Whether this thread's request is one of those that have a connection of their own."""
    return _current.exchange is not None and _current.exchange.fresh


@_wrap(Settlement, "_executed")
def _about_to_record(original: Callable[..., Any], self: Any, conversion: Any, prepared: Any, order: Any) -> Any:
    ambush.be_last_at(f"recording {prepared.operation.kind}")  # a database that is held lets nobody else arrive
    return original(self, conversion, prepared, order)


@_wrap(SqlAttempts, "record")
def _recording(original: Callable[..., Any], self: Any, conversion: Any, operation: Any, *rest: Any) -> None:
    original(self, conversion, operation, *rest)
    if rest[0] is OperationState.EXECUTED:
        ambush.reach(f"recording {operation.kind}")
        _here.recorded = str(operation.kind)


_begin = SqlLedger.begin


@contextmanager
def _committed(self: SqlLedger) -> Iterator[SqlWork]:
    with _set(recorded=""):
        with _begin(self) as work:
            yield work
        ambush.reach(f"committed {_here.recorded}")


SqlLedger.begin = _committed  # type: ignore[method-assign]


@_wrap(Closing, "complete")
def _told(original: Callable[..., Any], *args: Any) -> None:
    ambush.be_last_at("told")  # followers would read it while others are awaited
    original(*args)
    ambush.reach("told")


@_wrap(Scheduler, "apply_entry")
def _tick(original: Callable[..., Any], self: Any, entry: Any, *rest: Any, **more: Any) -> None:
    if _BEAT.exists() and _BEAT.read_text() == entry.name:
        _BEAT.unlink()
        _die(beat=entry.name)
    original(self, entry, *rest, **more)


if __name__ == "__main__":
    if _KEYS.exists():  # the keys that this process was given instead of those of its environment
        os.environ.update(json.loads(_KEYS.read_text()))
    if "-c" in sys.argv:  # those that are caught keep their threads
        sys.argv[sys.argv.index("-c") + 1] = "64"
    sys.exit(main())
