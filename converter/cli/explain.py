"""`conversions explain`: why a conversion went where it went."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import click
from rich.markup import escape

from converter.cli.figures import short
from converter.cli.output import console, json_option, print_json, speaks_errors, table
from converter.domain.anomalies import Code
from converter.explaining import explain as explain_conversion
from converter.ledger.repository import open_ledger
from converter.local.home import running_settings


@click.command()
@click.argument("conversion_id")
@json_option
@speaks_errors
def explain(conversion_id: str, as_json: bool) -> None:
    """Explain round by round who was asked, what became of each quote, what was attempted and what arrived."""
    ledger = open_ledger(running_settings().ledger, migrate=True)
    facts = explain_conversion(ledger, conversion_id)
    ledger.close()
    if as_json:
        print_json(facts)
        return
    _say(f"{facts['id']}: {facts['amount']} {_side(facts, 'from')} -> {_side(facts, 'to')}")
    _say(f"{facts['state']}: {facts['reason']}" if facts["reason"] else facts["state"])
    _attempts("Attempts before the first recorded round", facts["earlierAttempts"])
    for one in facts["rounds"]:
        _round(one)
    if not facts["rounds"]:
        _say("no round of asking is recorded")
    _say(_arrived(facts))


def _round(one: Mapping[str, Any]) -> None:
    quotes = {row["service"]: row for row in one["quotes"]}
    columns = ["Service", "tier", "turn", "Asked", "net", "Verdict or objection", "rank"]
    table(
        f"\nRound {one['number']}, opened {one['openedAt'][:19].replace('T', ' ')} UTC",
        columns,
        [_row(seat, quotes.get(seat["service"]), judged=one["judged"]) for seat in one["services"]],
    )
    _say(_why(one))
    _attempts("Attempts", one["attempts"])


def _row(seat: Mapping[str, Any], quote: Mapping[str, Any] | None, *, judged: bool) -> list[Any]:
    cells = [seat["service"], seat["tier"], seat["turn"], "yes" if seat["asked"] else "no"]
    if quote is None:
        unheard = "no answer yet" if seat["asked"] and not judged else ""
        return [*cells, "", escape(seat["objection"] or unheard), ""]
    return [*cells, short(quote["net"]), escape(_verdict(quote, judged=judged)), quote["rank"]]


def _verdict(quote: Mapping[str, Any], *, judged: bool) -> str:
    if quote["net"] is None:
        return str(quote["error"] or "no offer")
    if quote["code"] is None:
        return "came too late" if judged else "not judged yet"
    if quote["code"] == Code.ACCEPTED:
        return "accepted" if quote["inBand"] else "accepted, too far below the best"
    return f"{quote['code']}: {quote['text']}" if quote["text"] else str(quote["code"])


def _why(one: Mapping[str, Any]) -> str:
    if not one["judged"]:
        return "Not judged yet."
    if one["why"]:
        return f"Why: {one['why']}."
    return f"Nobody: the pair is held ({one['hold']})." if one["hold"] else "Nobody: no quote could be used."


def _attempts(title: str, attempts: list[dict[str, Any]]) -> None:
    if attempts:
        rows = [
            [one["number"], one["service"], short(one["promised"]), one["state"], escape(one["error"] or "")]
            for one in attempts
        ]
        table(title, ["#", "Service", "promised", "State", "Error"], rows)


def _arrived(facts: Mapping[str, Any]) -> str:
    coin = facts["toCoin"]
    if facts["promised"] is None:
        return "Nothing was promised."
    promised = f"Promised {facts['promised']} {coin}"
    if facts["delivered"] is None:
        return f"{promised}; what arrived is not known."
    difference = Decimal(facts["difference"] or 0)
    compared = f"{difference:+f} %" if difference else "as promised"
    return f"{promised}, arrived {facts['delivered']} {coin} ({compared})."


def _side(facts: Mapping[str, Any], side: str) -> str:
    coin, network = facts[f"{side}Coin"], facts[f"{side}Network"]
    return str(coin if coin == network else f"{coin} on {network}")


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False)
