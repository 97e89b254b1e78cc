"""`converter demo`: the whole system in a temporary folder, with a failing service and a killed worker."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import click

from converter.cli.output import console, json_option, print_json, speaks_errors, table
from converter.local.drill import Drill, Report
from converter.local.stack import Stack
from converter.settings import environment, forget

_OWN = ("CONVERTER_CONFIG", "CONVERTER_LEDGER_URL", "CONVERTER_REDIS_URL", "CONVERTER_KEYS")
"""A demo uses nothing of a configured system."""


@click.command()
@click.option("--conversions", "count", default=40, type=click.IntRange(4, 5000), help="How many conversions.")
@click.option("--seed", default=7, help="Seed of amounts and addresses.")
@json_option
@speaks_errors
def demo(count: int, seed: int, as_json: bool) -> None:
    """Convert under fire: one service fails half way, the worker is killed once, and nothing may be paid twice.

    Ends with 0 when every conversion was completed, none twice, none lost, by the sandbox' own record.
    """
    started = time.monotonic()

    def tell(line: str) -> None:
        if not as_json:
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {line}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="converter-demo-") as folder:
        forget(*_OWN)
        stack = Stack(Path(folder), environment(), sandbox=True)
        try:
            stack.start(lambda part: tell(f"starting {part}"))
            tell("ready")
            report = Drill(stack, count, seed, tell).run()
        finally:
            stack.stop()
    facts = {**report.facts, "seconds": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(facts)
    else:
        _show(facts, report)
    if not report.passed:
        raise SystemExit(1)


def _show(facts: dict[str, Any], report: Report) -> None:
    rows = [
        [service_id, one["quotes"], one["executions"], one["failures"], one["failovers"], one["mean_ms"]]
        for service_id, one in facts["by_service"].items()
    ]
    table("Services", ["Service", "quotes", "executions", "failures", "failovers", "mean ms"], rows)
    console.print(
        f"{facts['completed']} of {facts['conversions']} completed, {facts['failed']} failed,"
        f" {facts['in_review']} in review, {facts['failovers']} failovers;"
        f" p50 {facts['p50_ms']} ms, p95 {facts['p95_ms']} ms",
        highlight=False,
    )
    colour = "green" if report.passed else "red"
    console.print(
        f"[{colour}]verdict: paid twice {facts['doubles']}, lost {facts['lost']}[/{colour}]"
        f" (ledger against {facts['deliveries']} deliveries of the outside world)",
        highlight=False,
    )
