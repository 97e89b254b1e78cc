"""Strikes against a service, and the quarantine that follows when they persist.

Quarantine is a state of its own and not the breaker's: the service answers well, but what it says cannot be used. While
it lasts the service is asked for show (shadow quotes); it ends when its time is over and the last of them lay in the
band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from converter.domain.anomalies import ANOMALOUS, Code, Verdict
from converter.domain.money import EXACT

STRIKES, STRIKES_WITHIN = 3, timedelta(minutes=15)
STRIKES_APART = timedelta(seconds=30)
"""Strikes closer together are one: a busy second is not persistence."""
SHORTFALLS, SHORTFALLS_WITHIN = 3, timedelta(days=1)
PROMISE_KEPT = Decimal("0.98")
"""The share of the promised net that must arrive."""
FIRST_TERM, LONGEST_TERM = timedelta(minutes=15), timedelta(hours=4)
SHADOWS = 5
"""In-band shadow quotes in a row that lift a quarantine."""
SHADOW_EVERY = timedelta(seconds=30)
OPERATOR_AFTER, OPERATOR_WITHIN = 3, timedelta(days=1)
"""So many quarantines within this time, and only an operator lifts the last."""
GOOD_AGAIN = timedelta(days=1)
"""So long after a quarantine without another, the next one is short again."""

STRUCK = "rate.strike"
SLIPPED = "rate.slippage"
QUARANTINED = "rate.quarantine"
NEEDS_OPERATOR = "rate.operator"
LIFTED = "rate.lifted"


@dataclass(frozen=True)
class Standing:
    """How a service stands. `until` is set while it is in quarantine, and may pass without its being lifted."""

    strikes: tuple[datetime, ...] = ()
    shortfalls: tuple[datetime, ...] = ()
    quarantines: tuple[datetime, ...] = ()
    """When the last ones began, oldest first."""
    repeats: int = 0
    """How often the next term is doubled."""
    until: datetime | None = None
    shadows: int = 0
    needs_operator: bool = False
    lifted_at: datetime | None = None

    @property
    def is_quarantined(self) -> bool:
        """Whether its quotes may not be used."""
        return self.until is not None


@dataclass(frozen=True)
class Change:
    """A standing after something happened, and what an operator should hear of it."""

    standing: Standing
    alerts: tuple[str, ...] = ()


def after_verdict(standing: Standing, verdict: Verdict, now: datetime) -> Change:
    """The standing after a judged quote."""
    if standing.is_quarantined:
        return _after_shadow(standing, verdict.code, now)
    if not verdict.strike:
        return Change(standing)
    if standing.strikes and now - standing.strikes[-1] < STRIKES_APART:
        return Change(standing)
    return _struck(standing, now, STRUCK)


def after_settlement(standing: Standing, promised: Decimal, realised: Decimal, now: datetime) -> Change:
    """The standing after a conversion came to its end: a service that pays out less than it promised is struck."""
    if realised >= EXACT.multiply(promised, PROMISE_KEPT):
        return Change(standing)
    shortfalls = (*_recent(standing.shortfalls, SHORTFALLS_WITHIN, now), now)[-SHORTFALLS:]
    standing = replace(standing, shortfalls=shortfalls)
    if standing.is_quarantined:
        return Change(standing, (SLIPPED,))
    if len(shortfalls) >= SHORTFALLS:
        return _quarantined(standing, now, SLIPPED)
    return _struck(standing, now, SLIPPED)


def lift(standing: Standing, now: datetime) -> Change:
    """An operator's word, or five good shadow quotes, end a quarantine; the next one remembers it."""
    if not standing.is_quarantined:
        return Change(standing)
    free = replace(standing, strikes=(), shortfalls=(), until=None, shadows=0, needs_operator=False, lifted_at=now)
    return Change(free, (LIFTED,))


def _after_shadow(standing: Standing, code: Code, now: datetime) -> Change:
    """A quote out of the band begins the row anew; one that says nothing about the rate leaves it as it is."""
    if code in ANOMALOUS or code in (Code.MALFORMED, Code.UNCOMPETITIVE):
        return Change(replace(standing, shadows=0))
    if code is not Code.SHADOW:
        return Change(standing)
    standing = replace(standing, shadows=min(standing.shadows + 1, SHADOWS))
    over = standing.until is not None and now >= standing.until
    if over and standing.shadows >= SHADOWS and not standing.needs_operator:
        return lift(standing, now)
    return Change(standing)


def _struck(standing: Standing, now: datetime, alert: str) -> Change:
    strikes = (*_recent(standing.strikes, STRIKES_WITHIN, now), now)[-STRIKES:]
    struck = replace(standing, strikes=strikes)
    return _quarantined(struck, now, alert) if len(strikes) >= STRIKES else Change(struck, (alert,))


def _quarantined(standing: Standing, now: datetime, alert: str) -> Change:
    good_again = standing.lifted_at is not None and now - standing.lifted_at >= GOOD_AGAIN
    repeats = 0 if good_again else standing.repeats
    began = (*_recent(standing.quarantines, OPERATOR_WITHIN, now), now)[-OPERATOR_AFTER:]
    needs_operator = len(began) >= OPERATOR_AFTER
    out = Standing(
        quarantines=began,
        repeats=repeats + 1,
        until=now + min(FIRST_TERM * 2 ** min(repeats, 8), LONGEST_TERM),
        needs_operator=needs_operator,
        lifted_at=standing.lifted_at,
    )
    return Change(out, (alert, QUARANTINED, NEEDS_OPERATOR) if needs_operator else (alert, QUARANTINED))


def _recent(moments: tuple[datetime, ...], within: timedelta, now: datetime) -> tuple[datetime, ...]:
    return tuple(one for one in moments if now - one < within)
