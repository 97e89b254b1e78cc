"""Exposure caps: how much of a coin may be under way, so that no single service holds more than a pool can lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from converter.domain.money import EXACT, plain


@dataclass(frozen=True)
class UnderWay:
    """An attempt that counts against the caps: what it takes of which pair, where, and whether it is still open.

    Attempts are open until they are settled or proven not executed; closed ones count for the day in which they began.
    """

    service_id: str
    pair: str
    from_coin: str
    amount: Decimal
    is_open: bool


@dataclass(frozen=True)
class Caps:
    """Most that may be under way: by pair (`ETH-BTC`) and by service and from_coin; and by from_coin in 24 hours."""

    pairs: Mapping[str, Decimal] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    day: Mapping[str, Decimal] = field(default_factory=dict)

    def concern(self, pair: str, from_coin: str) -> bool:
        """Whether any cap says something about this."""
        return pair in self.pairs or from_coin in self.day or any(from_coin in one for one in self.services.values())

    def objection(self, wanted: UnderWay, under_way: Sequence[UnderWay]) -> str:
        """Why another attempt may not begin, empty when it may."""
        open_ones = [one for one in under_way if one.is_open]
        same_coin = [one for one in under_way if one.from_coin == wanted.from_coin]
        here = [one for one in open_ones if (one.service_id, one.from_coin) == (wanted.service_id, wanted.from_coin)]
        rules = (
            ("under way at this service", self.services.get(wanted.service_id, {}).get(wanted.from_coin), here),
            (
                "under way for this pair",
                self.pairs.get(wanted.pair),
                [one for one in open_ones if one.pair == wanted.pair],
            ),
            ("in 24 hours", self.day.get(wanted.from_coin), same_coin),
        )
        for words, cap, counted in rules:
            total = EXACT.add(wanted.amount, sum((one.amount for one in counted), Decimal(0)))
            if cap is not None and total > cap:
                return f"exposure cap: at most {plain(cap)} {wanted.from_coin} {words}"
        return ""
