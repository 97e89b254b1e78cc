"""The chain of a conversion: chord( group(rates.query …), rates.select ), then conversions.execute."""

from __future__ import annotations

from typing import Any

from celery import chain, chord

from converter.planning import Plan
from workers.app import app


def ask_and_execute(plan: Plan) -> Any:
    """Signature of a round: ask in parallel, choose from the ledger, execute what was chosen."""
    queries = [
        app.signature("rates.query", args=(plan.conversion_id, plan.round, list(group)), queue="rates")
        for group in plan.groups
    ]
    return chain(chord(queries, _select(plan.conversion_id, plan.round)), _execute(plan.conversion_id))


def choose_and_execute(conversion_id: str, asked_round: int) -> Any:
    """Signature for a round whose chord was lost with its worker: the quotes are in the ledger."""
    select = _select(conversion_id, asked_round).clone(args=([],))
    return chain(select, _execute(conversion_id))


def _select(conversion_id: str, asked_round: int) -> Any:
    return app.signature("rates.select", args=(conversion_id, asked_round))


def _execute(conversion_id: str) -> Any:
    return app.signature("conversions.execute", args=(conversion_id,), immutable=True)
