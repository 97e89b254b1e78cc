"""`converter drill`: many conversions on the real stack under a stated profile of faults, held against the truth."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from converter.cli.completing import service_ids
from converter.cli.output import console, json_option, print_json, speaks_errors, table
from converter.local.chaos.profiles import PROFILES, profile_of
from converter.local.chaos.report import Report
from converter.local.chaos.trial import Task, Trial
from converter.local.postgres_server import running_postgres
from converter.local.stack import Stack, StackOptions
from converter.settings import environment

_OWN = ("CONVERTER_CONFIG", "CONVERTER_LEDGER_URL", "CONVERTER_REDIS_URL", "CONVERTER_HOME")
"""A drill uses nothing of a configured system."""

_LEASE = 8.0
_ENGINE = {
    "LEASE": round(_LEASE * 1000),
    "QUOTING": 8000,
    "POLL": 1000,
    "POLL_LIMIT": 10000,
    "PARK_UNPROVABLE": 300000,
}
"""Shorter waits than by default, in milliseconds; they are told in the report."""


@click.command()
@click.option("--conversions", "count", default=300, type=click.IntRange(1, 1_000_000), help="How many conversions.")
@click.option("--profile", "name", default="usual", type=click.Choice(sorted(PROFILES)), help="How bad a day it is.")
@click.option("--seed", default=7, help="Seed of what is converted, of the faults and of what strikes.")
@click.option("--workers", default=4, type=click.IntRange(1, 64), help="Worker processes.")
@click.option("--ledger", default="postgresql", help="`postgresql` (started here), `sqlite`, or a database's URL.")
@click.option(
    "--service",
    "services",
    multiple=True,
    shell_complete=service_ids,
    help="Only these services take part; repeat it for more.",
)
@click.option("--under-way", default=60, type=click.IntRange(1, 5000), help="How many at once, beside those that wait.")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the logs (and a SQLite ledger) here."
)
@json_option
@speaks_errors
def drill(as_json: bool, services: tuple[str, ...], **given: Any) -> None:
    """Convert through kills, lost answers and outages: nothing may be paid twice, and nothing may be lost.

    Ends with 0 when every promise was kept, by the sandbox' own record of what it executed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: what was started here is stopped
    started = time.monotonic()

    def tell(line: str) -> None:
        if not as_json:
            console.print(f"[dim]{time.monotonic() - started:6.1f} s[/dim]  {line}", highlight=False)

    task = Task(profile_of(given["name"]), given["count"], given["seed"], given["under_way"], _LEASE)
    options = StackOptions(sandbox_speed=5.0, services=services or None, workers=given["workers"], api_port=0)
    with _folder(given["folder"]) as folder, _ledger(given["ledger"]) as url:
        environ = {name: text for name, text in environment().items() if name not in _OWN}
        environ |= {f"CONVERTER_ENGINE__{name}": str(number) for name, number in _ENGINE.items()}
        environ |= {"CONVERTER_LEDGER_URL": url} if url else {}
        stack = Stack(folder, environ, sandbox=True, options=options)
        try:
            stack.start(lambda part: tell(f"starting {part}"))
            report = Trial(stack, task, tell).run()
        finally:
            stack.stop()
    if as_json:
        print_json(report.facts())
    else:
        _show(report)
    if report.broken:
        raise SystemExit(1)


@contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="converter-drill-") as folder:
        yield Path(folder)


@contextmanager
def _ledger(name: str) -> Iterator[str]:
    """URL of the ledger; empty for the SQLite file of the data folder."""
    if name == "postgresql":
        with running_postgres() as url:
            yield url
    else:
        yield "" if name == "sqlite" else name


def _show(report: Report) -> None:
    rows = [[name, *one.values()] for name, one in report.services.items()]
    table("Services", ["Service", "quotes", "failed quotes", "executions", "refusals"], rows)
    if report.parked:
        rows = [[one.id, _yes(one.alerted), _yes(one.evidence), one.reason] for one in report.parked]
        table(f"Parked ({len(report.parked)})", ["Conversion", "Alert", "Evidence", "Reason"], rows)
    for line in (*report.lines(), *report.traces):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    colour = "red" if report.broken else "green"
    verdict = "; ".join(report.broken) or "every promise was kept"
    counts = f"paid twice {report.doubles}, lost {report.lost}, phantom {report.phantom}"
    console.print(f"[{colour}]verdict: {counts}: {verdict}[/{colour}]", highlight=False)


def _yes(true: bool) -> str:
    return "yes" if true else "NO"
