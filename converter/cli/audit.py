"""`audit`: does everything hold that must always hold, and where is the money."""

from __future__ import annotations

from typing import Any

import click

from converter.auditing import WINDOW, Audit
from converter.bootstrap import build_engine
from converter.cli.keys import operator_keys
from converter.cli.output import console, json_option, print_json, speaks_errors, table
from converter.domain.breaches import INVARIANTS
from converter.local.home import running_settings

Balances = dict[tuple[str, str], Any]


@click.command()
@click.option("--all", "everything", is_flag=True, help="Look at all there ever was, not only at the last 24 hours.")
@click.option("--books", is_flag=True, help="Also show what each account of the books holds; reads all postings.")
@json_option
@speaks_errors
def audit(everything: bool, books: bool, as_json: bool) -> None:
    """Check the invariants of the ledger, and compare it with what the services themselves say they paid.

    Changes nothing and tells nobody but you. Ends with 1 when anything does not hold.
    """
    settings = running_settings()
    engine = build_engine(settings, operator_keys(settings))
    found = engine.auditing.look(None if everything else WINDOW)
    balances: Balances = {}
    if books:
        with engine.ledger.begin() as work:
            balances = work.books.balances()
    engine.ledger.close()
    if as_json:
        shown = [{"account": account, "coin": coin, "balance": held} for (account, coin), held in _sorted(balances)]
        print_json({**found.facts(), **({"books": shown} if books else {})})
    else:
        _show(found)
        if books:
            rows = [[account, coin, held] for (account, coin), held in _sorted(balances)]
            table("Books", ["Account", "Coin", "balance"], rows)
    if found.breaches:
        raise SystemExit(1)


def _sorted(balances: Balances) -> list[tuple[tuple[str, str], Any]]:
    return sorted((place, held) for place, held in balances.items() if held)


def _show(found: Audit) -> None:
    breached = {one.invariant for one in found.breaches}
    rows = [[name, "NO" if name in breached else "yes", sentence] for name, sentence in INVARIANTS.items()]
    table(f"Audit of what changed since {found.since:%Y-%m-%d %H:%M} UTC", ["Name", "Holds", "What"], rows)
    for breach in found.breaches:
        where = breach.conversion_id or "the ledger"
        console.print(f"[red]{breach.invariant}[/red] {where}: ", end="", highlight=False)
        console.print(breach.detail, highlight=False, markup=False, soft_wrap=True)
    for service_id, told in found.compared.items():
        line = f"{service_id} lists {told} payouts" if isinstance(told, int) else f"{service_id}: {told}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
