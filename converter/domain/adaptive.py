"""Choosing by expected value: what a service promises, less what its refusals and doubts have cost so far.

A refused attempt costs a little delay and a new price; an unknown one costs minutes of reconciliation or a person. The
shares of both are not known but estimated, from counts that forget (half of them in 200 attempts) and a prior worth 10
attempts, and are drawn at random within what the counts allow, so that a service with few attempts is tried now and
then. It chooses only among the candidates that it is given: never across the band or the tier.

Scores are ratios and not amounts, and nothing is paid by them, so they are floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

KEEP = 0.5 ** (1 / 200)
"""What remains of a count after one more attempt."""

_PRIOR = 10.0
_PRIOR_REFUSED, _PRIOR_UNKNOWN = 0.05, 0.01
_COST_REFUSED, _COST_UNKNOWN = 0.001, 0.02
_EXPLORED = 0.02
_ALMOST_CERTAIN = 0.99  # bounds the cost: at 1 it would be infinite

Draw = Callable[[float, float], float]
"""A number between 0 and 1 by the beta distribution of these two parameters."""


class Ending(StrEnum):
    """How an attempt went, as far as choosing goes."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It was in doubt, whatever came out later."""


@dataclass(frozen=True)
class Counts:
    """Attempts at one service, the older the less they count."""

    accepted: float = 0.0
    refused: float = 0.0
    unknown: float = 0.0

    def after(self, ending: Ending) -> Counts:
        """The counts with one more attempt."""
        return Counts(*(self._of(one) * KEEP + (one is ending) for one in Ending))

    def _of(self, ending: Ending) -> float:
        return {Ending.ACCEPTED: self.accepted, Ending.REFUSED: self.refused, Ending.UNKNOWN: self.unknown}[ending]


def score(net: Decimal, best: Decimal, counts: Counts, draw: Draw) -> float:
    """The expected value of a candidate as a share of the best net; `draw` settles what the counts leave open."""
    attempts = counts.accepted + counts.refused + counts.unknown
    refused = _share(counts.refused, attempts, _PRIOR_REFUSED, draw)
    unknown = _share(counts.unknown, attempts, _PRIOR_UNKNOWN, draw)
    return float(net / best) - _COST_REFUSED * refused / (1 - refused) - _COST_UNKNOWN * unknown / (1 - unknown)


def choose(nets: Mapping[str, Decimal], counts: Mapping[str, Counts], draw: Draw, pick: float) -> str:
    """The candidate of the highest score; any of them in one of fifty choices. `pick` is uniform in [0, 1).

    `nets` is not empty and holds positive amounts.
    """
    candidates = sorted(nets)
    if pick < _EXPLORED:
        return candidates[int(pick / _EXPLORED * len(candidates))]
    best = max(nets.values())
    scores = {name: score(nets[name], best, counts.get(name, Counts()), draw) for name in candidates}
    return max(candidates, key=lambda name: scores[name])


def _share(count: float, attempts: float, prior: float, draw: Draw) -> float:
    yes, no = count + _PRIOR * prior, attempts - count + _PRIOR * (1 - prior)
    return min(_ALMOST_CERTAIN, draw(yes, no))
