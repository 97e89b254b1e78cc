"""Figures as a person reads them; the exact ones are in the JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Context, Decimal

from converter.domain.money import plain

_DIGITS = Context(prec=8)


def short(amount: str | Decimal | None) -> str:
    """Eight digits that count; empty for None."""
    return "" if amount is None else plain(_DIGITS.create_decimal(amount))


def ago(moment: datetime, now: datetime) -> str:
    """How long ago a moment was: `12 s ago`, `3 min ago`, `5 h ago`."""
    seconds = max(0, round((now - moment).total_seconds()))
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
