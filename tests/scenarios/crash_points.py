"""The twenty points at which a process is killed (-9), and the conversions that are caught there.

The worker dies four times, each time with all conversions of that wave at their points; the last two times it empties
Redis (FLUSHALL) with its last breath. A conversion may be caught again in the next wave, at what follows its first
death. All of them share one system, and go on beside one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DYING, DYING_NEXT, FLUSHING, FLUSHING_NEXT = WAVES = range(4)
FLUSHED = (FLUSHING, FLUSHING_NEXT)


@dataclass(frozen=True, eq=False)
class Play:
    """A conversion of an amount to BTC at one service: where it is caught, by wave."""

    service_id: str
    deaths: Mapping[int, str]
    coin: str = "ETH"
    amount: str = "0.5"

    @property
    def name(self) -> str:
        """Its service and its points."""
        return f"{self.service_id}: {', then '.join(self.deaths.values())}"


@dataclass(frozen=True, eq=False)
class Point:
    """A crash point: its number, what it is, and who dies there; or the tests that play it elsewhere."""

    number: int
    what: str
    plays: tuple[Play, ...] = ()
    process: str = "worker"
    elsewhere: tuple[str, ...] = ()


def dying(service_id: str, *points: str) -> Play:
    """Caught at the first point, and at the second by the worker that comes after."""
    return Play(service_id, dict(zip((DYING, DYING_NEXT), points, strict=False)))


def flushing(service_id: str, *points: str) -> Play:
    """The same, and each time Redis is emptied."""
    return Play(service_id, dict(zip(FLUSHED, points, strict=False)))


# Deposit swaps: changenow, simpleswap; exchanges: binance, kraken; approvals: btcpay_lightning, coingate, coinpayments.
# What never left is proven only after minutes where it is a withdrawal, an order at kraken or an approval at coingate,
# and not at all where it is one at coinpayments: those are played on a given clock, in tests/app.
POINTS = (
    Point(1, "after a request was accepted, before it is inserted", process="client"),
    Point(2, "after the insert, before the task is sent", process="client"),
    Point(3, "with the task in hand, not acknowledged", (dying("coingate", "message in hand"),)),
    Point(4, "after the claim", (dying("btcpay_lightning", "claimed"), dying("binance", "claimed"))),
    Point(5, "after the quotes, before one is chosen", (dying("changenow", "quotes in"),)),
    Point(6, "after the breaker gave leave", (dying("changenow", "admitted"),)),
    Point(7, "after the limits counted the call", (dying("btcpay_lightning", "charged"),)),
    Point(
        8,
        "after PREPARED is committed, before anything is sent",
        (
            dying("changenow", "prepared order"),
            dying("changenow", "prepared deposit"),
            dying("binance", "prepared order"),
            dying("btcpay_lightning", "prepared order"),
            dying("btcpay_lightning", "prepared approval"),
        ),
    ),
    Point(
        9,
        "with half of the request written",
        (
            dying("changenow", "half written order"),
            dying("changenow", "half written deposit"),
            dying("binance", "half written order"),
            dying("btcpay_lightning", "half written approval"),
        ),
    ),
    Point(
        10,
        "executed by the service, the answer on its way",
        (
            dying("changenow", "answer on its way deposit"),
            dying("binance", "answer on its way order"),
            dying("binance", "answer on its way withdrawal"),
            dying("btcpay_lightning", "answer on its way approval"),
            dying("coingate", "answer on its way approval"),
        ),
    ),
    Point(
        11,
        "with the answer read, before it is recorded",
        (
            dying("changenow", "answer read deposit"),
            dying("binance", "answer read order"),
            dying("binance", "answer read withdrawal"),
            dying("btcpay_lightning", "answer read approval"),
            dying("coingate", "answer read approval"),
        ),
    ),
    Point(
        12,
        "with the record committed, before anything follows from it",
        (
            dying("changenow", "committed deposit"),
            dying("binance", "committed order"),
            dying("btcpay_lightning", "committed approval"),
        ),
    ),
    Point(13, "between EXECUTED and the end of its transaction", (Play("binance", {DYING_NEXT: "recording order"}),)),
    Point(14, "with an event committed, before anybody read it", (dying("btcpay_lightning", "told"),)),
    Point(15, "a follower, after it was told, before it noted how far it read", process="client"),
    Point(
        16,
        "during the look-up of a doubtful operation",
        (
            dying("changenow", "answer on its way order", "looking up"),
            dying("binance", "answer on its way order", "looking up"),
            dying("btcpay_lightning", "answer on its way approval", "looking up"),
        ),
    ),
    Point(
        17,
        "while keys are replaced",
        (
            Play("simpleswap", {DYING_NEXT: "prepared deposit"}, "RVN", "60000"),
            Play("kraken", {DYING_NEXT: "answer on its way order"}),
            Play("coinpayments", {DYING_NEXT: "answer on its way approval"}),
        ),
    ),
    Point(18, "beat, between a tick and its task", process="beat"),
    Point(
        19,
        "Redis emptied at the moment of the death",
        (
            flushing("changenow", "claimed"),
            flushing("changenow", "prepared deposit", "looking up"),
            flushing("binance", "answer read order", "looking up"),
            flushing("btcpay_lightning", "prepared approval", "looking up"),
            flushing("coingate", "answer read approval"),
        ),
    ),
    Point(
        20,
        "the ledger's server lost after PREPARED",
        process="ledger",
        elsewhere=("tests/scenarios/test_ledger_loss.py",),
    ),
)

PLAYS = tuple(play for point in POINTS for play in point.plays)
SERVICES = tuple(sorted({play.service_id for play in PLAYS}))
REKEYED = {play: play.service_id for point in POINTS if point.number == 17 for play in point.plays}
"""Whose services nobody else uses: their keys are replaced while the worker is dead."""
