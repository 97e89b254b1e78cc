"""What a service itself says that it paid: a row of its own list, to be held against the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class PayoutState(StrEnum):
    """Where a payout stands by its service's list. A word that is not documented is UNKNOWN, never an error."""

    PAID = "paid"
    """It has left for the address, by the service's own word."""
    UNDER_WAY = "under_way"
    """Accepted, and not paid yet; whatever is held counts here."""
    FAILED = "failed"
    """The service says that it did not pay: refused, cancelled, returned."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Payout:
    """One payment as its service lists it, ours or not.

    * `reference`: our key as it travelled (a withdrawal's, an order's), or whatever another client put in its place;
      empty where none travels. The same key on two rows is two payments;
    * `order_id`: the service's own id, the ledger's `service_order_id` where that names the thing that pays;
    * `coin`: our ticker; the service's own name of a coin that is not ours; empty where it does not tell it clearly;
    * `amount`: what the address gets, fees off. None where it is not told, or not told clearly;
    * `at`: the moment by which it is listed: of its last change where the list goes by that, else of its beginning.
    """

    service_id: str
    reference: str
    order_id: str
    coin: str
    amount: Decimal | None
    address: str
    txid: str
    at: datetime | None
    state: PayoutState
