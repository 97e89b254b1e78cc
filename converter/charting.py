"""Rates of a pair over time, as a chart shows them: who offered what, and what was excluded and why.

A rate is what is judged: units of to_coin for one of from_coin, before fixed fees, so that conversions of any amount
stand on one line with the reference.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

from converter.domain.anomalies import Code, PairState
from converter.domain.coins import assets
from converter.domain.conditions import pair_of
from converter.domain.errors import InvalidRequest
from converter.domain.money import plain
from converter.domain.quotes import Quote
from converter.domain.rate_history import tolerance
from converter.domain.rating import rate_of
from converter.ports import JudgedRow, ViewedLedger
from converter.ports.views import Sides

LIMIT, MINUTES = 2000, 24 * 60
"""At most so many quotes, from at most so many minutes."""

_SIDES = {pair_of(one, other): (one, other) for one in assets() for other in assets() if one.coin != other.coin}
PAIRS = sorted(_SIDES)
"""Names of all pairs that can be converted."""

_SHOWN = Context(prec=16, rounding=ROUND_FLOOR)


def rate_history(ledger: ViewedLedger, pair: str | None, minutes: int = 60, limit: int = 500) -> dict[str, Any]:
    """Offers for a pair as plain JSON, oldest first; the pair of the newest conversion when none is named.

    `reference` is that of the newest judged round; `code` and `text` are None before a round is chosen from. Raises
    InvalidRequest.
    """
    for field, number, most in (("minutes", minutes, MINUTES), ("limit", limit, LIMIT)):
        if not 1 <= number <= most:
            raise InvalidRequest(field, f"{number} is out of its range", f"1 to {most}")
    sides = None if pair is None else sides_of(pair)
    with ledger.view() as work:
        seen = work.views.pairs()
        sides = sides or (seen[0] if seen else None)
        since = work.now() - timedelta(minutes=minutes)
        found = [] if sides is None else work.views.quoted(sides, since, limit)
    return {
        "pair": None if sides is None else pair_of(*sides),
        "pairs": sorted({pair_of(*one) for one in seen}),
        "quotes": [_quote(one, quote) for one in reversed(found) if (quote := one.row.quote) is not None],
        "reference": next((told for one in found if (told := one.judgement.get("reference"))), None),
    }


def sides_of(pair: str) -> Sides:
    """The sides of a pair by its name, such as ETH-BTC. Raises InvalidRequest for one that cannot be converted."""
    if pair.upper() not in _SIDES:
        raise InvalidRequest("pair", f"unknown pair {pair[:60]!r}", "such as ETH-BTC or USDT.TRX-BTC.LIGHTNING")
    return _SIDES[pair.upper()]


def pair_facts(name: str, state: PairState, now: datetime) -> dict[str, Any]:
    """What is remembered of a pair. `age` in ms since a rate was last accepted; `tolerance`: the share that applies."""
    history, hold = state.history, state.hold
    usable = history is not None and history.is_usable(now)
    return {
        "pair": name,
        "last": _figure(history.last) if history else None,
        "average": _figure(history.average) if history else None,
        "acceptedAt": history.updated_at.isoformat() if history else None,
        "age": round((now - history.updated_at).total_seconds() * 1000) if history else None,
        "usable": usable,
        "tolerance": plain(tolerance(history if usable else None)),
        "hold": None
        if hold is None
        else {"code": str(hold.code), "since": hold.since.isoformat(), "rate": _figure(hold.rate)},
    }


def _quote(one: JudgedRow, quote: Quote) -> dict[str, Any]:
    row = one.row
    verdict = one.judgement.get("verdicts", {}).get(row.service_id, {})
    code = verdict.get("code")
    return {
        "at": row.asked_at.isoformat(),
        "service": row.service_id,
        "rate": plain(_SHOWN.create_decimal(rate_of(quote))),
        "net": plain(quote.net),
        "excluded": code is not None and code != Code.ACCEPTED,
        "code": code,
        "text": verdict.get("text") or None,
        "round": row.round,
        "conversionId": row.conversion_id,
    }


def _figure(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
