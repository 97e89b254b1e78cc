"""Exact amounts: parsing, precision and the one rounding rule (down, for whatever we promise).

An amount is a `Decimal` from text to text. No float enters: 0.1 + 0.2 is a question about floats, not about money.
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation

from converter.domain.errors import InvalidRequest

MAX_DIGITS = 20
"""Whole digits accepted in an amount: the ledger keeps NUMERIC(38, 18)."""

EXACT = Context(prec=80)
"""Enough for 18-decimal coins times a rate times fees without rounding on the way."""

_PLAIN = re.compile(r"\d+(\.\d+)?")
_ACCEPTED = "a positive plain decimal such as 1.5, as text, Decimal or int"


def parse_amount(value: object, decimals: int, field: str = "amount") -> Decimal:
    """Read a positive amount with at most `decimals` decimals.

    Raises InvalidRequest for floats, NaN, infinity, exponents, signs, zero, too many digits or decimals.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidRequest(field, f"{type(value).__name__} is not an exact amount", _ACCEPTED)
    if isinstance(value, Decimal) and not value.is_finite():
        raise InvalidRequest(field, f"{value} is not a number", _ACCEPTED)
    if isinstance(value, Decimal) and abs(value.adjusted()) > MAX_DIGITS:
        raise InvalidRequest(field, f"has more than {MAX_DIGITS} digits", _ACCEPTED)
    if isinstance(value, int) and abs(value) > 10**MAX_DIGITS:
        raise InvalidRequest(field, f"has more than {MAX_DIGITS} digits", _ACCEPTED)
    text = format(value, "f") if isinstance(value, Decimal) else str(value).strip()
    if not _PLAIN.fullmatch(text) or not text.isascii():
        raise InvalidRequest(field, f"{text[:40]!r} is not a plain positive decimal", _ACCEPTED)
    whole, _, fraction = text.partition(".")
    if len(whole.lstrip("0")) > MAX_DIGITS:
        raise InvalidRequest(field, f"has more than {MAX_DIGITS} digits before the point", _ACCEPTED)
    if len(fraction.rstrip("0")) > decimals:
        raise InvalidRequest(field, f"has more than {decimals} decimals", f"at most {decimals} decimals for this coin")
    amount = Decimal(f"{whole}.{fraction.rstrip('0')}" if fraction.rstrip("0") else whole)
    if amount == 0:
        raise InvalidRequest(field, "is zero", _ACCEPTED)
    return amount


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `amount`; `step` 0 leaves the amount as it is."""
    if step == 0:
        return amount
    return EXACT.multiply((EXACT.divide(amount, step)).to_integral_value(ROUND_FLOOR), step)


def floor_unit(amount: Decimal, decimals: int) -> Decimal:
    """Round down to a coin's smallest unit: what we promise is never more than what arrives."""
    return floor_to(amount, Decimal(1).scaleb(-decimals))


def plain(amount: Decimal) -> str:
    """Text of an amount: no exponent, no trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_units(amount: Decimal, decimals: int) -> int:
    """Whole smallest units (wei, satoshi); ValueError when the amount is finer than a unit."""
    try:
        scaled = EXACT.scaleb(amount, decimals)  # never the thread's own context, which keeps 28 digits
        return int(Context(prec=80, traps=[Inexact, InvalidOperation]).quantize(scaled, Decimal(1)))
    except (Inexact, InvalidOperation) as error:
        raise ValueError(f"{plain(amount)} is finer than {decimals} decimals") from error


def from_units(units: int, decimals: int) -> Decimal:
    """Amount in whole coins of a count of smallest units."""
    return EXACT.scaleb(Decimal(units), -decimals)
