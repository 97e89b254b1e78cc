"""`rates`: what is remembered of the rates of pairs, and an operator's word on a held one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from converter.bootstrap import build_operating
from converter.charting import pair_facts, sides_of
from converter.cli.figures import ago, short
from converter.cli.output import console, errors, json_option, print_json, speaks_errors, table
from converter.cli.standing import redis_answers, require_redis
from converter.domain.conditions import pair_of
from converter.domain.money import parse_amount
from converter.ledger.repository import open_ledger
from converter.local.home import running_settings
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess

_DECIMALS = 40
"""A rate between the dearest and the cheapest coin still has figures that count."""


@click.group()
def rates() -> None:
    """Look at what is remembered of rates, and confirm one that is held."""


@rates.command("list")
@json_option
@speaks_errors
def list_rates(as_json: bool) -> None:
    """List the pairs that are known: rates are units of the second coin for one of the first."""
    settings = running_settings()
    ledger = open_ledger(settings.ledger, migrate=True)
    with ledger.begin() as work:
        kept = work.memory.rates()
    now = ledger.now()
    ledger.close()
    memory = Rates(RedisAccess(settings.redis_url))
    memory.reload(kept, now)  # so that a loss of Redis, or its absence, hides nothing
    states = {name: memory.pair(name) for name in memory.names()}
    found = [pair_facts(name, one, now) for name, one in states.items() if one.history or one.hold]
    if as_json:
        print_json(found)
    elif found:
        columns = ["Pair", "last", "average", "Accepted", "tolerance", "Held"]
        table("Rates", columns, [_row(one, now) for one in found])
    else:
        console.print("no pair is known yet", highlight=False)
    if not redis_answers(settings):
        errors.print("Redis did not answer: this is what the ledger kept", highlight=False)
    if any(one["hold"] for one in found) and not as_json:
        errors.print("a held pair waits until its quotes agree, or for `converter rates confirm <pair>`")


@rates.command(context_settings={"ignore_unknown_options": True})  # a rate such as -1 is for us to refuse
@click.argument("pair")
@click.argument("rate", required=False)
@json_option
@speaks_errors
def confirm(pair: str, rate: str | None, as_json: bool) -> None:
    """Confirm that the market is at RATE, or where the quotes of the held pair say without one: ends its hold.

    PAIR is a name of `converter rates list`, such as ETH-BTC; RATE is units of the second coin for one of the first.
    """
    settings = running_settings()
    name, confirmed = pair_of(*sides_of(pair)), None if rate is None else parse_amount(rate, _DECIMALS, "rate")
    operating = build_operating(settings)
    require_redis(settings)
    state = operating.confirm(name, confirmed)
    facts = pair_facts(name, state, datetime.now(UTC))
    if as_json:
        print_json(facts)
    else:
        console.print(f"{name}: confirmed at {facts['last']}, not held", highlight=False, soft_wrap=True)


def _row(facts: dict[str, Any], now: datetime) -> list[Any]:
    held = facts["hold"]
    accepted = facts["acceptedAt"]
    return [
        facts["pair"],
        short(facts["last"]),
        short(facts["average"]),
        ago(datetime.fromisoformat(accepted), now) if accepted else "",
        f"{short(Decimal(facts['tolerance']) * 100)} %",
        f"{held['code']}, {ago(datetime.fromisoformat(held['since']), now)}" if held else "",
    ]
