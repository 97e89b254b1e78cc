"""`status --watch`: the live view of a terminal, made of the same snapshot that HTTP and the page show.

One thread looks at the ledger and Redis, so that the view goes on and says since when it is stale while they are away.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from converter.bootstrap import routing_policy
from converter.cli.figures import ago
from converter.domain.errors import ConfigurationError
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.home import read_run_file, running_settings
from converter.overview import Overview
from converter.sharing import Commons, build_commons

EVERY = 1.0
"""Seconds between two looks."""
STALE_AFTER = 3.0
"""Seconds after which a look is no longer of now."""

_COLOURS = {"closed": "green", "half-open": "yellow", "unknown": "yellow"}


@dataclass(frozen=True)
class Look:
    """The last snapshot, when it was taken, and what stood in the way since."""

    snapshot: Mapping[str, Any] | None = None
    at: datetime | None = None
    error: str = ""


class Looking:
    """Looks again and again, from a thread of its own. What runs from the home may begin and end meanwhile."""

    def __init__(self) -> None:
        self.last = Look()
        self._parts: tuple[SqlLedger, Commons, Overview] | None = None
        self._runs: Any = None

    def snapshot(self) -> dict[str, Any]:
        """What is seen now. Raises ConfigurationError, SQLAlchemyError, OSError."""
        return self._overview().snapshot()

    def look(self) -> Look:
        """One look; an error leaves what was seen before."""
        try:
            self.last = Look(self.snapshot(), datetime.now(UTC))
        except (ConfigurationError, SQLAlchemyError, OSError) as error:
            self.close()
            told = str(error) if isinstance(error, ConfigurationError) else "the ledger does not answer"
            self.last = Look(self.last.snapshot, self.last.at, told)
        return self.last

    def keep_looking(self, stopping: threading.Event) -> None:
        """Until it is stopped."""
        while not stopping.is_set():
            self.look()
            stopping.wait(EVERY)

    def close(self) -> None:
        """Give connections back."""
        if self._parts is not None:
            self._parts[0].close()
            self._parts[1].access.close()
            self._parts = None

    def _overview(self) -> Overview:
        settings = running_settings()
        runs = (read_run_file(settings.home) or {}).get("pid")
        if self._parts is None or runs != self._runs:
            self.close()
            policy = routing_policy(settings)
            commons, ledger = build_commons(settings, policy.services), open_ledger(settings.ledger, migrate=True)
            overview = Overview(ledger, commons.breakers, commons.desk.rates, policy)
            self._parts, self._runs = (ledger, commons, overview), runs
        return self._parts[2]


def watch(console: Console, stopping: threading.Event) -> None:
    """Show the live view until it is stopped; without a terminal, one snapshot."""
    looking = Looking()
    if not console.is_terminal:
        console.print(rendered(looking.look(), datetime.now(UTC)))
        looking.close()
        return
    thread = threading.Thread(target=looking.keep_looking, args=(stopping,), name="looking", daemon=True)
    thread.start()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stopping.is_set():
            live.update(rendered(looking.last, datetime.now(UTC)), refresh=True)
            stopping.wait(EVERY if looking.last.at else EVERY / 10)


def rendered(look: Look, now: datetime) -> RenderableType:
    """A look as a terminal shows it."""
    parts: list[RenderableType] = [_heading(look, now)]
    if look.snapshot is not None:
        parts += [_services(look.snapshot, now), *_conversions(look.snapshot, now), _failovers(look.snapshot, now)]
    return Group(*parts)


def _heading(look: Look, now: datetime) -> Text:
    text = Text(f"converter  {now:%H:%M:%S} UTC", style="bold")
    if look.at is None:
        return text.append(f"  {look.error or 'looking …'}", style="red" if look.error else "")
    if look.error or (now - look.at).total_seconds() > STALE_AFTER:
        why = look.error or "the ledger does not answer"
        return text.append(f"  {why}; stale since {look.at:%H:%M:%S}, {ago(look.at, now)}", style="red")
    missing = look.snapshot["missing"] if look.snapshot else []
    if missing:
        text.append(f"  {' and '.join(missing)} did not answer: breakers are unknown", style="yellow")
    return text


def _services(snapshot: Mapping[str, Any], now: datetime) -> Table:
    columns = ["Service", "tier", "State", "Breakers", "weight", "share", "success", "p50", "p95", "Next check"]
    shown = _table([*columns, "Last failure"])
    for one in snapshot["services"]:
        colour = _COLOURS.get(one["state"], "red")
        shown.add_row(
            one["id"],
            str(one["tier"]),
            f"[{colour}]{one['state']}[/{colour}]",
            _breakers(one),
            one["weight"],
            "-" if one["share"] is None else f"{Decimal(one['share']):.0%}",
            f"{one['successRate']:.1%}",
            _ms(one["p50"]),
            _ms(one["p95"]),
            _next_check(one, now),
            _last_failure(one, now),
        )
    return shown


def _breakers(one: Mapping[str, Any]) -> str:
    """One word where both say the same."""
    states = {operation: told["state"] for operation, told in one["breakers"].items()}
    if len(set(states.values())) == 1:
        return str(next(iter(states.values())))
    return ", ".join(f"{operation} {state}" for operation, state in states.items())


def _next_check(one: Mapping[str, Any], now: datetime) -> str:
    """When its recovery is tried next."""
    until = [told["until"] for told in one["breakers"].values() if told["state"] == "open" and told["until"]]
    until += [one["quarantinedUntil"]] if one["quarantinedUntil"] else []
    if one["isolated"]:
        return "by an operator"
    if not until:
        return "now" if one["state"] == "half-open" else ""
    seconds = round((datetime.fromisoformat(max(until)) - now).total_seconds())
    return f"in {seconds} s" if seconds > 0 else "due"


def _last_failure(one: Mapping[str, Any], now: datetime) -> str:
    told = one["lastFailure"]
    return "" if told is None else escape(f"{ago(datetime.fromisoformat(told['at']), now)}: {told['text'][:60]}")


def _conversions(snapshot: Mapping[str, Any], now: datetime) -> list[Text]:
    counts = "  ".join(f"{state} {count}" for state, count in snapshot["states"].items() if count)
    lines = [Text(f"Conversions {snapshot['conversions']}  {counts}")]
    for name, words in (("oldestWaiting", "waits longest"), ("oldestUnknown", "unknown longest")):
        if (one := snapshot[name]) is not None:
            since = ago(datetime.fromisoformat(one["since"]), now)
            where = f" at {one['service']}" if one["service"] else ""
            lines.append(Text(f"{words}: {one['id']}{where}, since {since}: {(one['reason'] or '')[:100]}"))
    if snapshot["needsReview"]:
        count = snapshot["needsReview"]
        lines.append(Text(f"needs review: {count} (converter conversions review)", style="bold red"))
    if snapshot["held"]:
        lines.append(Text(f"held pairs: {', '.join(snapshot['held'])} (converter rates list)", style="yellow"))
    if snapshot["emergency"]:
        lines.append(Text("the emergency tier is open by an operator's word", style="yellow"))
    return lines


def _failovers(snapshot: Mapping[str, Any], now: datetime) -> RenderableType:
    if not snapshot["failovers"]:
        return Text("no failover yet")
    shown = _table(["Failover", "From", "To", "Conversion", "Reason"])
    for one in snapshot["failovers"]:
        to = one["to"] or "[red]nobody[/red]"
        when = ago(datetime.fromisoformat(one["at"]), now)
        shown.add_row(when, one["from"], to, one["conversionId"], escape((one["reason"] or "")[:60]))
    return shown


def _table(columns: list[str]) -> Table:
    """Columns named in lower case hold numbers and stand to the right."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        shown.add_column(column, justify="right" if column[0].islower() else "left", no_wrap=True)
    return shown


def _ms(figure: int | None) -> str:
    return "-" if figure is None else f"{figure} ms"
