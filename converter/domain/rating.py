"""What is judged of a quote: whether it answers the question at all, and its rate before fixed fees."""

from __future__ import annotations

from decimal import Decimal

from converter.domain.money import EXACT, MAX_DIGITS
from converter.domain.quotes import Quote, QuoteRequest

_FIXED_FEES = ("network", "withdrawal")


def rate_of(quote: Quote) -> Decimal:
    """The rate to judge: what the receiver gets plus the fixed fees, for one unit of from_coin."""
    fixed = sum((fee.amount for fee in quote.fees if fee.kind in _FIXED_FEES), Decimal(0))
    return EXACT.divide(EXACT.add(quote.net, fixed), quote.request.amount)


def malformed(quote: Quote, asked: QuoteRequest) -> str:
    """Why a quote cannot be an answer to what was asked; empty when it can."""
    if quote.request != asked:
        return "answers another pair or amount"
    amounts = (quote.gross, quote.net, *(fee.amount for fee in quote.fees))
    if not all(one.is_finite() and (not one or one.adjusted() < MAX_DIGITS) for one in amounts):
        return "has a figure that is no amount"
    if quote.net <= 0:
        return "leaves nothing for the receiver"
    return "promises more than its gross" if quote.net > quote.gross else ""
