"""What is remembered of a pair's rate: a witness for judging quotes and an estimate to show, never a price to use.

Distances are natural logarithms, so that twice and half are equally far.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from functools import lru_cache

USABLE = timedelta(minutes=30)
HALF_LIFE = timedelta(minutes=10)
RETURN_OVER = timedelta(seconds=30)
"""The volatility is that of the return over this time."""
JUMP = Decimal("0.10")
MIN_TOLERANCE, MAX_TOLERANCE = Decimal("0.02"), Decimal("0.05")
SIGMAS = 4

_LOGS = Context(prec=28)
_LN2 = _LOGS.ln(Decimal(2))


@dataclass(frozen=True)
class History:
    """What the rates that were accepted for a pair amount to."""

    average: Decimal
    """Weighted by time, half of it from the last ten minutes."""
    last: Decimal
    updated_at: datetime
    variance: Decimal
    """Of the logarithmic return over 30 s."""
    mark: Decimal
    marked_at: datetime
    """The rate that the next return is counted from."""

    def is_usable(self, now: datetime) -> bool:
        """Whether it is recent enough to be a witness; older, it is only an estimate to show."""
        return now - self.updated_at <= USABLE


def tolerance(history: History | None) -> Decimal:
    """How far from the reference a quote may be: four standard deviations, at least 2 %, at most 5 %."""
    sigmas = SIGMAS * _LOGS.sqrt(history.variance) if history is not None else Decimal(0)
    return min(max(sigmas, MIN_TOLERANCE), MAX_TOLERANCE)


def accept(history: History | None, rate: Decimal, now: datetime) -> History:
    """History with another accepted rate. After a confirmed jump the average starts anew where the market is."""
    if history is None:
        return History(rate, rate, now, Decimal(0), rate, now)
    average, variance, mark, marked_at = history.average, history.variance, history.mark, history.marked_at
    jumped = abs(log_ratio(rate, average)) > JUMP
    average = rate if jumped else _moved(average, rate, now - history.updated_at)
    since = now - marked_at
    if since >= RETURN_OVER:  # more often, the change from one set of services to the next would pass for volatility
        squared = _LOGS.power(log_ratio(rate, mark), 2)
        over_30_s = _LOGS.divide(_LOGS.multiply(squared, _seconds(RETURN_OVER)), _seconds(since))
        variance, mark, marked_at = _moved(variance, over_30_s, since), rate, now
    return History(average, rate, max(now, history.updated_at), variance, mark, marked_at)


@lru_cache(maxsize=64)  # a round asks for the same distances several times, and logarithms are what judging costs
def log_ratio(rate: Decimal, reference: Decimal) -> Decimal:
    """The distance between two rates: 0 equal, positive when `rate` is the better one."""
    return _LOGS.ln(_LOGS.divide(rate, reference))


def midpoint(low: Decimal, high: Decimal) -> Decimal:
    """Half way between two rates."""
    return low if low == high else _LOGS.divide(_LOGS.add(low, high), Decimal(2))


def _moved(old: Decimal, new: Decimal, elapsed: timedelta) -> Decimal:
    """An average after a new value; the longer ago the last one came, the more it counts."""
    halves = _LOGS.divide(max(_seconds(elapsed), Decimal(0)), _seconds(HALF_LIFE))
    share = _LOGS.subtract(Decimal(1), _LOGS.exp(-_LOGS.multiply(halves, _LN2)))
    return _LOGS.add(old, _LOGS.multiply(share, _LOGS.subtract(new, old)))


def _seconds(duration: timedelta) -> Decimal:
    return Decimal(duration // timedelta(microseconds=1)).scaleb(-6)
