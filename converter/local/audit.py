"""Compares the ledger with the outside world's own record of what was paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.domain.conversions import Conversion, State


@dataclass(frozen=True)
class Verdict:
    """`doubles`: payments beyond the first, per conversion. `unpaid`: completed, but nothing was delivered.
    `phantom`: delivered, but not completed. `unfinished`: neither ended nor parked for a person."""

    doubles: int
    unpaid: int
    phantom: int
    unfinished: int

    @property
    def lost(self) -> int:
        """Conversions whose money is not where the ledger says."""
        return self.unpaid + self.phantom + self.unfinished


def compare(conversions: Sequence[Conversion], deliveries: Sequence[Mapping[str, Any]]) -> Verdict:
    """Match deliveries to conversions by our reference on the wire, and count by address as well.

    A reference starts with the 26 characters of the conversion's id. Where it does not travel, the address decides,
    which is enough where every conversion has an address of its own.
    """
    known = {one.id: one for one in conversions}
    by_address = {one.request.address: one.id for one in conversions}
    paid: Counter[str] = Counter()
    strangers = 0
    for delivery in deliveries:
        named = f"cv_{str(delivery.get('reference') or '')[:26]}"
        owner = named if named in known else by_address.get(delivery["address"])
        if owner is None:
            strangers += 1
        else:
            paid[owner] += 1
    parked = (State.NEEDS_REVIEW,)
    return Verdict(
        doubles=sum(count - 1 for count in paid.values() if count > 1),
        unpaid=sum(one.state is State.COMPLETED and not paid[one.id] for one in conversions),
        phantom=strangers
        + sum(one.state.is_terminal and one.state is not State.COMPLETED and paid[one.id] > 0 for one in conversions),
        unfinished=sum(not one.state.is_terminal and one.state not in parked for one in conversions),
    )
