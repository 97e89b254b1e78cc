"""Counters of several processes are one sum, whatever becomes of the processes; gauges end with theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from converter.domain import events
from converter.domain.errors import BreakerRefused, OutcomeUnknown, ServiceUnavailable
from converter.domain.events import Event
from converter.domain.orders import OperationKind
from converter.observability import folder as folders
from converter.observability.counting import Counting, slippage

SECOND = timedelta(seconds=1)

WORKER = """
import os, sys
from datetime import timedelta
from pathlib import Path
from converter.observability.counting import Counting
counting = Counting(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
counting.began("conversions.execute", 0.5)
for _ in range(int(sys.argv[1])):
    counting.called("alpha", "quote", None, timedelta(seconds=0.2))
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def worker(folder: Path, calls: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(calls)],
        env={**os.environ, folders.VARIABLE: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)
    return process


def summed(folder: Path) -> CollectorRegistry:
    """As the HTTP server sees the folder, without a file of its own in it."""
    counting = Counting()
    counting.folder = folder
    return counting.registry()


def test_killed_workers_still_count_and_are_not_running_any_more(tmp_path: Path) -> None:
    one, other = worker(tmp_path, 3), worker(tmp_path, 4)
    try:
        assert value(summed(tmp_path), "converter_quotes_total", service="alpha", outcome="ok") == 7
        assert value(summed(tmp_path), "converter_tasks_running") == 2
        one.send_signal(signal.SIGKILL)
        one.wait()
        after = summed(tmp_path)
        assert value(after, "converter_quotes_total", service="alpha", outcome="ok") == 7
        assert value(after, "converter_quote_duration_seconds_count", service="alpha") == 7
        assert value(after, "converter_quote_duration_seconds_bucket", service="alpha", le="0.1") == 0
        assert value(after, "converter_quote_duration_seconds_bucket", service="alpha", le="0.25") == 7
        assert value(after, "converter_tasks_running") == 1
    finally:
        for process in (one, other):
            process.kill()
            process.communicate()


def test_the_files_of_a_system_that_ended_are_taken_away_before_the_next_begins(tmp_path: Path) -> None:
    (tmp_path / "counter_other-1.db").write_bytes(b"")
    (tmp_path / "kept.txt").write_text("not ours")
    folders.empty(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]


def test_processes_of_other_hosts_are_never_taken_for_gone(tmp_path: Path) -> None:
    host, _, _ = folders.identity().rpartition("-")
    for name in (f"{host}-999999999", f"{host}-{os.getpid()}", "elsewhere-999999999"):
        (tmp_path / f"gauge_livesum_{name}.db").write_bytes(b"")
    assert folders.gone(tmp_path) == {f"{host}-999999999"}


@pytest.mark.parametrize("named", ["", "/dev/null/metrics"])
def test_where_no_folder_can_be_used_there_is_none(named: str) -> None:
    assert folders.prepare({folders.VARIABLE: named}) is None


def test_calls_are_counted_by_how_they_ended_and_our_own_refusals_take_no_time() -> None:
    counting = Counting()
    errors = [None, ServiceUnavailable("a", "quote"), BreakerRefused("a", "quote"), OSError()]
    for error in errors:
        counting.called("a", "quote", error, SECOND)
    registry = counting.registry()
    found = {
        outcome: value(registry, "converter_quotes_total", service="a", outcome=outcome)
        for outcome in ("ok", "service_unavailable", "breaker_refused", "unexpected_error")
    }
    assert set(found.values()) == {1.0}
    assert value(registry, "converter_quote_duration_seconds_count", service="a") == 3


def test_look_ups_and_operations_are_counted_apart() -> None:
    counting = Counting()
    counting.called("a", "find", OutcomeUnknown("a", "find"), SECOND)
    counting.sent("a", OperationKind.WITHDRAWAL, "unknown", SECOND)
    registry = counting.registry()
    assert value(registry, "converter_lookups_total", service="a", call="find", outcome="outcome_unknown") == 1
    assert value(registry, "converter_operations_total", service="a", kind="withdrawal", outcome="unknown") == 1
    assert value(registry, "converter_quotes_total", service="a", outcome="outcome_unknown") is None


def test_failovers_and_slippage_come_from_the_events_that_were_committed() -> None:
    counting = Counting()
    completed = {"serviceId": "b", "promised": "0.1000", "delivered": "0.0990"}
    counting.told([Event(events.FAILOVER_SUCCESS, {"from": "a", "to": "b"}, "cv_1")])
    counting.told([Event(events.CONVERSION_COMPLETED, completed, "cv_1")])
    registry = counting.registry()
    assert value(registry, "converter_failovers_total", **{"from": "a", "to": "b"}) == 1
    assert value(registry, "converter_events_total", event=events.CONVERSION_COMPLETED) == 1
    assert value(registry, "converter_slippage_ratio_bucket", service="b", le="0.005") == 0
    assert value(registry, "converter_slippage_ratio_bucket", service="b", le="0.01") == 1


@pytest.mark.parametrize(
    ("promised", "delivered", "expected"),
    [("0.1", "0.099", 0.01), ("0.1", "0.101", -0.01), ("0.1", None, None), ("0", "1", None), ("x", "1", None)],
)
def test_slippage_is_the_part_that_is_missing(promised: str, delivered: str | None, expected: float | None) -> None:
    assert slippage({"promised": promised, "delivered": delivered}) == expected


def test_an_event_that_never_was_told_is_shown_as_nothing_so_that_the_first_is_seen_as_a_rise() -> None:
    registry = Counting().registry()
    assert value(registry, "converter_events_total", event=events.LEDGER_AUDIT_FAILED) == 0


def test_a_broken_payload_costs_a_count_and_nothing_else() -> None:
    Counting().told([Event(events.CONVERSION_COMPLETED, {"serviceId": "b"}, "cv_1")])
