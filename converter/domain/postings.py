"""The books of the money that attempts move, in double entry: one posting takes an amount from one account to another.

A posting balances by its form, so what has to be proven is that none is missing, doubled or changed. Money of a
conversion is with the pool, in transit at a service while an attempt there is open, or in suspense while a person is
asked; it ends as converted. What came of it in the other coin leaves `converted` again: as payout, fees and slippage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from converter.domain.conversions import Attempt, Conversion
from converter.domain.money import EXACT
from converter.domain.quotes import Quote

POOL = "pool"
SUSPENSE = "suspense"
"""Of conversions before a person: where their money is, is not known."""
CONVERTED = "converted"
"""Minus what the services gave, plus what they took: the hinge between the two coins of a conversion."""
PAYOUT = "payout"
SERVICE_FEE = "service_fee"
NETWORK_FEE = "network_fee"
SLIPPAGE = "slippage"
"""Promised less delivered; negative where more arrived than was promised."""
_TRANSIT = "transit:"


@dataclass(frozen=True)
class Posting:
    """`amount` (above zero) of a coin goes from one account to another. `key` names its transaction in the books,
    `line` its place there: the two together exist once."""

    key: str
    line: int
    conversion_id: str
    attempt_id: int
    from_account: str
    to_account: str
    coin: str
    amount: Decimal
    at: datetime | None = None


def transit_of(service_id: str) -> str:
    """The account of what a service has, or may have, of an open attempt."""
    return f"{_TRANSIT}{service_id}"


def is_transit(account: str) -> bool:
    """Whether it is the account of a service."""
    return account.startswith(_TRANSIT)


def holder(postings: Sequence[Posting]) -> str | None:
    """The account that holds the coins of an attempt now; None before it was opened and after it ended."""
    held = None
    for one in postings:
        if is_transit(one.to_account) or one.to_account == SUSPENSE:
            held = one.to_account
        elif one.from_account == held:
            held = None
    return held


def opened(conversion: Conversion, attempt: Attempt) -> list[Posting]:
    """The attempt is prepared: from now on its coins may leave the pool."""
    to_account = transit_of(attempt.service_id)
    return [_Entry(conversion, attempt, "opened").given(POOL, to_account, conversion.request.amount)]


def parked(conversion: Conversion, attempt: Attempt, postings: Sequence[Posting]) -> list[Posting]:
    """A person is asked where the coins are; nothing when it was so already."""
    return _between(conversion, attempt, postings, SUSPENSE)


def resumed(conversion: Conversion, attempt: Attempt, postings: Sequence[Posting]) -> list[Posting]:
    """No person is asked any more; nothing when none was."""
    return _between(conversion, attempt, postings, transit_of(attempt.service_id))


def returned(
    conversion: Conversion, attempt: Attempt, postings: Sequence[Posting], arrived: Decimal | None = None
) -> list[Posting]:
    """The attempt is proven not executed, or its deposit came back: `arrived` of it, None for all."""
    held = holder(postings)
    if held is None:
        return []
    entry, amount = _Entry(conversion, attempt, "returned"), conversion.request.amount
    unsent = _dust(conversion, attempt)
    back = amount if arrived is None else min(amount, EXACT.add(arrived, unsent))
    return _numbered(
        [entry.given(held, POOL, back), entry.given(held, NETWORK_FEE, EXACT.subtract(amount, back))],
    )


def settled(
    conversion: Conversion,
    attempt: Attempt,
    postings: Sequence[Posting],
    quote: Quote | None,
    delivered: Decimal | None,
) -> list[Posting]:
    """The payout is final. `quote` is what the attempt was made on; `delivered` None counts as what was promised."""
    held = holder(postings)
    if held is None:
        return []
    entry, amount, dust = _Entry(conversion, attempt, "settled"), conversion.request.amount, _dust(conversion, attempt)
    paid = attempt.promised if delivered is None else delivered
    service_fee = sum((fee.amount for fee in quote.fees if fee.kind == "service") if quote else (), Decimal(0))
    network_fee = sum((fee.amount for fee in quote.fees if fee.kind != "service") if quote else (), Decimal(0))
    gross = quote.gross if quote else attempt.promised
    slippage = EXACT.subtract(EXACT.subtract(EXACT.subtract(gross, service_fee), network_fee), paid)
    taken = (CONVERTED, SLIPPAGE) if slippage >= 0 else (SLIPPAGE, CONVERTED)
    return _numbered(
        [
            entry.given(held, CONVERTED, EXACT.subtract(amount, dust)),
            entry.given(held, POOL, dust),
            entry.got(CONVERTED, PAYOUT, paid),
            entry.got(CONVERTED, SERVICE_FEE, service_fee),
            entry.got(CONVERTED, NETWORK_FEE, network_fee),
            entry.got(*taken, abs(slippage)),
        ]
    )


def balances(postings: Sequence[Posting]) -> dict[tuple[str, str], Decimal]:
    """What each account holds of each coin, by (account, coin). Over all accounts a coin always sums to zero."""
    found: dict[tuple[str, str], Decimal] = {}
    for one in postings:
        for account, amount in ((one.from_account, -one.amount), (one.to_account, one.amount)):
            found[account, one.coin] = EXACT.add(found.get((account, one.coin), Decimal(0)), amount)
    return found


def _dust(conversion: Conversion, attempt: Attempt) -> Decimal:
    """What is finer than the service could take, and so never left the pool."""
    if attempt.deposit_amount is None:
        return Decimal(0)
    return max(Decimal(0), EXACT.subtract(conversion.request.amount, attempt.deposit_amount))


def _between(conversion: Conversion, attempt: Attempt, postings: Sequence[Posting], to_account: str) -> list[Posting]:
    held = holder(postings)
    if held is None or held == to_account:
        return []
    event = f"{'parked' if to_account == SUSPENSE else 'resumed'}-{len(postings)}"
    return [_Entry(conversion, attempt, event).given(held, to_account, conversion.request.amount)]


@dataclass(frozen=True)
class _Entry:
    """Makes the postings of one transaction."""

    conversion: Conversion
    attempt: Attempt
    event: str

    def given(self, from_account: str, to_account: str, amount: Decimal) -> Posting:
        """In the coin that is given."""
        return self._posting(from_account, to_account, str(self.conversion.request.from_asset), amount)

    def got(self, from_account: str, to_account: str, amount: Decimal) -> Posting:
        """In the coin that is delivered."""
        return self._posting(from_account, to_account, str(self.conversion.request.to_asset), amount)

    def _posting(self, from_account: str, to_account: str, coin: str, amount: Decimal) -> Posting:
        key = f"{self.attempt.key}:{self.event}"
        return Posting(key, 1, self.conversion.id, self.attempt.id, from_account, to_account, coin, amount)


def _numbered(postings: Sequence[Posting]) -> list[Posting]:
    """Without those of nothing, and each with its line."""
    moving = [one for one in postings if one.amount]
    return [replace(one, line=number) for number, one in enumerate(moving, start=1)]
