"""What a simulated system is made of (mixes of services) and how bad its day is (profiles of faults)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from converter.domain.orders import OperationKind, OperationRule
from tests.builders import seconds

ORDER, APPROVAL, DEPOSIT = OperationKind.ORDER, OperationKind.APPROVAL, OperationKind.DEPOSIT
TRADE, WITHDRAWAL = OperationKind.TRADE, OperationKind.WITHDRAWAL


@dataclass(frozen=True)
class Kind:
    """A kind of service: what it commits on, what it declares, and how many trades its orders take."""

    commits_on: OperationKind
    rules: Mapping[OperationKind, OperationRule]
    legs: int = 1
    withdraws: bool = True
    """Whether an order that moves money still needs our withdrawal."""


_BOOKED = OperationRule(moves_money=False, quiet=seconds(5))
_TRADE = OperationRule(moves_money=True, quiet=seconds(20), absences=2)

KINDS: Mapping[str, Kind] = {
    # recognises a repeat (K1)
    "once": Kind(APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, repeat_recognised=True)}),
    "swap": Kind(DEPOSIT, {ORDER: _BOOKED, DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True)}),
    # can be looked up, and refuses late requests (K2)
    "exchange": Kind(
        ORDER,
        {ORDER: _TRADE, WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(300), absences=3)},
    ),
    "two legs": Kind(
        ORDER,
        {ORDER: _TRADE, TRADE: _TRADE, WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(60), absences=2)},
        legs=2,
    ),
    "looked up": Kind(APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, quiet=seconds(120))}),
    "soon looked up": Kind(APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True, quiet=seconds(20))}),
    # neither of the two (K3)
    "blind": Kind(APPROVAL, {ORDER: _BOOKED, APPROVAL: OperationRule(moves_money=True)}),
    "blind order": Kind(ORDER, {ORDER: OperationRule(moves_money=True)}, withdraws=False),
    "blind withdrawal": Kind(ORDER, {ORDER: _TRADE, WITHDRAWAL: OperationRule(moves_money=True)}),
}

Mix = tuple[tuple[str, int], ...]
"""Services by kind and tier."""

MIXES: Mapping[str, Mix] = {
    "K1": (("once", 1), ("once", 1), ("once", 1)),
    "K2": (("exchange", 1), ("two legs", 1), ("looked up", 1)),
    "K3": (("blind", 1), ("blind order", 1), ("blind withdrawal", 1)),
    "K1+K2": (("once", 1), ("exchange", 1), ("soon looked up", 1), ("once", 2)),
    "swaps": (("swap", 1), ("swap", 1), ("swap", 1)),
    "all": (("swap", 1), ("exchange", 1), ("once", 1), ("two legs", 2), ("looked up", 3), ("blind withdrawal", 4)),
}


@dataclass(frozen=True)
class Profile:
    """Shares of what goes wrong; times are seconds.

    Operations (whatever may move money or book an order): `refused`, half of them before anything left; `unknown`, half
    of them executed nevertheless, up to `late` after they were sent, or `very_late` for one in ten of them.
    """

    name: str
    refused: float = 0.0
    unknown: float = 0.0
    late: float = 20.0
    very_late: float = 20.0
    shown_late: float = 0.3
    """Of what a service executed: it takes as long as it may until it shows it."""
    failed_reads: float = 0.0
    failed_quotes: float = 0.0
    price_moves: float = 0.0
    refunds: float = 0.0
    holds: float = 0.0
    crash: float = 0.0
    """Of each step, as are the pauses."""
    short_pause: float = 0.0
    """A second to eight."""
    long_pause: float = 0.0
    longest_pause: float = 60.0
    twice: float = 0.0
    """Hints that are delivered twice; the second may be minutes late."""
    never: float = 0.0
    """Hints that are lost."""
    redis_lives: float | None = None
    """Mean time between losses of Redis."""
    limited: float = 0.0
    """Calls that our own limiter refuses."""


USUAL = Profile(
    "usual",
    refused=0.05,
    unknown=0.05,
    failed_reads=0.02,
    failed_quotes=0.02,
    price_moves=0.01,
    refunds=0.02,
    holds=0.01,
    crash=0.01,
    short_pause=0.01,
    long_pause=0.002,
    twice=0.05,
    never=0.01,
    redis_lives=600.0,
    limited=0.002,
)
BAD_DAY = Profile(
    "bad day",
    refused=0.2,
    unknown=0.3,
    very_late=900.0,
    failed_reads=0.5,
    failed_quotes=0.1,
    price_moves=0.03,
    refunds=0.05,
    holds=0.02,
    crash=0.05,
    short_pause=0.03,
    long_pause=0.02,
    longest_pause=600.0,
    twice=0.1,
    never=0.05,
    redis_lives=60.0,
    limited=0.01,
)
CALM = Profile("calm")
PROFILES: Mapping[str, Profile] = {one.name: one for one in (USUAL, BAD_DAY)}

TROUBLE_LASTS = timedelta(minutes=12)
"""So long after the last conversion came in, everything works again."""
EVERYTHING_ENDS = timedelta(days=2)
"""What has not come to rest so long after that never will."""
