"""Follows a deposit that a service sends back. What the service says is not enough: the chain must show it with us."""

from __future__ import annotations

from decimal import Decimal

from converter.desk import Desk
from converter.domain.conversions import Attempt, Conversion
from converter.domain.errors import ConverterError
from converter.domain.money import EXACT, plain
from converter.domain.orders import Order, Refund
from converter.ports import Deadline

LEAST_SHARE = Decimal("0.9")
"""A refund that brings back less than this share of the deposit goes to a person before anything is paid again."""


class Refunding:
    """Asks the wallet's chain about refunds. Reads only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def confirmed(self, conversion: Conversion, attempt: Attempt, order: Order) -> tuple[Refund | None, str]:
        """The refund with the amount that arrived, once it is confirmed; else None, and what is missing."""
        asset, refund = conversion.request.from_asset, order.refund
        wallet = self._desk.wallet_for(asset)
        if refund is None or not refund.txid:
            return None, "the service says that it sent the deposit back, and names no transaction"
        with self._desk.ledger.begin() as work:
            booked = work.attempts.of_refund(refund.txid)
        if booked is not None:
            return None, f"the refund {refund.txid} was of {booked.conversion_id}"
        if wallet is None or not wallet.pays_itself:
            return None, f"a person must confirm the refund {refund.txid}"
        try:
            arrived = wallet.received(asset, refund, Deadline.after(self._desk.timing.read.total_seconds()))
        except ConverterError as error:
            return None, f"the refund {refund.txid} cannot be seen: {error}"
        if arrived is None:
            return None, f"the refund {refund.txid} is not confirmed yet"
        sent = attempt.deposit_amount or conversion.request.amount
        if arrived < EXACT.multiply(sent, LEAST_SHARE):
            return None, f"the refund {refund.txid} brought {plain(arrived)} of {plain(sent)}"
        return Refund(refund.address, arrived, refund.txid), ""
