"""`webhooks list|test|redeliver`: the receivers of events and alerts, as an operator sees and helps them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import click

from converter.announcing import build_posts
from converter.cli.keys import operator_keys
from converter.cli.output import EXIT_FAILED, console, json_option, print_json, speaks_errors, table
from converter.delivering import Posts
from converter.domain.deliveries import DELIVERED, GIVEN_UP, PENDING, Delivery, Letter, Receiver
from converter.domain.errors import InvalidRequest
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.home import running_settings
from converter.settings import Settings


@click.group()
def webhooks() -> None:
    """Look at who is sent events and alerts. Receivers are named `webhook:<id>` and `alert:<id>`."""


@webhooks.command("list")
@json_option
@speaks_errors
def list_receivers(as_json: bool) -> None:
    """List the receivers and how they stand."""
    settings, posts = _configured()
    ledger = open_ledger(settings.ledger, migrate=True)
    found = [_facts(ledger, name) for name in posts.carriers]
    ledger.close()
    if as_json:
        print_json({"receivers": found})
        return
    rows = [
        [one["receiver"], one["state"], one["pending"], one["delivered"], one["givenUp"], one["error"] or ""]
        for one in found
    ]
    table("Receivers", ["Receiver", "State", "pending", "delivered", "given up", "Last error"], rows)


@webhooks.command()
@click.argument("receiver")
@json_option
@speaks_errors
def test(receiver: str, as_json: bool) -> None:
    """Send one signed test message to a receiver now, past everything that waits."""
    _, posts = _configured()
    name = _named(posts, receiver)
    moment = datetime.now(UTC).isoformat()
    facts = {"key": "test", "name": "test", "text": "a test message", "severity": "info", "firing": True}
    facts |= {"firstAt": moment, "lastAt": moment, "resolvedAt": None, "count": 1}
    content = {"type": "webhook:test", "timestamp": moment, "data": facts}
    receipt = posts.carriers[name].carry(Letter(f"test_{secrets.token_hex(8)}", content))
    if as_json:
        print_json({"receiver": name, "taken": receipt.taken, "error": receipt.error or None})
    else:
        console.print(f"{name} took it" if receipt.taken else f"{name} did not take it: {receipt.error}")
    if not receipt.taken:
        raise SystemExit(EXIT_FAILED)


@webhooks.command()
@click.argument("receiver")
@json_option
@speaks_errors
def redeliver(receiver: str, as_json: bool) -> None:
    """Switch a receiver on again, and send what was given up and what waits for another attempt."""
    settings, posts = _configured()
    name = _named(posts, receiver)
    ledger = open_ledger(settings.ledger, migrate=True)
    with ledger.begin() as work:
        count = work.deliveries.again(name, work.now())
        work.receivers.note(name, disabled="", failures=0, due_at=None, failing_since=None)
    ledger.close()
    if as_json:
        print_json({"receiver": name, "planned": count})
    else:
        console.print(f"{name}: {count} messages are sent again", highlight=False)


def _configured() -> tuple[Settings, Posts]:
    settings = running_settings()
    return settings, build_posts(settings, operator_keys(settings))


def _named(posts: Posts, receiver: str) -> str:
    """A receiver by its name or, where that says enough, by its id. Raises InvalidRequest."""
    found = [name for name in posts.carriers if receiver in (name, name.partition(":")[2])]
    if len(found) != 1:
        problem = f"{receiver[:60]!r} {'is more than one' if found else 'is not configured'}"
        raise InvalidRequest("receiver", problem, ", ".join(posts.carriers) or "none is configured")
    return found[0]


def _facts(ledger: SqlLedger, name: str) -> dict[str, Any]:
    with ledger.begin() as work:
        standing, counts, oldest = work.receivers.get(name), work.deliveries.counts(name), work.deliveries.oldest(name)
    return {
        "receiver": name,
        "state": _state(standing),
        "pending": counts.get(PENDING, 0),
        "delivered": counts.get(DELIVERED, 0),
        "givenUp": counts.get(GIVEN_UP, 0),
        "oldestPendingAt": oldest.created_at.isoformat() if oldest is not None else None,
        "error": _error(standing, oldest),
        "lastDeliveredAt": standing.delivered_at.isoformat() if standing.delivered_at is not None else None,
    }


def _state(standing: Receiver) -> str:
    if standing.disabled:
        return "off"
    return "failing" if standing.failing_since is not None else "ok"


def _error(standing: Receiver, oldest: Delivery | None) -> str | None:
    return standing.disabled or (oldest.error if oldest is not None else "") or None
