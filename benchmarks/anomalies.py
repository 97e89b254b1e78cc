"""How well rates are judged, on a simulated market: honest quotes excluded, wrong ones caught.

The market: 80 % yearly volatility with fat tails (Student's t with three degrees of freedom, second by second), a
round of quotes every 30 s. Honest services keep 0, 0.4 and 0.8 % of the rate, see a price that is up to 15 s old (older
quotes are not judged at all) and add noise of 0.07 %. In a faulty round one service, drawn at random, is wrong; every
round is judged once honest and once with each fault, and only the honest judgement is remembered. A stale quote is one
of the latest moment at which the price differed by 3 %; left behind is who stands still while the market, history
included, has only just moved by 3 %, the hard case for two quotes.

python benchmarks/anomalies.py               # 20,000 rounds with three quotes, 4,000 otherwise
python benchmarks/anomalies.py 2000 --seed 8 --json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from converter.domain.anomalies import Code, PairState, RatedQuote, judge
from converter.domain.quarantine import Standing, after_verdict

SEED = 7
YEARLY = 0.8
SPREADS = (0.0, 0.004, 0.008)
NOISE = 0.0007
ROUND = 30
OLDEST = 15
STALE_BY = 0.03
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = 365 * 86400.0
WARM_UP = 40
"""Rounds before the first that counts: history and volatility need some."""
IN_THE_BAND = {Code.ACCEPTED, Code.HELD}


@dataclass
class Market:
    """A walk of the logarithm of the mid price; the same for the same chance."""

    chance: Random
    volatility: float
    seconds: list[float] = field(default_factory=lambda: [math.log(0.0652)] * (OLDEST + 1))
    """The last few prices, newest last."""
    marks: list[float] = field(default_factory=list)
    """The price at each round."""

    def advance(self) -> None:
        """Walk on to the next round."""
        scale = self.volatility / math.sqrt(YEAR) / math.sqrt(3)  # a t with three degrees has a variance of three
        for _ in range(ROUND):
            shock = self.chance.gauss(0, 1) / math.sqrt(self.chance.gammavariate(1.5, 2) / 3)
            self.seconds.append(self.seconds[-1] + scale * shock)
        del self.seconds[: -OLDEST - 1]
        self.marks.append(self.seconds[-1])

    def quotes(self, services: int) -> list[float]:
        """What honest services say now, as logarithms."""
        return [
            self.seconds[-1 - self.chance.randint(0, OLDEST)] + math.log(1 - spread) + self.chance.gauss(0, NOISE)
            for spread in SPREADS[:services]
        ]

    def staleness(self) -> float | None:
        """How far off the latest price is that differs from the present one by 3 %; None before there is one."""
        present = self.marks[-1]
        return next((old - present for old in reversed(self.marks) if abs(old - present) >= STALE_BY), None)


Fault = Callable[[Random, Market], tuple[float, float] | None]
"""How far the wrong one is off, and how far the others move; None when this market does not offer it yet."""


def stale(_chance: Random, market: Market) -> tuple[float, float] | None:
    """Frozen some time ago."""
    off = market.staleness()
    return None if off is None else (off, 0.0)


FAULTS: dict[str, Fault] = {
    "plus_3": lambda _chance, _market: (math.log(1.03), 0.0),
    "plus_minus_4": lambda chance, _market: (math.log(chance.choice((1.04, 0.96))), 0.0),
    "stale_by_3": stale,
    "left_behind_by_3": lambda chance, _market: (0.0, chance.choice((-STALE_BY, STALE_BY))),
    "times_or_by_10": lambda chance, _market: (chance.choice((math.log(10), -math.log(10))), 0.0),
}


def rated(logs: list[float], now: datetime) -> list[RatedQuote]:
    """Quotes to judge."""
    return [RatedQuote(str(index), Decimal(f"{math.exp(one):.12f}"), now) for index, one in enumerate(logs)]


def rounds(market: Market, count: int, services: int) -> Iterator[tuple[datetime, list[float]]]:
    """The honest rounds, one after the other."""
    for index in range(count + WARM_UP):
        market.advance()
        yield START + timedelta(seconds=ROUND * index), market.quotes(services)


def measure(count: int, seed: int = SEED, *, volatility: float = YEARLY, services: int = 3) -> dict[str, float]:
    """Judge so many rounds honest and with each fault; figures in per cent."""
    market, chance = Market(Random(seed), volatility), Random(seed + 1)
    state, standings = PairState(), [Standing()] * services
    seen: Counter[str] = Counter()
    for now, logs in rounds(market, count, services):
        judged = judge(rated(logs, now), state, (), now)
        if len(market.marks) > WARM_UP:
            seen["held"] += judged.state.hold is not None
            for index, verdict in enumerate(judged.verdicts):
                seen["excluded"] += verdict.code not in IN_THE_BAND
                seen["struck"] += verdict.strike
                standings[index] = after_verdict(standings[index], verdict, now).standing
            for name, fault in FAULTS.items():
                wrong = chance.randrange(services)
                offsets = fault(chance, market)
                if offsets is not None:
                    faulty = [one + offsets[index != wrong] for index, one in enumerate(logs)]
                    found = judge(rated(faulty, now), state, (), now)
                    seen[f"{name} tried"] += 1
                    seen[name] += str(wrong) not in found.accepted
        state = judged.state
    return {
        "rounds": count,
        "honest_excluded": round(100 * seen["excluded"] / (count * services), 4),
        "honest_struck": round(100 * seen["struck"] / (count * services), 4),
        "honest_quarantined": sum(one.is_quarantined for one in standings),
        "rounds_held": round(100 * seen["held"] / count, 4),
        **{f"catches_{name}": round(100 * seen[name] / max(seen[f"{name} tried"], 1), 2) for name in FAULTS},
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    started = time.monotonic()
    columns = {
        "three": measure(given.rounds, given.seed),
        "three_wild": measure(given.rounds // 5, given.seed, volatility=10 * YEARLY),
        "two": measure(given.rounds // 5, given.seed, services=2),
    }
    elapsed = round(time.monotonic() - started, 1)
    if given.json:
        print(json.dumps({"seed": given.seed, **columns, "elapsed_s": elapsed}))
        return
    print(f"seed {given.seed}, {elapsed} s; per cent of quotes, of rounds and of faults")
    print(f"{'':24}{'3 quotes':>12}{'at 10 x vol.':>14}{'2 and history':>15}")
    for name in columns["three"]:
        first, wild, two = (column[name] for column in columns.values())
        print(f"{name:24}{first:>12}{wild:>14}{two:>15}")


if __name__ == "__main__":
    main()
