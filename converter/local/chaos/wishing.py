"""What is converted in a drill: pairs, amounts, addresses and preferred services, all drawn from the seed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from converter.client import ConversionHandle, MultiServiceConverter
from converter.domain.bech32 import segwit_address
from converter.domain.evm import eip55
from converter.services import service_class

log = logging.getLogger(__name__)

PAIRS = (("ETH", "BTC"), ("ETH", "BTC"), ("LTC", "BTC"), ("RVN", "BTC"), ("DOGE", "ETH"))
"""Drawn equally; each from_coin is paid by a wallet of its own where a service wants a deposit."""

LEAST = {"ETH": Decimal("0.2"), "LTC": Decimal(8), "RVN": Decimal(32000), "DOGE": Decimal(5500)}
"""The smallest amount; the largest is four times that."""

PREFERRING = 0.5
"""Share of the conversions that put one service first, so that each meets its faults. The others go by the tiers."""


@dataclass(frozen=True)
class Wish:
    """One conversion to ask for. `prefers`: a service, or none."""

    from_coin: str
    to_coin: str
    amount: Decimal
    address: str
    prefers: str | None
    key: str
    """Its idempotency key: an acceptance that failed is repeated with it, as a pool's backend does."""


def wishes(seed: int, count: int, services: Collection[str]) -> list[Wish]:
    """So many conversions, each to an address of its own, the same for the same seed."""
    chance = Random(f"{seed} wishes")
    preferable = sorted(one for one in services if is_provable(one))
    return [_wish(chance, preferable, f"drill-{seed}-{number}") for number in range(count)]


def is_provable(service_id: str) -> bool:
    """Whether every doubt about it can be settled without a person. The others are used where the tiers place them:
    putting one of them first would be an operator's choice to be called often."""
    rules = service_class(service_id).capabilities.rules.values()
    return all(rule.repeat_recognised or rule.quiet is not None for rule in rules)


def _wish(chance: Random, preferable: Sequence[str], key: str) -> Wish:
    from_coin, to_coin = chance.choice(PAIRS)
    amount = LEAST[from_coin] * chance.randint(100, 400) / 100
    drawn = chance.randbytes(20)
    address = eip55(f"0x{drawn.hex()}") if to_coin == "ETH" else segwit_address("bc", 0, drawn)
    prefers = chance.choice(preferable) if preferable and chance.random() < PREFERRING else None
    return Wish(from_coin, to_coin, amount, address, prefers, key)


class Pool:
    """The pool's backend: a converter for each preference, all on the same system."""

    def __init__(self, home: Path) -> None:
        self.repeated = 0
        """Acceptances that had to be repeated."""
        self._plain = MultiServiceConverter(home=home)
        self.tiers: dict[str, int] = {name: one["priority"] for name, one in self.stats()["services"].items()}
        """Services that take part, with their tiers."""
        self._preferring = {
            name: MultiServiceConverter(services=preference(name, self.tiers), home=home, max_rate_difference=_BAND)
            for name in self.tiers
            if is_provable(name)
        }

    def convert(self, wish: Wish) -> ConversionHandle | None:
        """Accept one conversion; None when the ledger did not take it, or did not say so: then it is to be repeated."""
        converter = self._preferring[wish.prefers] if wish.prefers else self._plain
        try:
            return converter.convert(
                from_coin=wish.from_coin,
                to_coin=wish.to_coin,
                amount=wish.amount,
                address=wish.address,
                idempotency_key=wish.key,
            )
        except SQLAlchemyError as error:
            log.warning("%s not accepted, once more: %s", wish.key, type(error).__name__)
            self.repeated += 1
            return None

    def stats(self) -> dict[str, Any]:
        """The status of the whole."""
        return self._plain.get_stats()

    def close(self) -> None:
        """Give connections back."""
        for one in (self._plain, *self._preferring.values()):
            one.close()


_BAND = Decimal("0.05")
"""Wide enough that the service that is put first is also chosen, at its price."""

_BEHIND = {1: 2, 2: 3, 3: 3, 4: 4}
"""Where a tier stands behind the service that is put first."""


def preference(service_id: str, tiers: Mapping[str, int]) -> list[dict[str, Any]]:
    """`services` of a conversion that puts one of them first, alone, and the others behind it in their order."""
    order: list[dict[str, Any]] = [{"id": service_id, "priority": 1, "weight": Decimal(1)}]
    for tier in sorted(set(_BEHIND.values())):
        members = [name for name, one in tiers.items() if _BEHIND[one] == tier and name != service_id]
        weights = dict.fromkeys(members, Decimal("0.1"))
        if members:
            weights[members[0]] += 1 - sum(weights.values())
        order += [{"id": name, "priority": tier, "weight": weight} for name, weight in weights.items()]
    return order
