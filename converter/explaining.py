"""Tells of one conversion why it went where it went: who was asked, what became of each quote, what was attempted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

from converter.domain.anomalies import Code
from converter.domain.conversions import Attempt, Conversion
from converter.domain.explaining import Round
from converter.domain.money import EXACT, plain
from converter.domain.quotes import QuoteRow
from converter.ports import Ledger

_RATE = Context(prec=16, rounding=ROUND_FLOOR)
_PER_CENT = Context(prec=6)
_MILLISECOND = timedelta(milliseconds=1)


def explain(ledger: Ledger, conversion_id: str) -> dict[str, Any]:
    """The explain record as plain JSON. Amounts and shares are text, ages in ms. Raises ConversionNotFound.

    `rounds` is empty for a conversion from before rounds were recorded; its attempts are in `earlierAttempts`.
    `difference` is what arrived against what was promised, in per cent; None where one of them is unknown.
    """
    with ledger.begin() as work:
        conversion = work.conversions.get(conversion_id)
        rounds = work.rounds.of(conversion_id)
        answers = [work.quotes.of_round(conversion_id, one.number) for one in rounds]
        attempts = work.attempts.of(conversion_id)
    placed = _by_round(rounds, attempts)
    return {
        **_request(conversion),
        "earlierAttempts": placed[0],
        "rounds": [
            {**_round(one, rows), "attempts": made} for one, rows, made in zip(rounds, answers, placed[1:], strict=True)
        ],
        "promised": _amount(conversion.promised),
        "delivered": _amount(conversion.delivered),
        "difference": _difference(conversion.promised, conversion.delivered),
    }


def _request(conversion: Conversion) -> dict[str, Any]:
    request = conversion.request
    return {
        "id": conversion.id,
        "state": str(conversion.state),
        "fromCoin": request.from_asset.coin,
        "fromNetwork": request.from_asset.network,
        "toCoin": request.to_asset.coin,
        "toNetwork": request.to_asset.network,
        "amount": plain(request.amount),
        "address": request.address,
        "service": conversion.service_id,
        "reason": conversion.reason or None,
        "round": conversion.round,
        "failovers": conversion.failovers,
        "txid": conversion.txid or None,
        "createdAt": conversion.created_at.isoformat(),
        "completedAt": _moment(conversion.completed_at),
    }


def _by_round(rounds: Sequence[Round], attempts: Sequence[Attempt]) -> list[list[dict[str, Any]]]:
    """Attempts by the round in which they began; the first list holds those from before any recorded round."""
    openings = [one.opened_at for one in rounds]
    placed: list[list[dict[str, Any]]] = [[] for _ in range(len(rounds) + 1)]
    for one in attempts:
        placed[bisect_right(openings, one.created_at)].append(_attempt(one))
    return placed


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "service": attempt.service_id,
        "promised": plain(attempt.promised),
        "state": str(attempt.state),
        "error": attempt.error or None,
        "createdAt": attempt.created_at.isoformat(),
    }


def _round(one: Round, rows: Sequence[QuoteRow]) -> dict[str, Any]:
    told = one.judgement
    return {
        "number": one.number,
        "openedAt": one.opened_at.isoformat(),
        "judgedAt": _moment(one.judged_at),
        "judged": one.judged_at is not None,
        "services": [dict(seat) for seat in one.seats],
        "quotes": [_quote(row, told, one.judged_at) for row in rows],
        **{name: told.get(name) for name in ("reference", "tolerance", "hold", "bestNet", "maxRateDifference")},
        "why": told.get("why") or None,
    }


def _quote(row: QuoteRow, told: Mapping[str, Any], judged_at: datetime | None) -> dict[str, Any]:
    """A service's answer; its figures are None where it made no offer, `code` and `inBand` before it is judged."""
    quote = row.quote
    verdict = told.get("verdicts", {}).get(row.service_id, {})
    code = verdict.get("code")
    return {
        "service": row.service_id,
        "gross": _amount(quote.gross) if quote else None,
        "fees": [{"kind": fee.kind, "amount": plain(fee.amount)} for fee in quote.fees] if quote else [],
        "net": _amount(quote.net) if quote else None,
        "rate": plain(_RATE.divide(quote.net, quote.request.amount)) if quote else None,
        "firm": quote.firm if quote else None,
        "age": (judged_at - row.asked_at) // _MILLISECOND if judged_at is not None else None,
        "ms": row.elapsed_ms,
        "late": row.late,
        "code": code,
        "text": verdict.get("text") or None,
        "inBand": None if judged_at is None else code == Code.ACCEPTED and _in_band(row, told),
        "rank": row.rank,
        "error": row.error or None,
    }


def _in_band(row: QuoteRow, told: Mapping[str, Any]) -> bool:
    """Whether its net is at most `maxRateDifference` (a share) below the best one, bound included."""
    if row.quote is None or told.get("bestNet") is None:
        return False
    share = EXACT.subtract(Decimal(1), Decimal(told["maxRateDifference"]))
    return row.quote.net >= EXACT.multiply(share, Decimal(told["bestNet"]))


def _difference(promised: Decimal | None, delivered: Decimal | None) -> str | None:
    """Six figures that count, so that no difference looks like none."""
    if not promised or delivered is None:
        return None
    share = _PER_CENT.divide(EXACT.subtract(delivered, promised), promised)
    return plain(share.scaleb(2)) if share else "0"


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
