"""Holds what the services say that they paid against the ledger. Reads only.

A list may lag behind and lacks what is old, so what is missing on it proves nothing; what is on it must be ours to pay.
Where no key of ours travels and the id on the list is not the order's, a payment cannot be told to be ours: it is
counted and not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from converter.domain.breaches import Breach
from converter.domain.conversions import Attempt, AttemptState, Conversion, State, is_our_key
from converter.domain.errors import ConverterError
from converter.domain.money import plain
from converter.domain.payouts import Payout, PayoutState
from converter.guard import GuardedService
from converter.ports import Deadline, Ledger

LIST_SECONDS = 20.0
"""Time for one list with all its pages."""


@dataclass(frozen=True)
class Paid:
    """A payment that a service lists, and whose it is."""

    payout: Payout
    conversion: Conversion
    attempt: Attempt


class Comparing:
    """Asks the services that keep a list."""

    def __init__(self, ledger: Ledger, services: Mapping[str, GuardedService]) -> None:
        self._ledger = ledger
        self._services = services

    def compare(self, since: datetime) -> tuple[list[Breach], dict[str, int | str]]:
        """Breaches of I1, I4, I5 and I10 by the services' own lists since then; and how many payments each lists, or
        why it could not be asked."""
        found: list[Breach] = []
        compared: dict[str, int | str] = {}
        paid: list[Paid] = []
        for service_id, service in sorted(self._services.items()):
            read = service.payouts
            if read is None:
                continue
            try:
                listed = read(since, Deadline.after(LIST_SECONDS))
            except ConverterError as error:
                compared[service_id] = f"its list could not be read: {error}"
                continue
            compared[service_id] = len(listed)
            for payout in listed:
                if payout.state is not PayoutState.PAID:
                    continue
                owner = self._owner(payout)
                if owner is not None:
                    paid.append(owner)
                elif is_our_key(payout.reference):
                    found.append(Breach("I5", None, f"{_told(payout)} under {payout.reference}, which no attempt has"))
        return [*found, *judged(paid)], compared

    def _owner(self, payout: Payout) -> Paid | None:
        # A transaction each: a list may be long, and nobody who writes should wait for it.
        with self._ledger.begin() as work:
            owner = work.inspection.owner(payout.service_id, payout.reference, payout.order_id)
        return None if owner is None else Paid(payout, *owner)


def judged(paid: list[Paid]) -> Iterator[Breach]:
    """What is wrong with payments that are ours."""
    by_conversion: dict[str, list[Paid]] = {}
    for one in paid:
        by_conversion.setdefault(one.conversion.id, []).append(one)
    for conversion_id, payments in by_conversion.items():
        if len(payments) > 1:
            yield Breach("I1", conversion_id, " and ".join(_told(one.payout) for one in payments))
        for one in payments:
            yield from _alone(one)


def _alone(one: Paid) -> Iterator[Breach]:
    conversion, attempt = one.conversion, one.attempt
    if conversion.state.is_terminal and conversion.state is not State.COMPLETED:
        yield Breach("I4", conversion.id, f"{conversion.state}, but {_told(one.payout)}")
    elif attempt.state in (AttemptState.NOT_EXECUTED, AttemptState.REFUNDED):
        yield Breach("I4", conversion.id, f"{attempt.key} is {attempt.state}, but {_told(one.payout)}")
    amount = one.payout.amount
    noted = conversion.state is not State.COMPLETED or conversion.reason
    if amount is not None and amount < attempt.minimum_net and not noted:
        yield Breach("I10", conversion.id, f"{_told(one.payout)} of {plain(attempt.promised)}")


def _told(payout: Payout) -> str:
    amount = "" if payout.amount is None else f" {plain(payout.amount)}"
    return f"{payout.service_id} paid{amount} {payout.coin} in {payout.txid or payout.order_id}"
