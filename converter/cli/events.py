"""`events tail|history` and `alerts`: what happens, what happened, and what an operator should know."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from converter.cli.output import console, json_option, print_json, speaks_errors, table
from converter.domain.errors import InvalidRequest
from converter.domain.events import ALL_EVENTS, Event, Only
from converter.facts import alert_facts, event_facts
from converter.following import extent, read_back, read_on
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.home import running_settings

_PAUSE = 0.2

_names = click.option("--name", "names", multiple=True, help="Only events of this name; may be repeated.")
_conversion = click.option("--conversion", help="Only events of this conversion.")


@click.group()
def events() -> None:
    """Look at what happens."""


@events.command()
@_names
@_conversion
@click.option("--after", type=click.IntRange(min=0), help="Begin behind the event of this number; from now on else.")
@json_option
@speaks_errors
def tail(names: Sequence[str], conversion: str | None, after: int | None, as_json: bool) -> None:
    """Show events as they are committed, until Ctrl-C. With --json one object on each line."""
    only = _only(names, conversion)
    with suppress(KeyboardInterrupt), _ledger() as ledger:
        kept = extent(ledger)
        if after is not None and after < kept.pruned:
            click.echo(f"events up to {kept.pruned} are not kept any more", err=True)
        place = kept.last if after is None else after
        while True:
            page = read_on(ledger, place, only)
            for event in page.events:
                _show(event, as_json=as_json)
            place = page.last
            if not page.events:
                time.sleep(_PAUSE)


@events.command()
@_names
@_conversion
@click.option("--after", type=click.IntRange(min=0), help="Those behind the event of this number; the newest else.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="How many.")
@json_option
@speaks_errors
def history(names: Sequence[str], conversion: str | None, after: int | None, limit: int, as_json: bool) -> None:
    """List events, oldest first."""
    only = _only(names, conversion)
    with _ledger() as ledger:
        page = read_back(ledger, None, only, limit) if after is None else read_on(ledger, after, only, limit)
    if as_json:
        print_json({"events": [event_facts(one) for one in page.events], "last": page.last})
        return
    for event in page.events:
        _show(event, as_json=False)


@click.command()
@click.option("--all", "with_ended", is_flag=True, help="Also those that have ended.")
@json_option
@speaks_errors
def alerts(with_ended: bool, as_json: bool) -> None:
    """List what an operator should know."""
    with _ledger() as ledger, ledger.begin() as work:
        found = [alert_facts(one) for one in work.alerts.page(active=not with_ended)]
    if as_json:
        print_json({"alerts": found})
        return
    if not found:
        console.print("nothing fires", highlight=False)
        return
    rows = [[one["name"], _state(one), one["count"], one["lastAt"][:19], one["text"]] for one in found]
    table("Alerts", ["Alert", "State", "times", "Last", "What"], rows)


def _state(facts: dict[str, Any]) -> str:
    return facts["severity"] if facts["firing"] else "over"


def _show(event: Event, *, as_json: bool) -> None:
    facts = event_facts(event)
    if as_json:
        click.echo(json.dumps(facts))
        return
    at = event.at.strftime("%Y-%m-%d %H:%M:%S") if event.at is not None else ""
    told = " ".join(f"{name}={json.dumps(value)}" for name, value in event.payload.items())
    click.echo(f"{event.sequence:>8} {at} {event.name:24} {event.conversion_id or '-'} {told}".rstrip())


def _only(names: Sequence[str], conversion: str | None) -> Only:
    unknown = sorted(set(names) - ALL_EVENTS)
    if unknown:
        raise InvalidRequest("name", f"no event is called {unknown[0][:60]!r}", ", ".join(sorted(ALL_EVENTS)))
    return Only(frozenset(names), conversion)


@contextmanager
def _ledger() -> Iterator[SqlLedger]:
    ledger = open_ledger(running_settings().ledger, migrate=True)
    try:
        yield ledger
    finally:
        ledger.close()
