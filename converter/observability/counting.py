"""Counters and histograms of what a process does, for Prometheus.

Labels are service ids, kinds, task names and words of ours: their number is bounded, and none is an address, an id or
an amount. With the folder of `folder` all processes are summed; without one only this process is counted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from converter.domain import events
from converter.domain.errors import POLICY, BreakerRefused, LimiterRefused
from converter.domain.events import ALL_EVENTS, Event
from converter.domain.orders import OperationKind
from converter.observability import folder as folders

log = logging.getLogger(__name__)

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CALLS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
_OPERATIONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
_SLIPPAGE = (-0.01, -0.001, 0.0, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1)


def _words(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")


_ERRORS = {kind: _words(kind.__name__) for kind in POLICY}
"""What a failed call is counted as; any other error is an `unexpected_error`."""


class Counting:
    """The `Meter` port on prometheus_client. Shared by threads; one for each process."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        if folder is not None:
            # Before the first metric is made: its values go to the files of this process.
            values.ValueClass = values.MultiProcessValue(folders.identity)  # type: ignore[no-untyped-call]
            bury(folder)
        self._own = CollectorRegistry()
        self._calls_of_services()
        self._lives()
        self._running.set(0)  # a container that starts again has the process id, and so the file, that it had
        for name in sorted(ALL_EVENTS):  # a rise from nothing is seen only where the nothing was shown
            self._events.labels(name)

    def _calls_of_services(self) -> None:
        made: dict[str, Any] = {"registry": self._own}
        self._quotes = Counter("converter_quotes", "Services asked for a quote.", ["service", "outcome"], **made)
        self._quote_times = Histogram(
            "converter_quote_duration_seconds", "Time to a quote.", ["service"], buckets=_CALLS, **made
        )
        self._lookups = Counter(
            "converter_lookups", "Calls that only read: find, health, list.", ["service", "call", "outcome"], **made
        )
        labels = ["service", "kind", "outcome"]
        self._operations = Counter("converter_operations", "Operations that left, or could not.", labels, **made)
        self._operation_times = Histogram(
            "converter_operation_duration_seconds",
            "Time that an operation took.",
            ["service", "kind"],
            buckets=_OPERATIONS,
            **made,
        )
        self._slippage = Histogram(
            "converter_slippage_ratio",
            "Part of the promised net that was not delivered; below 0 more was.",
            ["service"],
            buckets=_SLIPPAGE,
            **made,
        )

    def _lives(self) -> None:
        made: dict[str, Any] = {"registry": self._own}
        self._events = Counter("converter_events", "Events told by workers and the HTTP server.", ["event"], **made)
        self._failovers = Counter("converter_failovers", "Failovers that succeeded.", ["from", "to"], **made)
        self._tasks = Counter("converter_tasks", "Tasks that ended.", ["task", "state"], **made)
        self._task_times = Histogram(
            "converter_task_duration_seconds", "Time that a task ran.", ["task"], buckets=_QUICK, **made
        )
        self._task_waits = Histogram(
            "converter_task_wait_seconds", "Time from sending to running.", ["task"], buckets=_QUICK, **made
        )
        self._running = Gauge("converter_tasks_running", "Tasks under way.", multiprocess_mode="livesum", **made)
        labels = ["method", "route", "status"]
        self._requests = Counter("converter_http_requests", "HTTP requests answered.", labels, **made)
        self._request_times = Histogram(
            "converter_http_request_duration_seconds",
            "Time to the head of an answer.",
            ["method", "route"],
            buckets=_QUICK,
            **made,
        )

    # --- The port ---

    def called(self, service_id: str, call: str, error: BaseException | None, elapsed: timedelta) -> None:
        """A call that moves nothing has ended, or was refused by us: then it took no time worth showing."""
        outcome = "ok" if error is None else _ERRORS.get(type(error), "unexpected_error")
        with _harmless():
            if call != "quote":
                self._lookups.labels(service_id, call, outcome).inc()
                return
            self._quotes.labels(service_id, outcome).inc()
            if not isinstance(error, BreakerRefused | LimiterRefused):
                self._quote_times.labels(service_id).observe(elapsed.total_seconds())

    def sent(self, service_id: str, kind: OperationKind, outcome: str, elapsed: timedelta) -> None:
        """An operation that may move money has left, or could not leave in time."""
        with _harmless():
            self._operations.labels(service_id, str(kind), str(outcome)).inc()
            self._operation_times.labels(service_id, str(kind)).observe(elapsed.total_seconds())

    def told(self, events_told: Sequence[Event]) -> None:
        """Events were committed by this process."""
        with _harmless():
            for event in events_told:
                self._events.labels(event.name).inc()
                if event.name == events.FAILOVER_SUCCESS:
                    self._failovers.labels(str(event.payload["from"]), str(event.payload["to"])).inc()
                elif event.name == events.CONVERSION_COMPLETED:
                    missing = slippage(event.payload)
                    if missing is not None:
                        self._slippage.labels(str(event.payload["serviceId"])).observe(missing)

    # --- Beside it ---

    def began(self, task: str, waited: float | None) -> None:
        """A task begins, so many seconds after it was sent."""
        with _harmless():
            self._running.inc()
            if waited is not None:
                self._task_waits.labels(task).observe(max(0.0, waited))

    def ended(self, task: str, state: str, seconds: float) -> None:
        """A task has ended in a state of Celery's (`SUCCESS`, `FAILURE`, `RETRY`)."""
        with _harmless():
            self._running.dec()
            self._tasks.labels(task, state.lower()).inc()
            self._task_times.labels(task).observe(seconds)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered; `route` is the pattern, never the path."""
        with _harmless():
            self._requests.labels(method, route, str(status)).inc()
            self._request_times.labels(method, route).observe(seconds)

    def registry(self) -> CollectorRegistry:
        """A registry that shows the counters: of all processes, or of this one where no folder is shared."""
        if self.folder is None:
            return self._own
        bury(self.folder)
        summed = CollectorRegistry()
        MultiProcessCollector(summed, str(self.folder))  # type: ignore[no-untyped-call]
        return summed


def slippage(payload: Mapping[str, Any]) -> float | None:
    """Which part of the promised net was not delivered; None where either is not known. A ratio, and no money."""
    try:
        promised, delivered = Decimal(payload["promised"]), Decimal(payload["delivered"])
        return float((promised - delivered) / promised)
    except (KeyError, TypeError, InvalidOperation, ZeroDivisionError):
        return None


def bury(folder: Path) -> None:
    """Forget the gauges of processes that are gone; what they counted stays."""
    for one in folders.gone(folder):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            mark_process_dead(one, str(folder))  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """A full disk, or a file that was taken away, is no reason to stop converting."""
    try:
        yield
    except (OSError, ValueError) as error:
        log.warning("not counted: %s", type(error).__name__)
