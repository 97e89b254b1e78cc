"""`convert` and `conversions`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import click

from converter.cli.completing import service_ids
from converter.cli.explain import explain
from converter.cli.output import console, errors, json_option, print_json, speaks_errors, table
from converter.cli.review import cancel, resolve, retry, review
from converter.client import ConversionHandle, ConversionNotCompleted, MultiServiceConverter
from converter.domain.coins import coins
from converter.domain.conversions import ID_LENGTH, Conversion, Sought, State, is_conversion_id
from converter.domain.errors import InvalidRequest
from converter.domain.money import plain
from converter.domain.quotes import QuoteRow
from converter.equipping import addressed
from converter.facts import conversion_facts
from converter.ledger.repository import SqlLedger, open_ledger
from converter.local.home import read_run_file, running_settings
from converter.settings import SERVICES

_COIN = click.Choice(sorted(coins()), case_sensitive=False)


@click.command()
@click.option("--from", "from_coin", required=True, help="Coin to give, such as ETH.")
@click.option("--to", "to_coin", required=True, help="Coin to deliver, such as BTC.")
@click.option("--amount", required=True, help="Amount of the coin to give, such as 1.5.")
@click.option("--address", required=True, help="Where to deliver.")
@click.option("--from-network", help="Network of the coin to give, when not its own.")
@click.option("--to-network", help="Network of the coin to deliver, such as LIGHTNING.")
@click.option(
    "--service",
    shell_complete=service_ids,
    help="Only this service, such as one that `services quote` showed; no failover.",
)
@click.option("--idempotency-key", help="A second call with the same key and content finds the same conversion.")
@click.option("--wait/--no-wait", default=True, help="Wait for the end (default) or return at once.")
@click.option("--timeout", default=600.0, help="Seconds to wait.")
@json_option
@speaks_errors
def convert(wait: bool, timeout: float, service: str | None, as_json: bool, **fields: Any) -> None:
    """Convert an amount of one coin into another, delivered to an address."""
    with MultiServiceConverter(_only(service)) as converter:
        handle = converter.convert(**fields)
        running = read_run_file(running_settings().home) is not None
        if not as_json:
            console.print(f"accepted as [bold]{handle.id}[/bold]", highlight=False)
        if not running:
            errors.print("nothing runs from this home: it will be converted once `converter up` runs", highlight=False)
        if wait and running:
            _follow(handle, timeout, quiet=as_json)
        conversion = handle.details()
    if as_json:
        print_json(conversion_facts(conversion))
    elif conversion.state is State.COMPLETED:
        got = plain(conversion.delivered or conversion.promised or conversion.request.amount)
        console.print(
            f"[green]completed[/green] via {conversion.service_id}: {got} {conversion.request.to_asset.coin}"
            f" delivered, transaction {conversion.txid}",
            highlight=False,
            soft_wrap=True,
        )
    if wait and running and conversion.state is not State.COMPLETED:
        raise ConversionNotCompleted(conversion)


def _only(service_id: str | None) -> list[dict[str, Any]] | None:
    """The override that leaves one service; None for all. Its keys are the workers' business. Raises InvalidRequest."""
    if service_id is None:
        return None
    settings = running_settings()
    accepted = addressed(settings)
    if service_id not in accepted:
        enabled = {one.id: one.enabled for one in settings.services}
        problems = {None: "is not configured", False: "is switched off", True: "has no baseUrl"}
        problem = f"{service_id[:40]!r} {problems[enabled.get(service_id)]}"
        raise InvalidRequest("service", problem, f"one of {', '.join(accepted)}" if accepted else "none is ready")
    return [{"id": service_id, "weight": Decimal(1)}]


def _follow(handle: ConversionHandle, timeout: float, *, quiet: bool) -> None:
    """Show the way until the end; returns also when it takes too long or a person is needed."""
    end, shown = time.monotonic() + timeout, ""
    with console.status("waiting …") as progress:
        while time.monotonic() < end:
            conversion = handle.details()
            line = f"{conversion.state} {conversion.service_id or ''} {conversion.reason}".strip()
            if line != shown and not quiet:
                console.print(f"  {line}", highlight=False)
                progress.update(f"{line} …")
            shown = line
            if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
                return
            time.sleep(0.1)


@click.group()
def conversions() -> None:
    """Look at conversions, and say what a person found out about them."""


for command in (explain, review, resolve, retry, cancel):
    conversions.add_command(command)


@conversions.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([state.value for state in State]), help="Only these."
)
@click.option("--service", type=click.Choice(SERVICES), help="Only those that this service has or had.")
@click.option("--from", "from_coin", type=_COIN, help="Only from this coin.")
@click.option("--to", "to_coin", type=_COIN, help="Only to this coin.")
@click.option("--address", help="Only those that deliver to this address.")
@click.option("--id", "prefix", help="Only those whose id begins so, such as cv_01KEZ8.")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), help="How many.")
@click.option("--before", help="Continue behind this id.")
@json_option
@speaks_errors
def list_conversions(states: Sequence[str], limit: int, before: str | None, as_json: bool, **given: Any) -> None:
    """List conversions, newest first; all conditions hold for what is listed."""
    sought = _sought(given)
    ledger = _ledger()
    with ledger.begin() as work:
        wanted = [State(state) for state in states]
        found = work.conversions.page(states=wanted, limit=limit, before=before, sought=sought)
    ledger.close()
    if as_json:
        print_json([conversion_facts(one) for one in found])
        return
    rows = [
        [one.id, one.state, _what(one), one.delivered or one.promised, one.service_id, one.reason[:60]] for one in found
    ]
    table("Conversions", ["Id", "State", "What", "net", "Service", "Reason"], rows)


def _sought(given: dict[str, Any]) -> Sought:
    """Raises InvalidRequest for what no id begins with."""
    prefix = given["prefix"] or ""
    if prefix and not is_conversion_id(prefix.ljust(ID_LENGTH, "0")):
        raise InvalidRequest("id", f"no id begins with {prefix[:40]!r}", "cv_ and up to 26 digits and capital letters")
    return Sought(
        service_id=given["service"] or "",
        from_coin=given["from_coin"] or "",
        to_coin=given["to_coin"] or "",
        address=given["address"] or "",
        id_prefix=prefix,
    )


@conversions.command()
@click.argument("conversion_id")
@json_option
@speaks_errors
def show(conversion_id: str, as_json: bool) -> None:
    """Show one conversion with its quotes, attempts, operations and postings."""
    ledger = _ledger()
    facts = _everything(ledger, conversion_id)
    ledger.close()
    if as_json:
        print_json(facts)
        return
    table(
        conversion_id,
        ["Field", "Value"],
        [[name, value] for name, value in facts.items() if not isinstance(value, list)],
    )
    for part in ("quotes", "attempts", "operations", "books"):
        if facts[part]:
            columns = [name.capitalize() for name in facts[part][0]]
            table(part.capitalize(), columns, [list(one.values()) for one in facts[part]])


@conversions.command()
@click.argument("conversion_id")
@click.option("--txid", required=True, help="Transaction with which the deposit was paid.")
@json_option
@speaks_errors
def fund(conversion_id: str, txid: str, as_json: bool) -> None:
    """Report the transaction of a deposit that a person paid (a wallet of kind `manual`)."""
    with MultiServiceConverter() as converter:
        converter.report_deposit(conversion_id, txid)
        facts = conversion_facts(converter.get(conversion_id).details())
    if as_json:
        print_json(facts)
    else:
        console.print(f"noted: the deposit of {conversion_id} is {txid}", highlight=False, soft_wrap=True)


def _ledger() -> SqlLedger:
    return open_ledger(running_settings().ledger, migrate=True)


def _what(conversion: Conversion) -> str:
    request = conversion.request
    return f"{plain(request.amount)} {request.from_asset} -> {request.to_asset}"


def _everything(ledger: SqlLedger, conversion_id: str) -> dict[str, Any]:
    with ledger.begin() as work:
        conversion = work.conversions.get(conversion_id)
        quotes = [row for asked in range(1, conversion.round + 1) for row in work.quotes.of_round(conversion_id, asked)]
        attempts = work.attempts.of(conversion_id)
        operations = [one for attempt in attempts for one in work.attempts.operations(attempt.id)]
        booked = [one for attempt in attempts for one in work.books.of(attempt.id)]
    return {
        **conversion_facts(conversion),
        "quotes": [_answer(row) for row in quotes],
        "attempts": [
            {
                "number": one.number,
                "service": one.service_id,
                "state": one.state,
                "promised": plain(one.promised),
                "key": one.key,
                "order": one.service_order_id,
                "error": one.error or None,
            }
            for one in attempts
        ],
        "operations": [
            {"kind": one.kind, "key": one.key, "state": one.state, "sends": one.sends, "error": one.error or None}
            for one in operations
        ],
        "books": [
            {"from": one.from_account, "to": one.to_account, "coin": one.coin, "amount": plain(one.amount)}
            for one in booked
        ],
    }


def _answer(row: QuoteRow) -> dict[str, Any]:
    return {
        "round": row.round,
        "service": row.service_id,
        "net": plain(row.quote.net) if row.quote else None,
        "rank": row.rank,
        "ms": row.elapsed_ms,
        "error": row.error or None,
    }
