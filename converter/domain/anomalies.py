"""Judging rates: is this quote like the others, and is the market where it was a moment ago?

A rate is judged before fixed fees (`rate_of`): those weigh more on small amounts, and history would not fit the next
conversion. What is accepted feeds history; the reference does not, for history may be a part of it. Nobody gets a
strike unless two live quotes agree on the reference, for a service that stands still agrees with history too; only a
slip is plain enough without. A round that is held strikes nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum

from converter.domain.money import MAX_DIGITS, plain
from converter.domain.rate_history import JUMP, MAX_TOLERANCE, History, accept, log_ratio, midpoint, tolerance

FRESH = timedelta(seconds=15)
"""How old a quote may be."""
SLIP = Decimal(5)
"""A rate this many times above or below the last accepted one is a slip of the decimal point or upside down."""
AGREEING, AGREEMENT = 3, Decimal("0.01")
"""A jump of the reference is believed when so many quotes are this close to it."""
WITNESSES = 2
HOLD_ASKS_AGAIN, HOLD_ALERTS = timedelta(seconds=30), timedelta(minutes=2)

_LOW = Context(prec=20, rounding=ROUND_FLOOR)


class Code(StrEnum):
    """What became of a quote."""

    ACCEPTED = "accepted"
    SHADOW = "shadow"
    """In the band, but its service is in quarantine."""
    HELD = "held"
    """Nothing is wrong with it, but the pair is held."""
    MALFORMED = "malformed"
    STALE = "stale"
    EXPIRED = "expired"
    SLIP = "slip"
    TOO_GOOD = "too_good"
    UNCOMPETITIVE = "uncompetitive"
    TOO_BAD = "too_bad"


ANOMALOUS = frozenset({Code.SLIP, Code.TOO_GOOD, Code.TOO_BAD})


class HoldCode(StrEnum):
    """Why a pair is held."""

    JUMP = "jump"
    NO_AGREEMENT = "no_agreement"
    UNVERIFIED = "unverified"


@dataclass(frozen=True)
class RatedQuote:
    """A quote as it is judged: `rate` is units of to_coin for one of from_coin."""

    service_id: str
    rate: Decimal
    asked_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Hold:
    """A pair that nobody may convert until its rate is confirmed. `rate` is what the quotes say, to show."""

    code: HoldCode
    since: datetime
    rate: Decimal | None

    def is_due(self, stage: timedelta, now: datetime) -> bool:
        """Whether it has stood so long, such as `HOLD_ALERTS`."""
        return now - self.since >= stage


@dataclass(frozen=True)
class PairState:
    """What is remembered of a pair from round to round."""

    history: History | None = None
    hold: Hold | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one quote, why, and whether it counts against its service."""

    service_id: str
    code: Code
    text: str
    strike: bool = False


@dataclass(frozen=True)
class Judgement:
    """A judged round. `state` is what to remember of the pair from now on."""

    verdicts: tuple[Verdict, ...]
    reference: Decimal | None
    tolerance: Decimal
    state: PairState

    @property
    def accepted(self) -> frozenset[str]:
        """The services whose quotes may be chosen."""
        return frozenset(one.service_id for one in self.verdicts if one.code is Code.ACCEPTED)


def judge(
    quotes: Sequence[RatedQuote],
    state: PairState,
    quarantined: Collection[str],
    now: datetime,
    *,
    allow_unverified: bool = False,
) -> Judgement:
    """Judge a round of quotes for one pair, one quote of each service.

    Quarantined services are judged but have no vote. `allow_unverified` lets a lone quote pass that neither another
    service nor history can confirm.
    """
    history = state.history if state.history is not None and state.history.is_usable(now) else None
    width = tolerance(history)
    refused = {one.service_id: found for one in quotes if (found := _refusal(one, history, now))}
    rates = {one.service_id: one.rate for one in quotes if one.service_id not in refused}
    voters = [rate for service_id, rate in rates.items() if service_id not in quarantined]
    reference = _reference(voters, history)
    if voters and reference is not None:
        code = _doubt(voters, history, reference, state.hold)
        code = None if allow_unverified and _is_only_unverified(code, state.hold) else code
    elif any(refused[one][0] is Code.SLIP for one in refused.keys() - set(quarantined)):
        code = HoldCode.JUMP
    else:
        code = None if state.hold is None else state.hold.code
    hold = None if code is None else _held(state.hold, code, _median(voters) if voters else None, now)
    witnessed = hold is None and reference is not None and _near(voters, reference, width) >= WITNESSES
    verdicts = []
    for one in quotes:
        outcome = refused.get(one.service_id) or _place(one.rate, reference, width)
        shadow = one.service_id in quarantined
        verdicts.append(_verdict(one.service_id, outcome, hold, shadow=shadow, witnessed=witnessed))
    if hold is None and all(one.code is not Code.ACCEPTED for one in verdicts):
        # Nobody is better: what is only uncompetitive lies at most 5 % below, and is taken rather than nothing.
        verdicts = [replace(one, code=Code.ACCEPTED) if _will_do(one, quarantined) else one for one in verdicts]
    learned = [rates[one.service_id] for one in verdicts if one.code is Code.ACCEPTED]
    known = accept(history, _median(learned), now) if learned else state.history
    return Judgement(tuple(verdicts), reference, width, PairState(known, hold))


def confirm(state: PairState, rate: Decimal | None, now: datetime) -> PairState:
    """An operator's word that the market is at `rate`, or where the quotes of the held pair say when it is None.

    It ends the hold and begins history anew there: a witness for the next round, not a price.
    """
    if rate is None:
        rate = None if state.hold is None else state.hold.rate
    if rate is None:
        return state
    known = accept(None, rate, now)
    return PairState(known if state.history is None else replace(known, variance=state.history.variance))


def _refusal(quote: RatedQuote, history: History | None, now: datetime) -> tuple[Code, str] | None:
    if not quote.rate.is_finite() or quote.rate <= 0 or abs(quote.rate.adjusted()) > MAX_DIGITS:
        return Code.MALFORMED, f"{quote.rate} is no rate"
    if abs(now - quote.asked_at) > FRESH:
        return Code.STALE, f"asked {(now - quote.asked_at).total_seconds():.0f} s ago"
    if quote.expires_at is not None and now >= quote.expires_at:
        return Code.EXPIRED, "expired"
    if history is not None and not history.last <= quote.rate * SLIP <= history.last * SLIP * SLIP:
        return Code.SLIP, f"far from the last accepted rate, {plain(history.last)}"
    return None


def _reference(rates: Sequence[Decimal], history: History | None) -> Decimal | None:
    """The median; an even number of quotes takes history as a further voter. One quote has only history beside it.

    Of two that contradict each other the one near history survives, for two must agree with what this returns.
    """
    known = history.average if history is not None else None
    if len(rates) < 2:
        return known if known is not None else next(iter(rates), None)
    return _median([*rates, known] if known is not None and len(rates) % 2 == 0 else rates)


def _median(rates: Sequence[Decimal]) -> Decimal:
    return midpoint(*_middle(rates))


def _middle(rates: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """The two in the middle; twice the same one when the number is odd."""
    ordered = sorted(rates)
    return ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]


def _doubt(
    rates: Sequence[Decimal], history: History | None, reference: Decimal, before: Hold | None
) -> HoldCode | None:
    """Why this reference is not to be trusted, None when it is."""
    width = tolerance(history)
    known = [history.average] if history is not None else []
    low, high = _middle(rates)
    if known and len(rates) == 1 and not _is_within(rates[0], reference, width) and _is_bearable(rates[0], reference):
        return None  # a little worse than it was: for want of a better one it will do
    if not known and len(rates) > 1 and log_ratio(high, low) > width:
        return HoldCode.NO_AGREEMENT  # two halves contradict each other, and nothing says which is right
    if _near([*rates, *known], reference, width) < WITNESSES:
        return HoldCode.UNVERIFIED if len(rates) == 1 and not known else HoldCode.NO_AGREEMENT
    if _near(rates, reference, AGREEMENT) >= AGREEING:
        return None
    if history is not None:
        return HoldCode.JUMP if abs(log_ratio(reference, history.average)) > JUMP else None
    # history grew too old while the pair was held: that alone does not make the new rate true
    return HoldCode.JUMP if before is not None and before.code is HoldCode.JUMP else None


def _is_only_unverified(code: HoldCode | None, before: Hold | None) -> bool:
    """A hold of another kind does not end because history grew too old to contradict."""
    return code is HoldCode.UNVERIFIED and (before is None or before.code is HoldCode.UNVERIFIED)


def _held(before: Hold | None, code: HoldCode, rate: Decimal | None, now: datetime) -> Hold:
    """The hold after a doubtful round. A jump stays a jump until it is confirmed or gone."""
    if before is None:
        return Hold(code, now, rate)
    stays = before.code if before.code is HoldCode.JUMP or code is HoldCode.UNVERIFIED else code
    return replace(before, code=stays, rate=before.rate if rate is None else rate)


def _place(rate: Decimal, reference: Decimal | None, width: Decimal) -> tuple[Code, str]:
    """Where a rate lies. Too good is the dangerous side: it would draw all conversions to itself."""
    if reference is None:
        return Code.HELD, "nothing to compare it with"
    distance = log_ratio(rate, reference)
    text = (
        f"{abs(distance) * 100:.2f} % {'above' if distance > 0 else 'below'} the reference, {width * 100:.2f} allowed"
    )
    if _is_within(rate, reference, width):
        return Code.ACCEPTED, text
    if distance > 0:
        return Code.TOO_GOOD, text
    return (Code.UNCOMPETITIVE if _is_bearable(rate, reference) else Code.TOO_BAD), text


def _is_within(rate: Decimal, reference: Decimal, width: Decimal) -> bool:
    """Whether a rate is at most this share below the reference, bound included, and not too far above it."""
    return rate >= _LOW.multiply(reference, 1 - width) and log_ratio(rate, reference) <= width


def _is_bearable(rate: Decimal, reference: Decimal) -> bool:
    """Whether a rate below the reference is not too bad, if there is no better one."""
    return rate < reference and _is_within(rate, reference, MAX_TOLERANCE)


def _will_do(verdict: Verdict, quarantined: Collection[str]) -> bool:
    return verdict.code is Code.UNCOMPETITIVE and verdict.service_id not in quarantined


def _verdict(
    service_id: str, outcome: tuple[Code, str], hold: Hold | None, *, shadow: bool, witnessed: bool
) -> Verdict:
    code, text = outcome
    if code is Code.ACCEPTED and hold is not None:
        return Verdict(service_id, Code.HELD, f"the pair is held: {hold.code}")
    if code is Code.ACCEPTED and shadow:
        return Verdict(service_id, Code.SHADOW, "in quarantine")
    strike = code in ANOMALOUS and hold is None and not shadow and (witnessed or code is Code.SLIP)
    return Verdict(service_id, code, text, strike)


def _near(rates: Sequence[Decimal], reference: Decimal, width: Decimal) -> int:
    """How many of these rates agree with the reference."""
    return sum(_is_within(rate, reference, width) for rate in rates)
